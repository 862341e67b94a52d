"""Workers and partitions: whether an event costs the same however many share the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.commands.readings import summed_events
from sendtide.commands.sending import Sender
from sendtide.events.errors import Unavailable
from sendtide.events.topics import EXAMPLES
from sendtide.events.wire import Records
from sendtide.lab import Scenario, event_records
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader

__all__ = ["Plan", "measure", "run"]

_LONGEST_S: Final = 180.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """events: of each row, the same. shapes: (workers, partitions) to measure, in turn."""

    events: int
    shapes: tuple[tuple[int, int], ...]
    data: Path


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """`rows`, and how much the dearest event costs more than the cheapest, `spread`."""
    rows, records = [], list(event_records(plan.events, Scenario(request_share=0.0)))
    for workers, partitions in plan.shapes:
        row = _shape(plan, records, workers, partitions, kafka, redis)
        rows.append(row)
        note(
            f"{workers} workers, {partitions:>2} partitions {row['events_per_s']:>10,.0f} events/s"
            f" {row['cpu_us_per_event']:>6.2f} us each"
        )
    costs = [row["cpu_us_per_event"] for row in rows]
    return {"rows": rows, "spread": max(costs) / min(costs) - 1}


def _shape(
    plan: Plan,
    records: Sequence[Records],
    workers: int,
    partitions: int,
    kafka: KafkaServers | None,
    redis: str | None,
) -> dict[str, Any]:
    path, pipeline = own_pipeline(plan.data, "scale", partitions=partitions)
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                speed, cost_us = run(records, cluster, pipeline, workers)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)
    return {
        "workers": workers,
        "partitions": partitions,
        "events_per_s": speed,
        "cpu_us_per_event": cost_us,
    }


def run(
    records: Iterable[Records], cluster: Cluster, pipeline: Pipeline, workers: int
) -> tuple[float, float]:
    """Produce as fast as the broker takes it, to workers that hold all partitions and are idle.

    Returns:
        (events/s until all are counted, microseconds of the workers' processor time an event).

    Raises:
        Unavailable: it takes too long.
    """
    group, events = pipeline.topics.prefix.rstrip("."), 0
    started = [cluster.start_worker(number + 1, "--group", group) for number in range(workers)]
    topics = pipeline.topics
    with closing(RedisReader(cluster.redis, patience_s=2.0)) as reader:
        every = topics.partitions + topics.partitions_of(EXAMPLES)
        _until(cluster, lambda: sum(beat.partitions for beat in reader.workers()), every)
        began, before_s = time.perf_counter(), sum(s.cpu_s for s in started)
        with Sender(cluster.kafka, topics.prefix) as sender:
            for part in records:
                sender.send(part)
                events += len(part)
        _until(cluster, lambda: summed_events(reader.totals(), pipeline)["in"], events)
        seconds, cpu_s = time.perf_counter() - began, sum(s.cpu_s for s in started) - before_s
    cluster.end(started)
    return events / seconds, 1e6 * cpu_s / events


def _until(cluster: Cluster, count: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while (found := count()) < wanted:
        cluster.check()
        if time.monotonic() > deadline:
            msg = f"{found:,} of {wanted:,} after {_LONGEST_S:.0f} s; see the workers' logs"
            raise Unavailable(msg)
        time.sleep(_LOOK_S)
