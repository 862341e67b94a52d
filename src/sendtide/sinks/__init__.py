"""Where results are read: Redis (or memory), topics, Prometheus.

Comes in: packed recipient records, summaries and absolute counts, each with its owner's epoch.
Goes out: acknowledged writes, and through `Reader` the one read model that the endpoint, the
dashboard and `sendtide metrics` share.
Invariant: a write is idempotent and fenced; the same rows twice, or rows of a worker that has lost
its partition, change nothing. A store that was emptied or rolled back is noticed (see `seals`).
Limit: one Redis primary, not Redis Cluster.
"""

from sendtide.sinks.contract import Reader, RecipientRows, RecipientView, Sink, StateRow
from sendtide.sinks.layout import Owner, Retention
from sendtide.sinks.memory import MemoryStore
from sendtide.sinks.reader import RedisReader
from sendtide.sinks.redis import RedisSink
from sendtide.sinks.summaries import (
    ClientActivity,
    ClientLift,
    ModelMetrics,
    ModelSummary,
    PartitionCounts,
    PartitionLag,
    SourceFreshness,
    WorkerBeat,
)

__all__ = [
    "ClientActivity",
    "ClientLift",
    "MemoryStore",
    "ModelMetrics",
    "ModelSummary",
    "Owner",
    "PartitionCounts",
    "PartitionLag",
    "Reader",
    "RecipientRows",
    "RecipientView",
    "RedisReader",
    "RedisSink",
    "Retention",
    "Sink",
    "SourceFreshness",
    "StateRow",
    "WorkerBeat",
]
