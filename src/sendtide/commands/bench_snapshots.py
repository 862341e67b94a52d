"""What snapshots cost a running worker: the same events with them, and with none until the end."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sendtide.commands.bench_scale import run
from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.lab import Scenario, event_records

__all__ = ["Plan", "measure"]

_NEVER: Final = "1d"
_INTERVAL: Final = """
[snapshots]
interval = "{interval}"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """events: of each run, the same. every_s: between two snapshots of all partitions."""

    events: int
    every_s: int
    repeats: int
    partitions: int
    data: Path


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """`cost_ratio`: how much more processor time an event takes; goal 0.05 at most.

    Also `with_per_s` and `without_per_s`, events a second. With and without take turns, and
    medians are over the repeats, so that what else the machine does befalls both. A first run is
    not counted: compiled loops come from the cache from then on.
    """
    speeds: dict[str, list[float]] = {"with": [], "without": []}
    costs: dict[str, list[float]] = {"with": [], "without": []}
    _once(plan, _NEVER, kafka, redis)
    for number in range(1, plan.repeats + 1):
        for name, interval in (("without", _NEVER), ("with", f"{plan.every_s}s")):
            speed, cost_us = _once(plan, interval, kafka, redis)
            speeds[name].append(speed)
            costs[name].append(cost_us)
            note(f"{number}/{plan.repeats}  {name:<8} {speed:>10,.0f} events/s {cost_us:.2f} us")
    cost = {name: statistics.median(found) for name, found in costs.items()}
    return {
        "cost_ratio": cost["with"] / cost["without"] - 1,
        "with_us_per_event": cost["with"],
        "without_us_per_event": cost["without"],
        "with_per_s": statistics.median(speeds["with"]),
        "without_per_s": statistics.median(speeds["without"]),
        "events": plan.events,
        "every_s": plan.every_s,
        "repeats": plan.repeats,
    }


def _once(
    plan: Plan, interval: str, kafka: KafkaServers | None, redis: str | None
) -> tuple[float, float]:
    sections = _INTERVAL.format(interval=interval)
    path, pipeline = own_pipeline(
        plan.data, "snapshots", partitions=plan.partitions, sections=sections
    )
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                records = event_records(plan.events, Scenario(request_share=0.0))
                return run(records, cluster, pipeline, 1)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)
