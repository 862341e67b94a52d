"""The time trial: send requests that wait in Kafka, one prediction for each, as fast as it goes.

every recipient gets a message -> workers learn of them, and stop -> requests are laid out
-> workers come back -> the clock runs from the first answer counted to the last
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from sendtide.commands.bench_worker import rival
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
from sendtide.local import ServerProcess
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader

__all__ = ["Plan", "measure"]

_PART: Final = 20_000
_LOOK_S: Final = 0.1
_QUIET_S: Final = 120.0
"""Longest wait without anything new counted."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Plan:
    """emails: requests to answer. recipients: known before. clients: with two models each."""

    emails: int
    recipients: int
    clients: int
    workers: int
    partitions: int
    data: Path


def measure(plan: Plan, kafka: KafkaServers | None, redis: str | None) -> dict[str, Any]:
    """Run the trial; `ratio_consume` is to a client that fetches the requests and does nothing.

    `cpu_us_per_email`: microseconds of the workers' processor time. `servers_cpu_us_per_email`: of
    broker and Redis, 0 where they are not started here.

    Raises:
        Unavailable: nothing is counted for too long.
    """
    path, pipeline = own_pipeline(plan.data, "trial", partitions=plan.partitions)
    specs = topic_specs(pipeline)
    try:
        with Cluster(plan.data, kafka=kafka, redis=redis, pipeline_file=path) as cluster:
            create_missing(cluster.kafka, specs)
            try:
                return _trial(plan, cluster, pipeline)
            finally:
                if not cluster.embedded:
                    delete_topics(cluster.kafka, specs)
    finally:
        path.unlink(missing_ok=True)


def _trial(plan: Plan, cluster: Cluster, pipeline: Pipeline) -> dict[str, Any]:
    simulator = Simulator(
        Scenario(clients=plan.clients, recipients=plan.recipients, request_share=0.0)
    )
    with (
        closing(RedisReader(cluster.redis, patience_s=5.0)) as reader,
        TemporaryDirectory(dir=plan.data, prefix="trial-") as snapshots,
    ):
        start = partial(_workers, plan, cluster, pipeline, snapshots)
        workers = start("learning")
        _lay_out(cluster, pipeline, "known", plan.recipients, _known(plan, simulator))
        _counted(reader, pipeline, cluster, "in", plan.recipients)
        cluster.end(workers, timeout_s=120.0)
        _lay_out(cluster, pipeline, "requests", plan.emails, _requests(plan, simulator))
        workers = start("answering")
        costs = _Costs(workers, cluster)
        seconds, answered = _counted(
            reader, pipeline, cluster, "predictions", plan.emails, costs.begin
        )
        told = costs.us_per_email(answered)
        cluster.end(workers, timeout_s=120.0)
        predictions = _predicted(reader, pipeline)
    speed = answered / seconds
    consumed = rival(cluster, "consume-only", plan.emails)
    note(f"consume only {consumed:,.0f} requests/s")
    return {
        "emails": plan.emails,
        "seconds": plan.emails / speed,
        "emails_per_s": speed,
        "consume_only_per_s": consumed,
        "ratio_consume": speed / consumed,
        **told,
        "recipients": plan.recipients,
        "clients": plan.clients,
        "workers": plan.workers,
        "broker": "embedded" if cluster.embedded else cluster.kafka.brokers,
        "predictions": predictions,
    }


class _Costs:
    """Processor time from the first answer counted to the last."""

    def __init__(self, workers: Sequence[ServerProcess], cluster: Cluster) -> None:
        self._workers, self._cluster = workers, cluster
        self.begin()

    def begin(self) -> None:
        self._before_s = self._now_s()

    def us_per_email(self, emails: int) -> dict[str, float]:
        """Of the workers, and of the servers that were started with them."""
        names = ("cpu_us_per_email", "servers_cpu_us_per_email")
        spent = zip(names, self._before_s, self._now_s(), strict=True)
        return {name: 1e6 * (now - before) / emails for name, before, now in spent}

    def _now_s(self) -> tuple[float, float]:
        return sum(worker.cpu_s for worker in self._workers), self._cluster.servers_cpu_s


