"""One librdkafka transaction after another, in a thread that may block.

What of librdkafka's errors matters here: a retriable one is asked again; one that requires an abort
is aborted; after a fatal one, or where not even an abort is answered, the client is thrown away and
the next begins by ending what the old one left open (`init_transactions` with the same id).
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as Position

from sendtide.transport.errors import (
    ConfigurationError,
    RecordTooLargeError,
    TransactionAbortedError,
)
from sendtide.transport.produce_columns import produce_columns
from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.records import KeyedRecords, Record, are_plain, as_batch

__all__ = ["TransactionalClient", "patiently"]

_log = logging.getLogger(__name__)

#: Of one request to the broker; a retriable one is asked again, for as long as an answer is wanted.
_REQUEST_S: Final = 5.0
_ANSWER_S: Final = 30.0

#: To say which offsets, and to abort: a coordinator that does not answer by then is asked by a new
#: client, whose beginning ends what was open; librdkafka does not always find its way back to one.
#: To commit takes as long as the records take.
_COORDINATOR_S: Final = 2 * _REQUEST_S

#: So many other bearers of our id within so many seconds are no accident.
_RIVALS: Final = 5
_RIVALS_S: Final = 60.0

#: Records given to the client in one call, and how often to look for room in its queue.
_BATCH: Final = 10_000
_ROOM_S: Final = 0.01

_FENCED: Final = {
    KafkaError._FENCED,  # noqa: SLF001, RUF100 - its public name
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}


class TransactionalClient:
    """Blocks; all calls from one thread.

    Args:
        config: of the client, `transactional.id` among it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._queue = int(self._config.get("queue.buffering.max.messages", _BATCH)) or sys.maxsize
        self._client: Producer | None = None
        self._fenced_at: deque[float] = deque(maxlen=_RIVALS)

    def ready(self) -> None:
        """Be able to begin: whatever was open under this id is over, committed or aborted.

        Raises:
            KafkaException: the broker does not answer, or refuses.
        """
        if self._client is not None:
            return
        client = Producer({**self._config, "error_cb": self._on_error}, logger=_log)
        # One that is not answered for so long may know no broker any more (see `cut_off`).
        patiently(client.init_transactions)
        self._client = client

    def write(
        self,
        outputs: Iterable[tuple[str, Sequence[Record]]],
        offsets: Mapping[TopicPartition, int],
        group_metadata: Any,
    ) -> None:
        """Store all records and offsets, or none.

        Raises:
            TransactionAbortedError: they are not stored, or (if `commit_transaction` itself has
                failed for good) perhaps are: the group's offsets tell, once `ready` has returned.
            RecordTooLargeError: they are not stored, and would not be if written again.
            ConfigurationError: another process keeps taking this transactional id.
        """
        try:
            self.ready()
            assert self._client is not None
            client = self._client
            client.begin_transaction()
            self._add(client, outputs)
            _move(client, offsets, group_metadata)
            patiently(client.commit_transaction)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            self._give_up(reason)
            if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                msg = (
                    f"a record is too large ({reason.str()}): raise message.max.bytes of this "
                    "client and max.message.bytes of the topics that are written to"
                )
                raise RecordTooLargeError(msg) from error
            raise TransactionAbortedError(reason.str()) from error

    def renounce(
        self,
        outputs: Iterable[tuple[str, Sequence[Record]]],
        offsets: Mapping[TopicPartition, int],
        group_metadata: Any,
    ) -> None:
        """Write in a transaction that is aborted: nothing is stored, here or there.

        Apache Kafka 4.3 and 4.4 do not write the end of a transaction to a partition that has no
        leader at that moment (KAFKA-20734), as when a broker restarts, and keep what is open there
        open: readers of committed records wait, and nobody is told the group's offsets. The end of
        the producer's next transaction decides them, if it has the same partitions; also if another
        client bears its transactional id by then.

        Raises:
            KafkaException: the broker does not answer, or refuses.
        """
        self.ready()
        client = self._client
        assert client is not None
        try:
            client.begin_transaction()
            _move(client, offsets, group_metadata)  # first: those of the group hold up the worker
            self._add(client, outputs)
            if client.flush(_ANSWER_S):  # where a record has not come, no end is written
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            patiently(client.abort_transaction, _COORDINATOR_S)
        except KafkaException as error:
            self._give_up(error.args[0])
            raise

    def _add(self, client: Producer, outputs: Iterable[tuple[str, Sequence[Record]]]) -> None:
        for topic, records in outputs:
            _produce(client, topic, records, self._queue)

    def close(self) -> None:
        """Abort what is open and let go."""
        client, self._client = self._client, None
        if client is not None:
            client.purge()

    def _give_up(self, reason: KafkaError) -> None:
        client = self._client
        if client is None:
            return
        if reason.code() in _FENCED:
            self._note_rival(reason)
        if not reason.fatal():
            try:
                patiently(client.abort_transaction, _COORDINATOR_S)
            except KafkaException as error:
                _log.warning("a transaction could not be aborted: %s", error.args[0].str())
            else:
                return
        self.close()

    def _note_rival(self, reason: KafkaError) -> None:
        now = time.monotonic()
        self._fenced_at.append(now)
        if len(self._fenced_at) == _RIVALS and now - self._fenced_at[0] < _RIVALS_S:
            msg = (
                f"another process keeps taking the transactional id "
                f"{self._config['transactional.id']!r} ({reason.str()}); give each worker a name "
                "of its own"
            )
            raise ConfigurationError(msg)

    def _on_error(self, error: KafkaError) -> None:
        _log.warning("Kafka transactional producer: %s", error.str())


