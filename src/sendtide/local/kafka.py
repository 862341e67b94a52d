"""Apache Kafka (KRaft) on loopback: jars through Maven, one or three brokers, no orphan.

The jars live in a cache outside any repository (`$XDG_CACHE_HOME/sendtide/kafka-<version>`); Maven
resolves them by name from whatever repository it is set up with. Java 17 is enough.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sendtide.events.errors import ConfigurationError
from sendtide.local.ports import free_port, listens, refuse_busy_port
from sendtide.local.processes import ServerProcess, start_program

__all__ = ["KAFKA_VERSION", "fetch_kafka", "start_kafka", "stop_kafka"]

KAFKA_VERSION: Final = "4.2.1"
"""Not 4.3 or 4.4: those do not write the end of a transaction to a partition that has no leader at
that moment (KAFKA-20734), so that of a broker just back what was committed may be lost.
"""

_READY_S: Final = 90.0
_STOP_S: Final = 30.0
_JAVA: Final = ("java", "-Xms128m", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_ARTIFACTS: Final = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),  # without it Kafka says nothing at all when it fails
)
_SETTINGS: Final = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}{behind}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}{before}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs={data}
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=8
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
auto.create.topics.enable=false
"""


def fetch_kafka() -> Path:
    """Folder with the jars of Apache Kafka; fetched once.

    Raises:
        ConfigurationError: no Maven or Java, or Maven found nothing; says what to do.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    libraries = base / "sendtide" / f"kafka-{KAFKA_VERSION}"
    if libraries.is_dir():
        return libraries
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            msg = (
                f"{program} is not on the PATH; Apache Kafka needs Java 17 to run and Maven to be "
                "fetched (on Debian: apt-get install default-jre-headless maven)"
            )
            raise ConfigurationError(msg)
    try:
        libraries.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=libraries.parent) as work:
            _copy_jars(Path(work))
            if not libraries.is_dir():  # another process may have been quicker
                (Path(work) / "libs").rename(libraries)
    except OSError as error:
        msg = (
            f"Apache Kafka cannot be kept in {libraries} ({error.strerror}); let XDG_CACHE_HOME "
            "name a folder you may write to, with 60 MB free"
        )
        raise ConfigurationError(msg) from error
    return libraries


def start_kafka(
    folder: Path,
    brokers: int = 1,
    port: int | None = None,
    proxied: tuple[int, int] | None = None,
) -> list[ServerProcess]:
    """Start `brokers` nodes, each broker and controller, with their logs and data in `folder`.

    Each one's `address` is `127.0.0.1:<port>`; `port` is the first one's, a free one if absent. A
    folder with data goes on where it stopped. Ready means: all of them are in each other's cluster.

    proxied: of a single broker, a second port to listen on and the one that clients of it are told
    to come back to: that of a proxy before it.

    Raises:
        ConfigurationError: jars or Java missing, the port taken, or the data of a newer version.
        Unavailable: not ready in time.
    """
    libraries = fetch_kafka()
    _mark_version(folder)
    if port is not None:
        refuse_busy_port(port, "Apache Kafka")
    ports = [(port if port and n == 0 else free_port(), free_port()) for n in range(brokers)]
    voters = ",".join(f"{n}@127.0.0.1:{pair[1]}" for n, pair in enumerate(ports, start=1))
    servers: list[ServerProcess] = []
    try:
        for number, (client, controller) in enumerate(ports, start=1):
            settings = _prepared(folder, number, client, controller, voters, brokers, proxied)
            _format(libraries, settings, _cluster_id(folder))
            name, address = f"kafka-{number}", f"127.0.0.1:{client}"
            command = [*_JAVA, "-cp", f"{libraries}/*", "kafka.Kafka", str(settings)]
            servers.append(start_program(name, command, address=address, logs=folder))
        for server in servers:
            server.wait_until(lambda s=server: _knows(s.address, brokers), _READY_S)  # type: ignore[misc]
    except BaseException:
        stop_kafka(servers)
        raise
    return servers


def stop_kafka(servers: Sequence[ServerProcess]) -> None:
    """End all nodes together: one alone waits in vain for a controller to release it."""
    for server in servers:
        server.ask_to_stop()
    for server in servers:
        server.stop(_STOP_S)


def _copy_jars(work: Path) -> None:
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, artifact, version in _ARTIFACTS
    )
    (work / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sendtide</groupId><artifactId>kafka</artifactId><version>1</version>"
        f"<dependencies>{wanted}</dependencies></project>"
    )
    copy = ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs")
    done = subprocess.run(copy, cwd=work, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = (
            f"Maven could not fetch Apache Kafka {KAFKA_VERSION}; is the network there, and does "
            f"`mvn` work otherwise? {(done.stdout + done.stderr)[-500:]}"
        )
        raise ConfigurationError(msg)


def _prepared(
    folder: Path,
    number: int,
    client: int,
    controller: int,
    voters: str,
    brokers: int,
    proxied: tuple[int, int] | None,
) -> Path:
    """The settings file of one node, written anew for each start: ports change."""
    home = folder / f"broker-{number}"
    home.mkdir(parents=True, exist_ok=True)
    copies = min(3, brokers)
    behind, before = (f",PROXIED://127.0.0.1:{port}" for port in proxied) if proxied else ("", "")
    settings = home / "server.properties"
    settings.write_text(
        _SETTINGS.format(
            number=number,
            voters=voters,
            client=client,
            controller=controller,
            behind=behind,
            before=before,
            data=home / "data",
            copies=copies,
            in_sync=min(2, copies),
        )
    )
    return settings


def _cluster_id(folder: Path) -> str:
    """One for all nodes of a folder, for as long as the folder lives."""
    file = folder / "cluster-id"
    if not file.exists():
        # Hexadecimal, sixteen characters of it: an id of Kafka's own making may begin with a dash,
        # which its tool then takes for an option.
        file.write_text(urlsafe_b64encode(uuid.uuid4().hex[:16].encode()).decode().rstrip("="))
    return file.read_text()


def _mark_version(folder: Path) -> None:
    """Write down whose data this is, unless it is a newer version's.

    An older Kafka cannot read that, and says so in its own way.
    """
    file, new = folder / "kafka-version", not (folder / "cluster-id").exists()
    # It was not written down while 4.3 was used here.
    written = file.read_text().strip() if file.exists() else KAFKA_VERSION if new else "4.3"
    if _numbers(written) > _numbers(KAFKA_VERSION):
        msg = (
            f"{folder} holds data of Apache Kafka {written}, which {KAFKA_VERSION} cannot read: "
            "name another folder, or delete this one"
        )
        raise ConfigurationError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(KAFKA_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _format(libraries: Path, settings: Path, cluster: str) -> None:
    tool = [*_JAVA, "-cp", f"{libraries}/*", "kafka.tools.StorageTool", "format"]
    if (settings.parent / "data" / "meta.properties").exists():
        return
    command = [*tool, "-t", cluster, "-c", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"Kafka's storage could not be formatted: {(done.stdout + done.stderr)[-500:]}"
        raise ConfigurationError(msg)


def _knows(address: str, brokers: int) -> bool:
    """True if this node answers and has heard of all the others."""
    if not listens(int(address.rpartition(":")[2])):
        return False
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        return len(client.list_topics(timeout=2.0).brokers) == brokers
    except KafkaException:
        return False
