"""One worker's speed, beside stock Faust and bare decoding, on the same preloaded records."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from sendtide import lab
from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note, progress
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.commands.readings import summed_events
from sendtide.commands.sending import Sender
from sendtide.events.errors import Unavailable
from sendtide.lab import Scenario
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader

__all__ = ["Plan", "measure", "preload", "rival"]

_LONGEST_S: Final = 180.0
_LOOK_S: Final = 0.02
_FAUST_EVENTS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Plan:
    """events: preloaded per repeat. rivals: measure what the worker is compared with, too."""

    events: int
    repeats: int
    partitions: int
    data: Path
    rivals: bool = True


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """Medians over the repeats, each on a fresh broker (if embedded) and fresh topics."""
    found: dict[str, list[float]] = {}
    for number in range(1, plan.repeats + 1):
        for name, speed in _repeat(plan, kafka, redis).items():
            found.setdefault(name, []).append(speed)
            note(f"{number}/{plan.repeats}  {name:<22} {speed:>12,.0f} events/s")
    result: dict[str, Any] = {name: statistics.median(speeds) for name, speeds in found.items()}
    if plan.rivals:
        own = result["events_per_s"]
        result["ratio_stock_faust"] = own / result["stock_faust_per_s"]
        result["ratio_consume_decode"] = own / result["consume_decode_per_s"]
    return {**result, "events": plan.events, "repeats": plan.repeats}


def _repeat(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, float]:
    path, pipeline = own_pipeline(plan.data, "bench", partitions=plan.partitions)
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                preload(cluster.kafka, pipeline, plan.events)
                speeds = {"events_per_s": _worker(cluster, pipeline, plan.events)}
                if plan.rivals:
                    share = min(plan.events, _FAUST_EVENTS)
                    speeds["stock_faust_per_s"] = rival(cluster, "stock-faust", share)
                    speeds["consume_decode_per_s"] = rival(cluster, "consume-decode", plan.events)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)
    return speeds


def preload(kafka: KafkaServers, pipeline: Pipeline, events: int) -> None:
    """Put `events` sends and engagements of a simulated provider onto the topics.

    Uncompressed: stock Faust's client has no codec for lz4.
    """
    prefix = pipeline.topics.prefix
    with Sender(kafka, prefix, compression="none") as sender, progress() as bar:
        task = bar.add_task("preloaded", total=events)
        for records in lab.event_records(events, Scenario(request_share=0.0)):
            sender.send(records)
            bar.advance(task, len(records))


def _worker(cluster: Cluster, pipeline: Pipeline, events: int) -> float:
    """Events a second between the first and the last count that the worker publishes."""
    worker = cluster.start_worker(1, "--group", pipeline.topics.prefix.rstrip("."))
    seen: list[tuple[float, int]] = []
    deadline = time.monotonic() + _LONGEST_S
    with closing(RedisReader(cluster.redis, patience_s=2.0)) as reader:
        while not seen or seen[-1][1] < events:
            taken = summed_events(reader.totals(), pipeline)["in"]
            if taken and (not seen or taken != seen[-1][1]):
                seen.append((time.perf_counter(), taken))
            cluster.check()
            if time.monotonic() > deadline:
                msg = f"the worker took in {taken:,} of {events:,} events; see {worker.log}"
                raise Unavailable(msg)
            time.sleep(_LOOK_S)
    cluster.end([worker])
    if len(seen) < 2:
        msg = f"all {events:,} events were counted at once; give more with --events"
        raise Unavailable(msg)
    (began, first), (ended, last) = seen[0], seen[-1]
    return (last - first) / (ended - began)


def rival(cluster: Cluster, name: str, events: int) -> float:
    """Events a second of one of `rivals`, in a process of its own."""
    result = cluster.logs / f"{name}.json"
    result.unlink(missing_ok=True)
    own = ["--kafka", cluster.kafka.brokers] if name == "stock-faust" else cluster.addresses()
    file = ["--pipeline", str(cluster.pipeline_file)] if name == "stock-faust" else []
    child = cluster.start(name, "bench", name, str(events), *own, *file, "--json", str(result))
    deadline = time.monotonic() + _LONGEST_S
    while child.running and time.monotonic() < deadline:
        time.sleep(0.05)
    if child.running or child.process.returncode or not result.exists():
        child.stop(1.0)
        msg = f"{name} gave no figure; {child.log}: {child.tail()}"
        raise Unavailable(msg)
    return float(msgspec.json.decode(result.read_bytes())["events_per_s"])
