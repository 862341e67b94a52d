"""`sendtide up`: everything on this machine with one command."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
import typer

from sendtide.commands.cluster import Cluster
from sendtide.commands.deployment import create_missing, topic_specs
from sendtide.commands.options import (
    DEMO_PIPELINE,
    JsonFile,
    Kafka,
    KafkaConfig,
    PipelineFile,
    RedisUrl,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import note, publish
from sendtide.commands.program import new_program
from sendtide.commands.readings import Reading, Readings, at_work
from sendtide.commands.stopping import Stop
from sendtide.commands.watching import LiveView
from sendtide.endpoint.server import listen
from sendtide.local import ServerProcess
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader
from sendtide.sinks.connection import shown

__all__ = ["program", "up"]

program = new_program()

_DRAIN_S: Final = 20.0
_QUIET_S: Final = 1.0
_LONG_QUIET_S: Final = 4.0
_READY_S: Final = 60.0
_COMPILED_S: Final = 300.0
_SIMULATED: Final = "simulated.json"
_HISTORY_EVENTS: Final = 20_000
_REACTION_SPEED: Final = 600
"""Half of the opens within six seconds, five sixths within the demo pipeline's horizon."""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What was asked for."""

    duration_s: float | None
    rate: float
    clients: int
    recipients: int
    workers: int
    simulate: bool
    port: int


@program.command()
def up(
    duration: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="End by itself after this.")
    ] = None,
    json: JsonFile = None,
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    rate: Annotated[float, typer.Option(min=1, help="Simulated events a second.")] = 500.0,
    clients: Annotated[int, typer.Option(min=1, help="Simulated clients.")] = 20,
    recipients: Annotated[int, typer.Option(min=1, help="Simulated recipients.")] = 2_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Logs and snapshots.")] = Path(
        ".sendtide"
    ),
    simulate: Annotated[
        bool, typer.Option("--simulate/--no-simulate", help="Send simulated mail.")
    ] = True,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Of the dashboard and the endpoint.")
    ] = 8080,
) -> None:
    """Start a broker, Valkey, workers, endpoint, dashboard and a simulated provider.

    Ctrl-C stops everything in order. With `--kafka` or `--redis` your own servers are used. Without
    `--pipeline` it is a demonstration in which labels are known after 30 seconds.

    Examples: `sendtide up` · `sendtide up --for 30 --json -` ·
    `sendtide up --kafka localhost:9092 --redis redis://localhost:6379/0 --no-simulate`
    """
    wishes = _Wishes(duration, rate, clients, recipients, workers, simulate, port)
    deployment = pipeline_of(pipeline or DEMO_PIPELINE)
    listen("127.0.0.1", port).close()  # a taken port is told before anything is started
    servers = servers_of(kafka, kafka_config) if kafka else None
    cluster = Cluster(
        data,
        kafka=servers,
        redis=redis,
        pipeline_file=pipeline or DEMO_PIPELINE,
        compile_first=False,  # says so itself, and waits
    )
    with Stop() as stop, cluster:
        result = _Run(cluster, deployment, wishes, stop).result()
    publish(result, json, _sentence(result))


