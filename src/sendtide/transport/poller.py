"""The poll loop: one thread that owns the consumer's calls, from subscribe until it has left.

librdkafka runs rebalance callbacks inside `consume`, so the loop must turn whatever the
application does: it never waits for work, it pauses partitions. Every call on this client comes
from this thread (`call`): one from another thread waits for as long as `consume` is being repeated.
It knows bytes and offsets, nothing of Faust or of an event loop.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from confluent_kafka import (
    OFFSET_STORED,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as Position

from sendtide.transport.backpressure import InFlight
from sendtide.transport.cut_off import ANSWER_S, CutOff
from sendtide.transport.fetch_queue import FetchQueue
from sendtide.transport.rebalance import CopartitionGroups, TopicPartition
from sendtide.transport.runs import Run, size_of, split_into_runs

__all__ = ["Listener", "Poller"]

_log = logging.getLogger(__name__)

#: A short stall of the application is waited for; a longer one pauses partitions, which throws
#: away what librdkafka had fetched ahead for them.
_PATIENCE_S = 0.2

#: How often whoever waits looks after the group and the application's calls.
_SERVE_S = 0.01

T = TypeVar("T")


class Listener(Protocol):
    """What the poll thread reports; all calls come from that thread."""

    def fetched(self, runs: list[Run]) -> None:
        """Take records; must not block."""
        ...

    def assigned(self, partitions: set[TopicPartition]) -> None:
        """The group gave partitions; answer with `Poller.begin`. Must not block."""
        ...

    def revoked(self, partitions: set[TopicPartition]) -> Future[None] | None:
        """Partitions go away when the future is done, or the budget is spent. Must not block."""
        ...

    def lost(self, partitions: set[TopicPartition]) -> None:
        """Partitions are gone. Must not block."""
        ...

    def failed(self, error: BaseException) -> None:
        """The poll loop has ended with an error."""
        ...


class Poller:
    """One consumer of one group and the thread that polls it.

    `owned` is what the group gave, with followers; `assigned` what is being fetched. A partition
    is owned first and fetched once `begin` says where.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        groups: CopartitionGroups,
        in_flight: InFlight,
        listener: Listener,
        *,
        fetch_messages: int = 20_000,
        fetch_bytes: int = 16 << 20,
        fetch_wait_s: float = 0.05,
        revoke_timeout_s: float = 20.0,
    ) -> None:
        self._groups = groups
        self._in_flight = in_flight
        self._listener = listener
        self._fetch_messages = fetch_messages
        self._fetch_bytes = fetch_bytes
        self._fetch_wait_s = fetch_wait_s
        self._revoke_timeout_s = revoke_timeout_s
        self._message_bytes = 512.0
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._owned: set[TopicPartition] = set()
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._stopping = threading.Event()
        self._commits: dict[frozenset[tuple[str, int, int]], list[Future[list[Position]]]] = {}
        self._revoking = False
        self._closing = False
        self._error: BaseException | None = None
        self._config = {**config, "on_commit": self._on_commit}
        self._topics: list[str] = []
        self._consumer = Consumer(self._config, logger=_log)
        self._fetches = FetchQueue(self._consumer, self._on_error)
        self._cut_off = CutOff(lambda: self._consumer.list_topics(self._topics[0], ANSWER_S))
        self._thread = threading.Thread(target=self._run, name="rdkafka-poll", daemon=True)

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, and start polling on the first call."""
        self._topics = list(topics)
        if self._thread.is_alive():
            self.call(self._subscribe)
        else:
            self._subscribe()
            self._thread.start()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def call(self, question: Callable[[], T]) -> Future[T]:
        """Have the poll thread call the client, also while it waits for a revocation."""
        answer: Future[T] = Future()

        def run() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question())
                except BaseException as error:  # noqa: BLE001, RUF100 - the asker's to handle
                    answer.set_exception(error)

        self._calls.put(run)
        return answer

    def commit(self, offsets: Mapping[TopicPartition, int]) -> Future[list[Position]]:
        """Commit; the answer holds an error or none for each partition.

        The poll thread does not wait for the broker, or a group that is being rebalanced would
        stand still: its callbacks are served by the same thread. Within such a callback it does.
        """
        asked = [Position(topic, number, offset) for (topic, number), offset in offsets.items()]
        answer: Future[list[Position]] = Future()

        def commit() -> None:
            try:
                if self._revoking:
                    answer.set_result(self._consumer.commit(offsets=asked, asynchronous=False))
                else:
                    self._consumer.commit(offsets=asked, asynchronous=True)
                    self._commits.setdefault(_offsets_of(asked), []).append(answer)
            except BaseException as error:  # noqa: BLE001, RUF100 - the asker's to handle
                answer.set_exception(error)

        self.call(commit)
        return answer

    def _on_commit(self, error: KafkaError | None, positions: list[Position]) -> None:
        for answer in self._commits.pop(_offsets_of(positions), ()):
            if not answer.set_running_or_notify_cancel():
                continue
            if error is None:
                answer.set_result(positions)
            else:
                answer.set_exception(KafkaException(error))

    def group_metadata(self) -> Future[Any]:
        """The member's generation; whatever loss came before it has been reported by then."""
        return self.call(lambda: self._consumer.consumer_group_metadata())

    def begin(self, starts: Mapping[TopicPartition, int | None]) -> Future[None]:
        """Fetch owned partitions from the given offsets; None: the committed offset.

        Partitions that were taken away meanwhile are left out.
        """
        return self.call(lambda: self._begin(starts))

    def _begin(self, starts: Mapping[TopicPartition, int | None]) -> None:
        ready = (self._owned & starts.keys()) - self._assigned
        positions = []
        for topic, number in sorted(ready):
            start = starts[topic, number]
            positions.append(Position(topic, number, OFFSET_STORED if start is None else start))
        self._fetches.take_over([p for p in ready if self._in_flight.by_chunk(p[0])])
        self._consumer.incremental_assign(positions)
        self._assigned |= ready

    def fetch_again(self, positions: Mapping[TopicPartition, int]) -> Future[set[TopicPartition]]:
        """Fetch from these offsets, wherever the client is; return the partitions it was done for.

        The others are not fetched, are paused or have work in flight: they wait for no record.
        Those handed over at or past the offsets in the meantime are handed over again.
        """
        return self.call(lambda: self._fetch_again(positions))

    def _fetch_again(self, positions: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        fetched = positions.keys() & self._assigned - self._paused
        idle = {partition for partition in fetched if not any(self._in_flight.load(partition))}
        self._fetches.forget(idle)
        for partition in idle:
            place = Position(*partition, positions[partition])
            try:
                self._consumer.resume([place])
                self._consumer.seek(place)
            except KafkaException as error:
                _log.warning("%s/%d cannot be sought: %s", *partition, error.args[0].str())
        return idle

    def owned(self) -> set[TopicPartition]:
        """Partitions this member holds, followers included."""
        return set(self._owned)

    def paused(self) -> set[TopicPartition]:
        """Partitions whose fetching waits for the application."""
        return set(self._paused)

    def close(self, timeout_s: float) -> bool:
        """Stop polling and leave the group; False if the thread did not end in time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        self._closing = True
        self._fetches.close()
        return True

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._serve_calls()
                self._relieve()
                if self._cut_off.noticed():
                    self._begin_anew()
                fetched = self._fetch()
                if self._error is not None:
                    raise self._error
                if fetched:
                    self._hand_over(fetched)
        except BaseException as error:  # noqa: BLE001, RUF100 - reported, never swallowed
            if not self._stopping.is_set():
                self._listener.failed(error)

    def _begin_anew(self) -> None:
        """Join the group as another member, by a client that begins with the bootstrap servers."""
        try:
            consumer = Consumer(self._config, logger=_log)
        except KafkaException as error:  # a file of keys is being changed, say
            _log.warning("no new client yet: %s", error.args[0].str())
            return
        _log.warning("the client knows no broker any more: another takes its place")
        old, self._consumer = self._fetches, consumer
        self._fetches = FetchQueue(consumer, self._on_error)
        self._subscribe()
        unheard = KafkaError(KafkaError._WAIT_COORD, "the client was replaced")
        for offsets in tuple(self._commits):
            self._on_commit(unheard, [Position(*place) for place in offsets])
        # It holds no partition; without a coordinator to take leave of, it may be a while.
        threading.Thread(target=old.close, name="rdkafka-close", daemon=True).start()

    def _serve_calls(self, wait_s: float = 0.0) -> None:
        with contextlib.suppress(queue.Empty):
            self._calls.get(block=wait_s > 0, timeout=wait_s or None)()
            while True:
                self._calls.get_nowait()()

    def _quota(self) -> int:
        """Messages to ask for, so that one fetch holds about `fetch_bytes`."""
        return max(1, min(self._fetch_messages, int(self._fetch_bytes / self._message_bytes)))

    def _fetch(self) -> list[Run]:
        """Serve the group, and wait for records; those of chunk topics never become messages."""
        quota = self._quota()
        if not self._fetches.active:
            return self._runs(self._consumer.consume(quota, self._fetch_wait_s))
        messages = self._consumer.consume(quota, 0)
        deadline = time.monotonic() + self._fetch_wait_s
        while not self._fetches.gather(quota, _SERVE_S) and time.monotonic() < deadline:
            if len(messages) >= quota:
                break
            messages += self._consumer.consume(quota - len(messages), 0)
        batches, errors = self._fetches.take()
        for (topic, number), error in errors:
            self._note(error, f"{topic}/{number}")
        runs = self._runs(messages)
        return runs + [(partition, batch, size_of(batch)) for partition, batch in batches]

    def _runs(self, messages: list[Message]) -> list[Run]:
        for message in messages:
            self._note(message.error(), f"{message.topic()}/{message.partition()}")
        return split_into_runs([message for message in messages if message.error() is None])

    def _hand_over(self, fetched: list[Run]) -> None:
        # A rebalance inside this very fetch may have taken partitions away. Counted as in flight
        # they would never be finished, and pause the partition for good when it comes back.
        runs = [run for run in fetched if run[0] in self._assigned]
        if not runs:
            return
        mean = sum(size for _, _, size in runs) / sum(len(run) for _, run, _ in runs)
        # Grow at once, shrink slowly: a fetch of large messages must not overshoot twice.
        self._message_bytes = max(mean, 0.7 * self._message_bytes + 0.3 * mean)
        # Counted here and not where it is received, so that a busy application cannot be outrun.
        for partition, run, size in runs:
            self._in_flight.add(partition, len(run), size)
        self._listener.fetched(runs)

    def _note(self, error: KafkaError | None, where: str) -> None:
        """Raise what ends the poll loop; say what the client deals with by itself."""
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001, RUF100 - its public name
            return
        if error.fatal() or not error.retriable():
            raise KafkaException(error)
        _log.warning("%s: %s; the client keeps trying", where, error.str())

    def _relieve(self) -> None:
        """Pause partitions with too much work in flight, resume those that caught up."""
        over = self._in_flight.wait_below(_PATIENCE_S, self._paused) & self._assigned
        if over:
            self._consumer.pause([Position(*p) for p in over])
            self._paused |= over
        ready = self._in_flight.relieved(self._paused) & self._assigned
        if ready:
            self._consumer.resume([Position(*p) for p in ready])
            self._paused -= ready

    def _on_assign(self, consumer: Consumer, positions: list[Position]) -> None:
        self._cut_off.back()
        self._owned |= self._expand(positions)
        # Nothing is fetched yet: `begin` assigns when the application has said from where.
        # Saying so keeps the client from assigning by itself.
        consumer.incremental_assign([])
        self._listener.assigned({(p.topic, p.partition) for p in positions})

    def _on_revoke(self, consumer: Consumer, positions: list[Position]) -> None:
        if not self._closing:
            self._revoking = True
            try:
                self._await_release({(p.topic, p.partition) for p in positions})
            finally:
                self._revoking = False
        self._give_up(consumer, self._expand(positions))

    def _await_release(self, partitions: set[TopicPartition]) -> None:
        released = self._listener.revoked(partitions)
        deadline = time.monotonic() + self._revoke_timeout_s
        while released is not None and not released.done():
            if time.monotonic() > deadline:
                released.cancel()
                _log.error("%d partitions were not released in time", len(partitions))
                return
            self._serve_calls(_SERVE_S)

    def _on_lost(self, consumer: Consumer, positions: list[Position]) -> None:
        self._give_up(consumer, self._expand(positions))
        self._cut_off.lost()
        if not self._closing:
            self._listener.lost({(p.topic, p.partition) for p in positions})

    def _expand(self, positions: Iterable[Position]) -> set[TopicPartition]:
        units = self._groups.units((p.topic, p.partition) for p in positions)
        return {partition for unit in units.values() for partition in unit}

    def _give_up(self, consumer: Consumer, partitions: set[TopicPartition]) -> None:
        fetched = partitions & self._assigned
        self._fetches.forget(partitions)
        self._owned -= partitions
        self._assigned -= partitions
        self._paused -= partitions
        self._in_flight.drop(partitions)
        consumer.incremental_unassign([Position(*p) for p in fetched])

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._error = KafkaException(error)
        else:
            _log.warning("Kafka client: %s", error.str())


def _offsets_of(positions: Iterable[Position]) -> frozenset[tuple[str, int, int]]:
    return frozenset((p.topic, p.partition, p.offset) for p in positions)
