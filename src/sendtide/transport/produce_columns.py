"""Out of columns into librdkafka: one call for many records, and no Python object of any."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer

from sendtide.transport.librdkafka import LIBRARY, Message, handle_of
from sendtide.transport.record_batch import BinaryColumn
from sendtide.transport.records import KeyedRecords

__all__ = ["produce_columns"]

_MESSAGE: Final = np.dtype(Message)
_BY_KEY: Final = -1
"""RD_KAFKA_PARTITION_UA: the client's partitioner chooses."""
_COPY: Final = 2
"""RD_KAFKA_MSG_F_COPY: the columns may go once this is done."""


def produce_columns(client: Producer, topic: str, records: KeyedRecords) -> None:
    """Queue records in order, each in the partition of its key. Their delivery is not reported.

    Raises:
        KafkaException: the client refuses some, and why the first of them; others may be queued.
    """
    messages = np.zeros(len(records), _MESSAGE)
    messages["payload"], messages["len"] = _places(records.values)
    messages["key"], messages["key_len"] = _places(records.keys)
    place = LIBRARY.rd_kafka_topic_new(handle_of(client), topic.encode(), None)
    if not place:
        raise KafkaException(KafkaError(LIBRARY.rd_kafka_last_error()))
    try:
        queued = LIBRARY.rd_kafka_produce_batch(
            place, _BY_KEY, _COPY, messages.ctypes.data, len(messages)
        )
    finally:
        LIBRARY.rd_kafka_topic_destroy(place)
    if queued < len(messages):
        refused = messages["err"][np.flatnonzero(messages["err"])[0]]
        raise KafkaException(KafkaError(int(refused)))


def _places(column: BinaryColumn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Addresses of a column's rows, 0 for a null, and their lengths."""
    begin = column.starts[:-1] + column.data.ctypes.data
    return np.where(column.nulls, 0, begin), np.diff(column.starts)
