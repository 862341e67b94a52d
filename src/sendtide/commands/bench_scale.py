"""Workers and partitions: whether an event costs the same however many share the work."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from sendtide.commands.bench_worker import preload
from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.commands.readings import summed_events
from sendtide.events.errors import Unavailable
from sendtide.local import ServerProcess
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader

__all__ = ["Plan", "measure", "run"]

_LONGEST_S: Final = 180.0
_LOOK_S: Final = 0.02
_SETTLED: Final = 0.3
"""Share of the events before the clock starts: a client's first labels cost more than the rest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """events: preloaded for each row. shapes: (workers, partitions) to measure, in turn."""

    events: int
    shapes: tuple[tuple[int, int], ...]
    data: Path


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """`rows`, and how much the dearest event costs more than the cheapest, `spread`."""
    rows = []
    for workers, partitions in plan.shapes:
        row = _shape(plan, workers, partitions, kafka, redis)
        rows.append(row)
        note(
            f"{workers} workers, {partitions:>2} partitions {row['events_per_s']:>10,.0f} events/s"
            f" {row['cpu_us_per_event']:>6.2f} us each"
        )
    costs = [row["cpu_us_per_event"] for row in rows]
    return {"rows": rows, "spread": max(costs) / min(costs) - 1}


def _shape(
    plan: Plan, workers: int, partitions: int, kafka: KafkaServers | None, redis: str | None
) -> dict[str, Any]:
    path, pipeline = own_pipeline(plan.data, "scale", partitions=partitions)
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                preload(cluster.kafka, pipeline, plan.events)
                speed, cost_us = run(plan.events, cluster, pipeline, workers)
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


def run(events: int, cluster: Cluster, pipeline: Pipeline, workers: int) -> tuple[float, float]:
    """Let workers take in what waits: (events/s, microseconds of their processor time an event).

    Raises:
        Unavailable: it takes too long, or all was counted at once and there is nothing to measure.
    """
    group = pipeline.topics.prefix.rstrip(".")
    started = [cluster.start_worker(number + 1, "--group", group) for number in range(workers)]
    seen: list[tuple[float, float, int]] = []
    deadline = time.monotonic() + _LONGEST_S
    with closing(RedisReader(cluster.redis, patience_s=2.0)) as reader:
        while not seen or seen[-1][2] < events:
            taken = summed_events(reader.totals(), pipeline)["in"]
            if taken >= _SETTLED * events and (not seen or taken != seen[-1][2]):
                seen.append((time.perf_counter(), sum(map(_cpu_s, started)), taken))
            cluster.check()
            if time.monotonic() > deadline:
                msg = f"{taken:,} of {events:,} events were taken in; see {started[0].log}"
                raise Unavailable(msg)
            time.sleep(_LOOK_S)
    cluster.end(started)
    if len(seen) < 2:
        msg = f"all {events:,} events were counted at once; give more with --events"
        raise Unavailable(msg)
    (began, cpu_before, first), (ended, cpu_after, last) = seen[0], seen[-1]
    return (last - first) / (ended - began), 1e6 * (cpu_after - cpu_before) / (last - first)


def _cpu_s(worker: ServerProcess) -> float:
    """Processor time of a worker so far, its launcher's children included."""
    process = psutil.Process(worker.process.pid)
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))
