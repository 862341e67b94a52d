"""What one fetch holds of one partition: a batch of a chunk topic, messages of an ordinary one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.record_batch import RecordBatch

__all__ = ["OVERHEAD_BYTES", "Records", "Run", "offsets_of", "size_of", "split_into_runs"]

#: Memory of one message beside its value: the Python and the C object, key and headers.
OVERHEAD_BYTES = 128

Records = RecordBatch | list[Message]

Run = tuple[TopicPartition, Records, int]
"""Records of one partition in offset order, and their size in bytes."""


def size_of(records: Records) -> int:
    """Memory they take, in bytes."""
    if isinstance(records, RecordBatch):
        return records.nbytes
    return sum(map(len, records)) + OVERHEAD_BYTES * len(records)


def offsets_of(records: Records) -> NDArray[np.int64]:
    """Offset of each, int64[n]."""
    if isinstance(records, RecordBatch):
        return records.offsets
    return np.fromiter(map(Message.offset, records), np.int64, len(records))


def split_into_runs(messages: Sequence[Message]) -> list[Run]:
    """Group one fetch by partition, keeping offset order, with C calls per message only."""
    partitions = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    gathered: dict[TopicPartition, list[Message]] = {}
    for partition, pairs in groupby(zip(partitions, messages, strict=True), key=itemgetter(0)):
        run = list(map(itemgetter(1), pairs))
        known = gathered.setdefault(partition, run)
        if known is not run:
            known.extend(run)
    return [(partition, run, size_of(run)) for partition, run in gathered.items()]