class _Run:
    """One run, from topics to summary."""

    def __init__(self, cluster: Cluster, pipeline: Pipeline, wishes: _Wishes, stop: Stop) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._wishes = wishes
        self._stop = stop
        self._url = f"http://127.0.0.1:{wishes.port}"
        self._newest: Reading | None = None
        self._freshness: tuple[float | None, float | None] = (None, None)

    def result(self) -> dict[str, Any]:
        """Start, watch, stop; return the summary."""
        cluster = self._cluster
        note(f"kafka     {cluster.kafka.brokers}")
        note(f"redis     {shown(cluster.redis)}")
        created = create_missing(cluster.kafka, topic_specs(self._pipeline))
        note(f"topics    {len(created)} created, all verified")
        with closing(RedisReader(cluster.redis, patience_s=2.0)) as reader:
            readings = Readings(reader, self._pipeline)
            before = readings.take()
            workers = self._start()
            self._wait_for_work(reader)
            simulator = self._start_simulator() if self._wishes.simulate else None
            self._watch(readings)
            note("stopping: simulator, workers, endpoint, servers")
            if simulator is not None:
                cluster.end([simulator])
            sent = self._sent() if simulator is not None else None
            self._drain(readings, None if sent is None else before.events["in"] + sent)
            cluster.end(workers)
            return {**self._summary(before, readings.take()), "simulated": sent}

    def _sent(self) -> int | None:
        """Records the simulator says it has sent; None if it did not get to say."""
        file = self._cluster.logs / _SIMULATED
        return int(msgspec.json.decode(file.read_bytes())["events"]) if file.exists() else None

    def _start(self) -> list[ServerProcess]:
        cluster, wishes = self._cluster, self._wishes
        workers = [cluster.start_worker(n) for n in range(1, wishes.workers + 1)]
        served = cluster.start(
            "serve", "serve", *cluster.addresses(), "--redis", cluster.redis,
            "--port", str(wishes.port),
            address=self._url,
        )  # fmt: skip
        served.wait_until(lambda: self._stop.asked or _answers(f"{self._url}/v2"), _READY_S)
        note(f"dashboard {self._url}/")
        note(f"endpoint  {self._url}/v2   metrics {self._url}/metrics")
        note(
            "elsewhere "
            f"export SENDTIDE_KAFKA={cluster.kafka.brokers} SENDTIDE_REDIS={shown(cluster.redis)}"
        )
        return workers

    def _start_simulator(self) -> ServerProcess:
        wishes, told = self._wishes, self._cluster.logs / _SIMULATED
        told.unlink(missing_ok=True)
        return self._cluster.start(
            "simulator", "simulate", *self._cluster.addresses(), "--spoil", "--json", str(told),
            "--history", str(_HISTORY_EVENTS), "--live", str(wishes.rate),
            "--clients", str(wishes.clients), "--recipients", str(wishes.recipients),
            "--reaction-speed", str(_REACTION_SPEED),
        )  # fmt: skip

    def _wait_for_work(self, reader: RedisReader) -> None:
        """Time counts from when the workers are at work; compiling takes long the first time."""
        note("workers   starting; the first time they compile for a minute or two ...")
        deadline, wanted = time.monotonic() + _COMPILED_S, self._wishes.workers
        while not at_work(reader, wanted) and time.monotonic() < deadline:
            self._cluster.check()
            if self._stop.wait(0.1):
                return
        note("workers   at work" if at_work(reader, wanted) else "workers   not all at work yet")

    def _watch(self, readings: Readings) -> None:
        """Show one reading a second until it is time to stop."""
        deadline = time.monotonic() + (self._wishes.duration_s or float("inf"))
        with LiveView(self._url) as view:
            while not self._stop.asked and time.monotonic() < deadline:
                self._stop.wait(min(1.0, max(0.0, deadline - time.monotonic())))
                self._cluster.check()
                self._take(readings)
                if self._newest is not None:
                    view.show(self._newest)

    def _take(self, readings: Readings) -> Reading:
        newest = self._newest = readings.take()
        if newest.freshness_p99_s is not None:
            self._freshness = newest.freshness_p50_s, newest.freshness_p99_s
        return newest

    def _drain(self, readings: Readings, wanted: int | None) -> None:
        """Wait until the workers have taken in what was sent and all that follows from it."""
        deadline = time.monotonic() + _DRAIN_S
        moved, before = time.monotonic(), -1
        while time.monotonic() < deadline:
            reading = readings.take()
            if reading.counted != before:
                moved, before = time.monotonic(), reading.counted
            # Without a number to reach, a longer silence is all there is to go by.
            reached = wanted is not None and reading.events["in"] >= wanted
            if time.monotonic() - moved > (_QUIET_S if reached else _LONG_QUIET_S):
                return
            time.sleep(0.1)

    def _summary(self, before: Reading, after: Reading) -> dict[str, Any]:
        return {
            "events": {name: n - before.events[name] for name, n in after.events.items()},
            "predictions": after.predictions - before.predictions,
            "windows": after.windows - before.windows,
            "freshness_p50_s": self._freshness[0],
            "freshness_p99_s": self._freshness[1],
            "urls": {
                "dashboard": f"{self._url}/",
                "endpoint": f"{self._url}/v2",
                "metrics": f"{self._url}/metrics",
            },
            "kafka": self._cluster.kafka.brokers,
            "redis": shown(self._cluster.redis),
        }


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1.0):  # noqa: S310 - our own loopback address
            return True
    except (URLError, OSError):
        return False


def _sentence(result: dict[str, Any]) -> str:
    events = ", ".join(f"{number:,} {name}" for name, number in result["events"].items())
    return f"{events}; {result['predictions']:,} predictions, {result['windows']:,} windows"
