"""Servers and child processes of one run, ended in order whatever happens."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sendtide.commands.compiling import compile_workers
from sendtide.commands.options import KafkaServers
from sendtide.events.errors import ConfigurationError, SendtideError
from sendtide.local import ServerProcess, start_broker, start_program, start_valkey

__all__ = ["ChildEnded", "Cluster"]

_SESSION_S: Final = 6.0
"""The embedded broker makes a new group wait for half of it."""
_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
"""Several small processes share the machine; none gains from a pool of threads per core."""


class ChildEnded(SendtideError):  # noqa: N818 - named after what happened
    """A child process ended on its own; the message ends with its last words."""


class Cluster:
    """The servers (embedded unless addresses are given) and the programs started beside them.

    data: folder for logs, and for snapshots where the broker is embedded: such a broker forgets
    everything, so its snapshots go with it. compile_first: for whoever waits for workers with a
    clock in hand. Start children from the main thread only.
    """

    def __init__(
        self,
        data: Path,
        *,
        kafka: KafkaServers | None = None,
        redis: str | None = None,
        pipeline_file: Path | None = None,
        prefix: str = "",
        compile_first: bool = True,
    ) -> None:
        self.logs = data / "logs"
        self._data = data
        self._prefix = prefix
        self._given = kafka, redis
        self._compile_first = compile_first
        self.pipeline_file = pipeline_file
        self._servers: list[ServerProcess] = []
        self._children: list[ServerProcess] = []
        self._snapshots: Path | None = None

    def __enter__(self) -> Self:
        kafka, redis = self._given
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            if kafka is None:
                self._snapshots = Path(tempfile.mkdtemp(prefix="snapshots-", dir=self._data))
        except OSError as error:
            msg = (
                f"the folder {self._data} cannot be used ({error.strerror}); give one you may "
                "write to with --data, and check that the disk is not full"
            )
            raise ConfigurationError(msg) from error
        if self._compile_first:
            compile_workers(self.pipeline_file)
        try:
            if kafka is None:
                broker = start_broker(self.logs)
                self._servers.append(broker)
                kafka = KafkaServers(broker.address)
            if redis is None:
                valkey = start_valkey(self.logs)
                self._servers.append(valkey)
                redis = valkey.address
        except BaseException:
            self.close()
            raise
        self.kafka, self.redis = kafka, redis
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    @property
    def embedded(self) -> bool:
        """True if the broker was started here and forgets all in the end."""
        return self._given[0] is None

    @property
    def servers_cpu_s(self) -> float:
        """Processor time so far of the servers started here."""
        return sum(server.cpu_s for server in self._servers)

    def close(self) -> None:
        """End what still runs: children in reverse order, then Valkey, then the broker."""
        for child in reversed(self._children):
            child.stop()
        for server in reversed(self._servers):
            server.stop()
        self._children.clear()
        self._servers.clear()
        if self._snapshots is not None:
            shutil.rmtree(self._snapshots, ignore_errors=True)

    def start(self, name: str, *arguments: str, address: str = "") -> ServerProcess:
        """Start `sendtide <arguments>` as a child."""
        command = [sys.executable, "-m", "sendtide.commands", *arguments]
        environment = {k: v for k, v in _THREADS.items() if k not in os.environ}
        child = start_program(
            f"{self._prefix}{name}", command, address=address, logs=self.logs,
            environment=environment,
        )  # fmt: skip
        self._children.append(child)
        return child

    def start_worker(self, number: int = 1, *arguments: str) -> ServerProcess:
        """Start a worker on these servers."""
        name = f"worker-{number}"
        session = ("--session-timeout", str(_SESSION_S)) if self.embedded else ()
        snapshots = ("--snapshots", str(self._snapshots)) if self._snapshots else ()
        return self.start(
            name, "worker", *self.addresses(), "--redis", self.redis, "--name", name,
            *session, *snapshots, *arguments,
        )  # fmt: skip

    def addresses(self) -> list[str]:
        """Arguments that lead a child to Kafka and to the pipeline."""
        settings = [
            part
            for name, value in self.kafka.config.items()
            for part in ("--kafka-config", f"{name}={value}")
        ]
        file = ["--pipeline", str(self.pipeline_file)] if self.pipeline_file else []
        return ["--kafka", self.kafka.brokers, *settings, *file]

    def end(self, children: Sequence[ServerProcess], timeout_s: float = 20.0) -> None:
        """End these together with SIGTERM and wait for all."""
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + timeout_s
        for child in children:
            child.stop(max(0.5, deadline - time.monotonic()))

    def forget(self, child: ServerProcess) -> None:
        """Take a child that was killed on purpose off the list of those that must live."""
        child.stop(1.0)
        self._children.remove(child)

    def check(self) -> None:
        """Raise `ChildEnded` if a server or child has ended with an error."""
        for process in (*self._servers, *self._children):
            status = process.process.poll()
            if status:
                msg = f"{process.name} ended with status {status}; {process.log}: {process.tail()}"
                raise ChildEnded(msg)
