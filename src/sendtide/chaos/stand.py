"""The servers of a run: Apache Kafka and Redis, each behind a fault proxy that workers go through.

The judge and the producer use the direct ports, so that a fault of the wire is the workers' alone.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import redis

from sendtide.chaos.proxy import FaultProxy
from sendtide.local import (
    ServerProcess,
    free_port,
    start_kafka,
    start_redis,
    start_valkey,
    stop_kafka,
)

__all__ = ["Stand"]

_REDIS: Final = "redis-server"


class Stand:
    """Servers that many rows share; each row has topics of its own and an empty Redis.

    folder: for logs and Kafka's data. redis_program: a `redis-server`; None: the embedded Valkey.
    """

    def __init__(self, folder: Path, redis_program: str | None = _REDIS) -> None:
        self.folder = folder
        self._program = redis_program
        self._stack = ExitStack()
        self._proxied = (free_port(), 0)
        self._port = free_port()
        self._redis_port = free_port()

    def __enter__(self) -> Self:
        try:
            self.kafka_proxy = self._stack.enter_context(FaultProxy(self._proxied[0]))
            self._proxied = (self._proxied[0], self.kafka_proxy.port)
            self.redis_proxy = self._stack.enter_context(FaultProxy(self._redis_port))
            self.broker = self._start_broker()
            self._stack.callback(lambda: stop_kafka([self.broker]))
            self.redis = self._start_redis()
            self._stack.callback(lambda: self.redis.stop())
            self.store: Any = redis.Redis.from_url(self.redis.address)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def kafka(self) -> str:
        """The direct address."""
        return f"127.0.0.1:{self._port}"

    @property
    def redis_port(self) -> int:
        """Where Redis listens itself."""
        return self._redis_port

    @property
    def workers_kafka(self) -> str:
        """The address that workers get."""
        return f"127.0.0.1:{self.kafka_proxy.port}"

    @property
    def workers_redis(self) -> str:
        """The URL that workers get."""
        return f"redis://127.0.0.1:{self.redis_proxy.port}/0"

    def heal(self) -> None:
        """Take every fault back and empty Redis."""
        self.kafka_proxy.clear()
        self.redis_proxy.clear()
        for server in (self.broker, self.redis):
            if server.running:
                server.process.send_signal(signal.SIGCONT)
        self.store.config_set("maxmemory", "0")
        self.store.execute_command("REPLICAOF", "NO", "ONE")
        self.store.execute_command("CLIENT", "UNPAUSE")
        self.store.flushall()

    def restart_broker(self) -> None:
        """Kill the broker and start it again on the same data."""
        self.broker.process.kill()
        self.broker.process.wait()
        self.broker = self._start_broker()

    def kill_redis(self) -> None:
        """Kill Redis; all it held is gone."""
        self.redis.process.kill()
        self.redis.process.wait()

    def start_redis_again(self) -> None:
        """Start an empty Redis on the same port."""
        self.redis = self._start_redis()

    def versions(self) -> dict[str, str]:
        """What this run was made on."""
        info = self.store.info("server")
        name = "valkey" if "valkey_version" in info else "redis"
        return {name: str(info.get("valkey_version") or info["redis_version"])}

    def _start_broker(self) -> ServerProcess:
        folder = self.folder / "kafka"
        return start_kafka(folder, port=self._port, proxied=self._proxied)[0]

    def _start_redis(self) -> ServerProcess:
        if self._program is None:
            server = start_valkey(self.folder, self._redis_port)
        else:
            server = start_redis([self._program], self.folder, self._redis_port)
        assert urlsplit(server.address).port == self._redis_port
        return server
