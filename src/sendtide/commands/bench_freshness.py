"""How soon an open is seen in Redis, as a changed recipient record and as a metric, under load."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.commands.readings import at_work, summed_events
from sendtide.commands.sending import Sender
from sendtide.events.errors import Unavailable
from sendtide.events.messages import EngagementEvent, SendEvent
from sendtide.events.topics import ENGAGEMENTS, SENDS
from sendtide.events.wire import Records
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader
from sendtide.transport import partition_of

__all__ = ["Plan", "measure"]

_CLIENT: Final = "freshness-probe"
_RECIPIENTS: Final = 40
_EVERY_S: Final = 0.05
_LOOK_S: Final = 0.005
_WARM_UP_S: Final = 5.0
_FASTER: Final = 1_000
"""How much faster than people simulated ones react, so that all of it happens within the bench."""
_FASTER_PEOPLE: Final = f'[join]\nmachine_within = "{10_000 // _FASTER}ms"\n'
_PATIENCE_S: Final = 60.0
_LAST_S: Final = 10.0
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Plan:
    """load: events a second. duration_s: of probing, after a warm-up. hot_share: one client's."""

    load: float
    duration_s: float
    partitions: int
    data: Path
    hot_share: float = 0.0


@dataclass(slots=True)
class _Probes:
    """Opens sent and not yet seen: (event time in ms, monotonic time of sending), per recipient."""

    recipients: list[str]
    partition: list[int]
    unseen_records: list[list[tuple[int, float]]]
    unseen_metrics: list[list[tuple[int, float]]]
    record_s: list[float] = field(default_factory=list)
    metric_s: list[float] = field(default_factory=list)
    opened: int = 0

    @property
    def waiting(self) -> bool:
        return any(self.unseen_records) or any(self.unseen_metrics)

    def sent(self, who: int, time_ms: int) -> None:
        now = time.perf_counter()
        self.unseen_records[who].append((time_ms, now))
        self.unseen_metrics[who].append((time_ms, now))

    def look(self, reader: RedisReader) -> None:
        """Settle the probes whose effect can be read now."""
        records = reader.records([_CLIENT] * len(self.recipients), self.recipients)
        rows = reader.freshness(_CLIENT)
        now = time.perf_counter()
        newest = {row.partition: row.newest_event_ms for row in rows}
        for who, event_time_ms in enumerate(records["event_time_ms"].tolist()):
            metric_ms = newest.get(self.partition[who], 0)
            _settle(self.unseen_records[who], event_time_ms, now, self.record_s)
            _settle(self.unseen_metrics[who], metric_ms, now, self.metric_s)


def _settle(
    unseen: list[tuple[int, float]], newest_ms: int, now: float, latencies: list[float]
) -> None:
    while unseen and unseen[0][0] <= newest_ms:
        latencies.append(now - unseen.pop(0)[1])


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """Quantiles of the time from producing an open to reading its effect."""
    path, pipeline = own_pipeline(
        plan.data, "bench", partitions=plan.partitions, sections=_FASTER_PEOPLE
    )
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                return _measured(plan, cluster, pipeline)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)


def _measured(plan: Plan, cluster: Cluster, pipeline: Pipeline) -> dict[str, Any]:
    worker = cluster.start_worker(1, "--group", pipeline.topics.prefix.rstrip("."))
    probes = _new_probes(plan.partitions)
    with (
        closing(RedisReader(cluster.redis, patience_s=2.0)) as reader,
        Sender(cluster.kafka, pipeline.topics.prefix) as sender,
    ):
        worker.wait_until(lambda: at_work(reader), _PATIENCE_S)
        _send_messages(sender, probes, round((plan.duration_s + _WARM_UP_S) / _EVERY_S))
        load = cluster.start(
            "load", "simulate", *cluster.addresses(), "--live", str(plan.load),
            "--clients", "200", "--recipients", "1000000", "--reaction-speed", str(_FASTER),
            "--hot-share", str(plan.hot_share),
        )  # fmt: skip
        _probe(reader, sender, probes, _WARM_UP_S)
        probes.record_s.clear()
        probes.metric_s.clear()
        before, began = summed_events(reader.totals(), pipeline)["in"], time.perf_counter()
        _probe(reader, sender, probes, plan.duration_s)
        taken = summed_events(reader.totals(), pipeline)["in"] - before
        seconds = time.perf_counter() - began
        cluster.check()
        _last_looks(reader, probes)
        cluster.end([load, worker])
    return {
        "load_events_per_s": taken / seconds,
        "wanted_events_per_s": plan.load,
        "probes": len(probes.record_s),
        **_quantiles("prediction", probes.record_s),
        **_quantiles("metric", probes.metric_s),
    }


