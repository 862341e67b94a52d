"""Apache Kafka (KRaft) on loopback: jars through Maven, one or three brokers, no orphan.

The jars live in a cache outside any repository (`$XDG_CACHE_HOME/sendtide/kafka`); Maven resolves
them by name from whatever repository it is set up with. Java 17 is enough.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sendtide.events.errors import ConfigurationError
from sendtide.local.processes import ServerProcess, free_port, start_program

__all__ = ["fetch_kafka", "start_kafka"]

_READY_S: Final = 60.0
_HEAP: Final = "-Xmx512m"
_POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>sendtide</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>[4.0,5.0)</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>[4.0,5.0)</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId>
<version>1.7.36</version></dependency>
</dependencies></project>
"""


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sendtide" / "kafka"


def fetch_kafka() -> Path:
    """Folder with the jars of the newest Apache Kafka 4; fetched once.

    Raises:
        ConfigurationError: no Maven or Java, or Maven found nothing; says what to do.
    """
    folder = _cache()
    libraries = folder / "libs"
    if any(libraries.glob("kafka_2.13-*.jar")):
        return libraries
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            msg = f"{program} is not on the PATH; Apache Kafka needs Java 17 and Maven"
            raise ConfigurationError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(_POM)
    copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
    done = subprocess.run(copy, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"Maven could not fetch Apache Kafka: {(done.stdout + done.stderr)[-500:]}"
        raise ConfigurationError(msg)
    return libraries


def start_kafka(folder: Path, brokers: int = 1, port: int | None = None) -> list[ServerProcess]:
    """Start `brokers` nodes, each broker and controller, with their logs and data in `folder`.

    The first one's `address` is `127.0.0.1:<port>`. A folder with data goes on where it stopped if
    it is started with the same port; without a port a free one is taken.

    Raises:
        ConfigurationError: jars or Java missing. Unavailable: not ready in time.
    """
    libraries = fetch_kafka()
    ports = [(port if port and n == 0 else free_port(), free_port()) for n in range(brokers)]
    voters = ",".join(f"{n + 1}@127.0.0.1:{p[1]}" for n, p in enumerate(ports))
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    servers = []
    for number, (client, controller) in enumerate(ports, start=1):
        home = folder / f"broker-{number}"
        home.mkdir(parents=True, exist_ok=True)
        properties = home / "server.properties"
        properties.write_text(_properties(number, client, controller, voters, home, brokers))
        if not (home / "data" / "meta.properties").exists():
            _format(libraries, properties, cluster)
        command = ["java", _HEAP, "-cp", f"{libraries}/*", "kafka.Kafka", str(properties)]
        servers.append(
            start_program(f"kafka-{number}", command, address=f"127.0.0.1:{client}", logs=folder)
        )
    for server in servers:
        server.wait_until(lambda s=server: _listens(s.address), _READY_S)  # type: ignore[misc]
    return servers


def _listens(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, int(port))) == 0


def _format(libraries: Path, properties: Path, cluster: str) -> None:
    tool: Sequence[str] = ["java", "-cp", f"{libraries}/*", "kafka.tools.StorageTool", "format"]
    command = [*tool, "-t", cluster, "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"Kafka's storage could not be formatted: {(done.stdout + done.stderr)[-500:]}"
        raise ConfigurationError(msg)


def _properties(
    number: int, client: int, controller: int, voters: str, home: Path, brokers: int
) -> str:
    copies = min(3, brokers)
    return f"""process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={home / "data"}
default.replication.factor={copies}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
"""