def patiently(call: Callable[[float], object], patience_s: float = _ANSWER_S) -> None:
    """Call with a timeout, again while that is all there is to do about the error.

    Raises:
        KafkaException: it is not, or still no answer within `patience_s`; the first transaction of
            a cluster takes a while, as the topic that remembers transactions is created.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            call(_REQUEST_S)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if not reason.retriable() or reason.txn_requires_abort() or reason.fatal():
                raise
            if time.monotonic() > deadline:
                raise
        else:
            return


def _move(client: Producer, offsets: Mapping[TopicPartition, int], group_metadata: Any) -> None:
    """Make offsets a part of the open transaction."""
    positions = [Position(*partition, offset) for partition, offset in offsets.items()]
    patiently(
        lambda s: client.send_offsets_to_transaction(positions, group_metadata, s), _COORDINATOR_S
    )


def _produce(client: Producer, topic: str, records: Sequence[Record], queue: int) -> None:
    """Queue records in order; a failed delivery fails the transaction, so none is reported.

    queue: records that the client's queue holds; of bytes it holds several rounds.
    """
    if are_plain(records):
        _produce_together(client, topic, records, queue)
    else:
        _produce_one_by_one(client, topic, records)
    client.poll(0)


def _produce_together(client: Producer, topic: str, records: Sequence[Record], queue: int) -> None:
    size = max(1, min(_BATCH, queue // 2))
    for start in range(0, len(records), size):
        part = records[start : start + size]
        while len(client) + len(part) > queue:  # or some are refused amid others
            client.poll(_ROOM_S)
        if isinstance(part, KeyedRecords):
            produce_columns(client, topic, part)
            continue
        messages = as_batch(part)
        if client.produce_batch(topic, messages) < len(messages):
            raise KafkaException(next(m["_error"] for m in messages if "_error" in m))


def _produce_one_by_one(client: Producer, topic: str, records: Sequence[Record]) -> None:
    produce = client.produce
    for value, key, partition, timestamp_ms, headers in records:
        options: dict[str, Any] = {"timestamp": timestamp_ms} if timestamp_ms else {}
        if headers:
            options["headers"] = list(headers)
        while True:
            try:
                produce(topic, value, key, partition, **options)
            except BufferError:  # the client's queue is full: wait, keep the order
                client.poll(_ROOM_S)
                continue
            break
