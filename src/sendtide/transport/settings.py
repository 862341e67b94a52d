"""Settings of the transport beside Faust's own, and the client configuration made from both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from faust import App
from yarl import URL

from sendtide.transport.errors import ConfigurationError
from sendtide.transport.owner import PartitionOwner
from sendtide.transport.rebalance import Companions

__all__ = [
    "KEEP_BROKERS",
    "ONE_REQUEST",
    "Settings",
    "bootstrap_servers",
    "configure",
    "consumer_config",
    "producer_config",
    "settings_of",
    "transaction_config",
]

ONE_REQUEST: Final[Mapping[str, Any]] = {"max.in.flight.requests.per.connection": 1}
"""Of every producer. With several requests under way records can be lost without an error, however
idempotent it is: where the broker knows nothing of the producer, it takes the second request of a
partition though it had refused the first (its leader was not ready), and librdkafka then believes
the first to be stored as well ("implicit ack")."""

KEEP_BROKERS: Final[Mapping[str, Any]] = {"metadata.recovery.strategy": "none"}
"""Of every client that outlives a broker. By default librdkafka forgets brokers where all are away,
or where one that is just back tells of none (see `cut_off`, for what this does not prevent). It may
then wait in vain for the coordinator of the transaction that was under way."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All limits have a default and a unit.

    rdkafka: librdkafka options for every client (TLS, SASL, timeouts), passed through unchanged;
        never logged. consumer, producer: the same for one kind of client only.
    copartition: groups of topic names, leader first, whose equal partition numbers stay together.
    companions: topics that go with a leader so that work is shared evenly; see `rebalance`.
    owner: decides start positions and is told of revocations.
    chunk_messages: most messages of one fetch, over all partitions, and of one chunk.
    fetch_bytes: aimed at per fetch; with large messages fewer are fetched at a time.
    fetch_wait_s: longest wait for a fetch to fill, hence added latency.
    max_chunks, max_events, max_bytes: unacknowledged work of one partition (chunks for chunk
        topics, events for ordinary ones) past which its fetching pauses; it resumes at half.
    revoke_timeout_s: budget for finishing work of revoked partitions, and of all on stop.
    close_timeout_s: for leaving the group.
    outstanding_messages, outstanding_bytes: records sent and not confirmed; senders wait there.
    idempotence: the producer's; off for brokers that do not have it.
    transactional_id: of this process and no other; with it `Producer.writer` stores outputs and
        offsets together and nothing else commits; "": offsets are committed by a timer.
    write_interval_s: between the beginnings of two rounds of `Producer.writer`, at least.
    transaction_timeout_s: after which the broker aborts the transaction of a process that is gone.
    """

    rdkafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    consumer: Mapping[str, Any] = field(default_factory=dict, repr=False)
    producer: Mapping[str, Any] = field(default_factory=dict, repr=False)
    copartition: Sequence[Sequence[str]] = ()
    companions: Companions = field(default_factory=dict)
    owner: PartitionOwner | None = None
    chunk_messages: int = 20_000
    fetch_bytes: int = 16 << 20
    fetch_wait_s: float = 0.05
    max_chunks: int = 8
    max_events: int = 2_000
    max_bytes: int = 32 << 20
    revoke_timeout_s: float = 20.0
    close_timeout_s: float = 15.0
    outstanding_messages: int = 100_000
    outstanding_bytes: int = 64 << 20
    idempotence: bool = True
    transactional_id: str = ""
    write_interval_s: float = 0.1
    transaction_timeout_s: float = 10.0


_SETTINGS: WeakKeyDictionary[Any, Settings] = WeakKeyDictionary()


def configure(app: App, settings: Settings) -> None:
    """Give an app its transport settings; call it before the app starts."""
    _SETTINGS[app] = settings


def settings_of(app: App) -> Settings:
    """Return what `configure` was given, or the defaults."""
    return _SETTINGS.get(app) or Settings()


def bootstrap_servers(urls: Iterable[URL]) -> str:
    """`host:port,...` of broker URLs.

    Raises:
        ConfigurationError: a URL carries a user or password. Faust prints broker URLs.
    """
    servers = []
    for url in urls:
        if url.user is not None or url.password is not None:
            msg = (
                "the broker URL carries a user name or password, and URLs are printed and logged; "
                "give sasl.username and sasl.password in Settings.rdkafka"
            )
            raise ConfigurationError(msg)
        servers.append(f"{url.host or '127.0.0.1'}:{url.port or 9092}")
    return ",".join(servers)


def consumer_config(app: App, urls: Iterable[URL], settings: Settings) -> dict[str, Any]:
    """Configuration of the consumer: our defaults, then Faust's settings, then the user's."""
    conf = app.conf
    return {
        "auto.offset.reset": "earliest",
        "client.id": conf.broker_client_id,
        "session.timeout.ms": int(conf.broker_session_timeout * 1000),
        "heartbeat.interval.ms": int(conf.broker_heartbeat_interval * 1000),
        "max.poll.interval.ms": max(
            int(conf.broker_max_poll_interval * 1000), int(conf.broker_session_timeout * 1000)
        ),
        # A pause throws away what was fetched ahead for the partition: keep that small.
        "queued.max.messages.kbytes": 65_536,
        "fetch.wait.max.ms": 100,
        **KEEP_BROKERS,
        **settings.rdkafka,
        **settings.consumer,
        "bootstrap.servers": bootstrap_servers(urls),
        "group.id": conf.id,
        # Not for the user to change: the commit rule and copartitioning stand on these.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Records of open and aborted transactions are not there, nor are offsets of open ones.
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
    }


def producer_config(app: App, urls: Iterable[URL], settings: Settings) -> dict[str, Any]:
    """Configuration of the producer, in the same order."""
    conf = app.conf
    return {
        "client.id": conf.broker_client_id,
        "partitioner": "murmur2_random",
        "linger.ms": max(5, int(conf.producer_linger * 1000)),
        "enable.idempotence": settings.idempotence,
        "acks": "all",
        # Records of one topic are much alike. Compressing them, in a thread of the client's own,
        # costs less than copying, sending and storing a multiple of the bytes.
        "compression.type": conf.producer_compression_type or "lz4",
        **KEEP_BROKERS,
        **settings.rdkafka,
        **settings.producer,
        "bootstrap.servers": bootstrap_servers(urls),
        **ONE_REQUEST,
    }


def transaction_config(app: App, urls: Iterable[URL], settings: Settings) -> dict[str, Any]:
    """Configuration of the transactional producer: the producer's, with a name and a time limit."""
    return {
        **producer_config(app, urls, settings),
        "enable.idempotence": True,
        "transactional.id": settings.transactional_id,
        "transaction.timeout.ms": int(settings.transaction_timeout_s * 1000),
        "queue.buffering.max.messages": settings.outstanding_messages,
        "queue.buffering.max.kbytes": max(4 * settings.outstanding_bytes // 1024, 65_536),
    }
