"""A worker is killed, another takes over: how long until it stands where the first one stood.

every recipient gets a message -> snapshots are written -> more messages -> SIGKILL
-> a new worker: snapshot, replay, live -> the clock stops when all is counted
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, delete_topics, topic_specs
from sendtide.commands.options import KafkaServers
from sendtide.commands.output import note, progress
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.commands.readings import summed_events
from sendtide.commands.sending import Sender
from sendtide.events.errors import Unavailable
from sendtide.events.wire import Records
from sendtide.lab import Scenario, Simulator
from sendtide.pipeline import Pipeline
from sendtide.recipients import restore
from sendtide.sinks import RedisReader
from sendtide.stages.recipient import join_settings
from sendtide.stages.snapshots import snapshot_store

__all__ = ["Plan", "measure"]

I64 = NDArray[np.int64]

_PART: Final = 20_000
_TAIL: Final = 100_000
"""Messages after the last snapshot: what has to be replayed."""
_LOOK_S: Final = 0.05
_QUIET_S: Final = 180.0
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Plan:
    """recipients: known to the worker when it is killed. clients: they belong to."""

    recipients: int
    clients: int
    partitions: int
    data: Path


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """`seconds` from the kill to everything counted again; `exact`: by a recount of what was sent.

    Raises:
        Unavailable: nothing moves any more.
    """
    path, pipeline = own_pipeline(plan.data, "recovery", partitions=plan.partitions)
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                return _recovery(plan, cluster, pipeline)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)


def _recovery(plan: Plan, cluster: Cluster, pipeline: Pipeline) -> dict[str, Any]:
    simulator = Simulator(
        Scenario(clients=plan.clients, recipients=plan.recipients, request_share=0.0)
    )
    group = pipeline.topics.prefix.rstrip(".")
    tail = np.random.default_rng(3).integers(0, plan.recipients, _TAIL)
    with (
        closing(RedisReader(cluster.redis, patience_s=5.0)) as reader,
        TemporaryDirectory(dir=plan.data, prefix="recovery-") as folder,
    ):
        own = ("--group", group, "--snapshots", folder)
        first = cluster.start_worker(1, *own)
        _send(cluster, pipeline, "known", _known(plan, simulator))
        _until(reader, pipeline, plan.recipients)
        _until_written_down(reader)
        _send(cluster, pipeline, "after the snapshot", _after(tail, simulator))
        os.kill(first.process.pid, signal.SIGKILL)
        killed = time.perf_counter()
        cluster.forget(first)
        second = cluster.start_worker(2, *own)
        _until(reader, pipeline, plan.recipients + _TAIL)
        seconds = time.perf_counter() - killed
        cluster.end([second], timeout_s=120.0)
        exact = _exact(Path(folder), pipeline, simulator, tail)
    note(f"{plan.recipients:,} recipients back in {seconds:.1f} s")
    return {
        "recipients": plan.recipients,
        "seconds": seconds,
        "exact": exact,
        "replayed": _TAIL,
        "partitions": plan.partitions,
    }


def _known(plan: Plan, simulator: Simulator) -> Iterator[Records]:
    end_ms = time.time_ns() // 1_000_000 - 60_000
    for start in range(0, plan.recipients, _PART):
        rows = np.arange(start, min(start + _PART, plan.recipients), dtype=np.int64)
        yield simulator.sends_to(rows, end_ms - _DAY_MS + rows * _DAY_MS // plan.recipients)


def _after(tail: I64, simulator: Simulator) -> Iterator[Records]:
    for start in range(0, len(tail), _PART):
        rows = tail[start : start + _PART]
        yield simulator.sends_to(rows, np.full(len(rows), time.time_ns() // 1_000_000, np.int64))


def _send(cluster: Cluster, pipeline: Pipeline, what: str, parts: Iterator[Records]) -> None:
    with Sender(cluster.kafka, pipeline.topics.prefix) as sender, progress() as bar:
        task = bar.add_task(what, total=None)
        for records in parts:
            sender.send(records)
            bar.advance(task, len(records))
            cluster.check()


def _until(reader: RedisReader, pipeline: Pipeline, wanted: int) -> None:
    """Wait until exactly so many events are taken in and applied."""
    moved, before = time.monotonic(), -1
    while True:
        counts = summed_events(reader.totals(), pipeline)
        if counts["applied"] >= wanted:
            return
        if counts["in"] != before:
            moved, before = time.monotonic(), counts["in"]
        if time.monotonic() - moved > _QUIET_S:
            msg = f"{counts['applied']:,} of {wanted:,} events were applied, then nothing"
            raise Unavailable(msg)
        time.sleep(_LOOK_S)


def _until_written_down(reader: RedisReader) -> None:
    """Wait until every partition has a snapshot of all it holds."""
    deadline = time.monotonic() + _QUIET_S
    while time.monotonic() < deadline:
        beats = reader.workers()
        if beats and beats[0].lags and beats[0].snapshot_age_s is None:
            return
        time.sleep(0.5)
    msg = "the worker wrote no snapshot; see its log"
    raise Unavailable(msg)


def _exact(snapshots: Path, pipeline: Pipeline, simulator: Simulator, tail: I64) -> bool:
    """Whether the states, as the last worker wrote them down, hold every message of everybody."""
    people = simulator.population
    expected = 1 + np.bincount(tail, minlength=len(people))
    row_of = {
        pair: row
        for row, pair in enumerate(zip(*map(np.ndarray.tolist, people.identifier), strict=True))
    }
    found = np.zeros(len(people), np.int64)
    store = snapshot_store(pipeline, "recipients", url=str(snapshots))
    for number in range(pipeline.topics.partitions):
        snapshot = store.newest(number)
        if snapshot is None:
            return False
        state = restore(number, join_settings(pipeline), snapshot[1]["state"], snapshot[2])
        for start in range(0, state.recipients, _PART):
            rows = np.arange(start, min(start + _PART, state.recipients), dtype=np.int32)
            live = state.live(rows)
            places = [row_of[pair] for pair in map(tuple, live.ids.tolist())]
            found[places] += live.history["sends"].astype(np.int64)
    return bool((found == expected).all())