def _quantiles(name: str, latencies: list[float]) -> dict[str, float]:
    values = np.quantile(latencies, [0.5, 0.99]).tolist()
    return {f"{name}_p50_s": values[0], f"{name}_p99_s": values[1]}


def _new_probes(partitions: int) -> _Probes:
    recipients = [f"{number:032x}" for number in range(_RECIPIENTS)]
    keys = [f"{_CLIENT}:{recipient}".encode() for recipient in recipients]
    return _Probes(
        recipients,
        [partition_of(key, partitions) for key in keys],
        [[] for _ in recipients],
        [[] for _ in recipients],
    )


def _send_messages(sender: Sender, probes: _Probes, messages: int) -> None:
    """The messages that will be opened, one for each probe, sent a moment ago."""
    now_ms = time.time_ns() // 1_000_000 - 1_000
    events: list[tuple[str, SendEvent | EngagementEvent]] = [
        (
            probes.recipients[number % _RECIPIENTS],
            SendEvent(
                source="probe",
                id=f"send-{number}",
                client_id=_CLIENT,
                recipient_id=probes.recipients[number % _RECIPIENTS],
                event_time_ms=now_ms,
            ),
        )
        for number in range(messages)
    ]
    sender.send(_records(0, events))
    sender.flush()


def _records(topic: int, events: list[tuple[str, SendEvent | EngagementEvent]]) -> Records:
    return Records(
        topics=(SENDS.name, ENGAGEMENTS.name),
        topic=np.full(len(events), topic, np.uint8),
        keys=[f"{_CLIENT}:{recipient}".encode() for recipient, _ in events],
        values=[_ENCODER.encode(event) for _, event in events],
        timestamps_ms=_times(events),
    )


def _times(events: list[tuple[str, SendEvent | EngagementEvent]]) -> NDArray[np.int64]:
    return np.array([event.event_time_ms for _, event in events], np.int64)


def _probe(reader: RedisReader, sender: Sender, probes: _Probes, seconds: float) -> None:
    """Send an open every 50 ms and look for effects in between."""
    ends, due = time.perf_counter() + seconds, time.perf_counter()
    while (now := time.perf_counter()) < ends:
        if now >= due:
            due += _EVERY_S
            _open(sender, probes)
        probes.look(reader)
        time.sleep(_LOOK_S)


def _open(sender: Sender, probes: _Probes) -> None:
    number, probes.opened = probes.opened, probes.opened + 1
    who, time_ms = number % _RECIPIENTS, time.time_ns() // 1_000_000
    event = EngagementEvent(
        source="probe",
        id=f"open-{number}",
        client_id=_CLIENT,
        recipient_id=probes.recipients[who],
        event_time_ms=time_ms,
        message_id=f"send-{number}",
        kind="open",
    )
    probes.sent(who, time_ms)
    sender.send(_records(1, [(probes.recipients[who], event)]))


def _last_looks(reader: RedisReader, probes: _Probes) -> None:
    """Wait for the probes still unseen.

    Raises:
        Unavailable: some are never seen.
    """
    deadline = time.monotonic() + _LAST_S
    while probes.waiting and time.monotonic() < deadline:
        probes.look(reader)
        time.sleep(_LOOK_S)
    if probes.waiting or not probes.record_s:
        msg = f"some probes were not seen within {_LAST_S:.0f} s; the load is more than it can take"
        raise Unavailable(msg)