def _predicted(reader: RedisReader, pipeline: Pipeline) -> int:
    prefix = pipeline.topics.prefix
    tables = [t for name, t in reader.totals().items() if name.startswith(prefix)]
    return sum(table.get("predictions", 0) for table in tables)


def _workers(
    plan: Plan, cluster: Cluster, pipeline: Pipeline, snapshots: str, doing: str
) -> list[ServerProcess]:
    """Start all, in a group of their own: they go on from the snapshots of those before.

    The embedded broker forms no group again whose leader has left together with the others.
    """
    own = ("--group", f"{pipeline.topics.prefix}{doing}", "--snapshots", snapshots)
    return [cluster.start_worker(number, *own) for number in range(1, plan.workers + 1)]


def _known(plan: Plan, simulator: Simulator) -> Iterator[Records]:
    """One message to everybody, over the day before."""
    end_ms = time.time_ns() // 1_000_000 - 60_000
    for rows in _parts(plan.recipients):
        times = end_ms - _DAY_MS + rows * _DAY_MS // plan.recipients
        yield simulator.sends_to(rows, times)


def _requests(plan: Plan, simulator: Simulator) -> Iterator[Records]:
    """Everybody in turn, again and again, in an order that is not that of the messages."""
    now_ms = time.time_ns() // 1_000_000 - 1_000
    order = np.random.default_rng(7).permutation(plan.recipients)
    for rows in _parts(plan.emails):
        yield simulator.requests_for(
            order[rows % plan.recipients], np.full(len(rows), now_ms, np.int64)
        )


def _parts(total: int) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    for start in range(0, total, _PART):
        yield np.arange(start, min(start + _PART, total), dtype=np.int64)


def _lay_out(
    cluster: Cluster, pipeline: Pipeline, what: str, total: int, parts: Iterator[Records]
) -> None:
    with Sender(cluster.kafka, pipeline.topics.prefix) as sender, progress() as bar:
        task = bar.add_task(what, total=total)
        for records in parts:
            sender.send(records)
            bar.advance(task, len(records))
            cluster.check()


def _counted(
    reader: RedisReader,
    pipeline: Pipeline,
    cluster: Cluster,
    what: str,
    wanted: int,
    begin: Callable[[], None] = lambda: None,
) -> tuple[float, int]:
    """Wait until so many are counted; (seconds, number) between the first and the last count.

    `begin` is called at the first.
    """
    seen: list[tuple[float, int]] = []
    asked = time.perf_counter()
    with progress() as bar:
        task = bar.add_task("answered" if what == "predictions" else "learned", total=wanted)
        while not seen or seen[-1][1] < wanted:
            done = _count(reader, pipeline, what)
            if done and not seen:
                begin()
            if done and (not seen or done != seen[-1][1]):
                seen.append((time.perf_counter(), done))
                bar.update(task, completed=done)
            _refuse_silence(seen[-1][0] if seen else asked, done, wanted)
            cluster.check()
            time.sleep(_LOOK_S)
    if len(seen) < 2:
        msg = f"all {wanted:,} were counted at once; give more with --emails"
        raise Unavailable(msg)
    return seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]


def _count(reader: RedisReader, pipeline: Pipeline, what: str) -> int:
    if what == "predictions":
        return _predicted(reader, pipeline)
    return summed_events(reader.totals(), pipeline)[what]


def _refuse_silence(moved_at: float, done: int, wanted: int) -> None:
    if time.perf_counter() - moved_at > _QUIET_S:
        msg = f"{done:,} of {wanted:,} were counted, then nothing; look at the workers' logs"
        raise Unavailable(msg)
