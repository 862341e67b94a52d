"""What all tests share: servers started once, and no timed examples.

Hypothesis has no deadline since the first call of a compiled loop compiles it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from sendtide.local import start_broker, start_kafka, start_redis, start_valkey, stop_kafka
from servers import require

os.environ["F_DATADIR"] = tempfile.mkdtemp(prefix="faust-")  # of the apps that tests make
settings.register_profile(
    "sendtide",
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("sendtide")


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded broker's `host:port`; topics need names nobody else uses."""
    server = start_broker(tmp_path_factory.mktemp("broker"))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of one Apache Kafka node."""
    require("java", "mvn", package="default-jre-headless maven")
    servers = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield servers[0].address
    stop_kafka(servers)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded Valkey; keys need a client nobody else uses."""
    server = start_valkey(tmp_path_factory.mktemp("valkey"))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def debian_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Redis proper, as Debian has it."""
    require("redis-server", package="redis-server")
    server = start_redis(["redis-server"], tmp_path_factory.mktemp("redis"))
    yield server.address
    server.stop()
