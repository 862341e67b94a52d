"""Faust on librdkafka: `faust.App(broker="rdkafka://host:9092")`, agents that read whole chunks.

Comes in: a broker. Goes out: `Chunk`s to agents of chunk topics, single events to ordinary ones;
records, confirmed by batch.

Invariant: a chunk cannot be had without its acknowledgement, and no offset is committed past work
that is not acknowledged. Kept partitions go on while others come and go.

Limit: no Faust tables, no client-only mode; Faust's own exactly-once setting is not used, see
`transactions`. One event loop per app.

Knows bytes and offsets and imports nothing of this project: it can be lifted out.
"""

from __future__ import annotations

from sendtide.transport.admin import (
    TopicSpec,
    admin_client,
    compare_identities,
    compare_partitions,
    create_topics,
    describe_topic,
    partition_counts,
    topic_ids,
    verify_topics,
)
from sendtide.transport.chunk import Chunk
from sendtide.transport.commits import PartitionLedger
from sendtide.transport.deliveries import BatchProducer, Delivery
from sendtide.transport.errors import (
    ChunkAbandonedError,
    ConfigurationError,
    DeliveryError,
    TopicMismatchError,
    TransportError,
    WithdrawnError,
)
from sendtide.transport.owner import PartitionOwner
from sendtide.transport.partitioner import partition_of
from sendtide.transport.rebalance import Companions, TopicPartition
from sendtide.transport.record_batch import BinaryColumn, RecordBatch
from sendtide.transport.records import KeyedRecords, Mergeable, Output, Outputs, Record, merged
from sendtide.transport.settings import KEEP_BROKERS, ONE_REQUEST, Settings, configure
from sendtide.transport.topic import chunk_topic
from sendtide.transport.transaction_probe import probe_transactions
from sendtide.transport.worker import run_worker
from sendtide.transport.writer import Tenure

__all__ = [
    "KEEP_BROKERS",
    "ONE_REQUEST",
    "BatchProducer",
    "BinaryColumn",
    "Chunk",
    "ChunkAbandonedError",
    "Companions",
    "ConfigurationError",
    "Delivery",
    "DeliveryError",
    "KeyedRecords",
    "Mergeable",
    "Output",
    "Outputs",
    "PartitionLedger",
    "PartitionOwner",
    "Record",
    "RecordBatch",
    "Settings",
    "Tenure",
    "TopicMismatchError",
    "TopicPartition",
    "TopicSpec",
    "TransportError",
    "WithdrawnError",
    "admin_client",
    "chunk_topic",
    "compare_identities",
    "compare_partitions",
    "configure",
    "create_topics",
    "describe_topic",
    "merged",
    "partition_counts",
    "partition_of",
    "probe_transactions",
    "run_worker",
    "topic_ids",
    "verify_topics",
]
