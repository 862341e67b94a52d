"""What a worker process is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sendtide.pipeline import Pipeline
from sendtide.transport import KEEP_BROKERS

__all__ = ["WorkerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """A worker's addresses and deployment.

    kafka: `host:port[,host:port]`. kafka_config: librdkafka client settings (TLS, SASL), never
    logged. redis: URL. group: consumer group; workers of one group share the partitions.
    snapshots_url: overrides the pipeline's. progressive_log: a file that receives each learned
    row's prediction and label (see `stages.client.PROGRESSIVE`). name: in metrics. watchdog_s: a
    worker that stands still for so long ends itself; 0: never. exactly_once: overrides the
    pipeline's. snapshot_key: secret to sign snapshots with; b"": they are not.
    """

    kafka: str
    redis: str
    pipeline: Pipeline
    kafka_config: Mapping[str, str] = field(default_factory=dict, repr=False)
    group: str = "sendtide"
    snapshots_url: str | None = None
    progressive_log: str | None = None
    name: str = "worker"
    session_timeout_s: float = 10.0
    watchdog_s: float = 120.0
    exactly_once: Literal["auto", "on", "off"] | None = None
    snapshot_key: bytes = field(default=b"", repr=False)

    def client(self) -> dict[str, str]:
        """Settings of any Kafka client of this worker."""
        return {**KEEP_BROKERS, **self.kafka_config, "bootstrap.servers": self.kafka}
