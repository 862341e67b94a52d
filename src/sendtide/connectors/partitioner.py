"""Which partition a key goes to: murmur2, as Java producers and librdkafka's `murmur2_random`.

Producers in different languages must agree, or a recipient's sends and engagements would meet in
different partitions. `partition = (murmur2(key) & 0x7fffffff) % partitions`, where murmur2 is the
32-bit variant with seed 0x9747b28c of `org.apache.kafka.common.utils.Utils`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["murmur2", "partition_of", "partitions_of"]


@njit(cache=True)
def _murmur2(data: Any, start: int, end: int) -> Any:
    length = end - start
    multiplier, mask = np.uint64(0x5BD1E995), np.uint64(0xFFFFFFFF)
    value = (np.uint64(0x9747B28C) ^ np.uint64(length)) & mask
    whole = start + length // 4 * 4
    for i in range(start, whole, 4):
        word = np.uint64(data[i]) | np.uint64(data[i + 1]) << np.uint64(8)
        word |= np.uint64(data[i + 2]) << np.uint64(16) | np.uint64(data[i + 3]) << np.uint64(24)
        word = word * multiplier & mask
        word ^= word >> np.uint64(24)
        word = word * multiplier & mask
        value = value * multiplier & mask
        value ^= word
    if whole < end:
        for i in range(whole, end):
            value ^= np.uint64(data[i]) << np.uint64(8 * (i - whole))
        value = value * multiplier & mask
    value ^= value >> np.uint64(13)
    value = value * multiplier & mask
    return value ^ value >> np.uint64(15)


@njit(cache=True)
def _hash_all(data: Any, ends: Any) -> Any:
    hashes = np.empty(len(ends), np.uint32)
    start = 0
    for i in range(len(ends)):
        hashes[i] = _murmur2(data, start, ends[i])
        start = ends[i]
    return hashes


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Hash every key; (n,) unsigned 32-bit, the bits of Java's signed result."""
    data: NDArray[np.uint8] = np.frombuffer(b"".join(keys) or b" ", np.uint8)
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    hashes: NDArray[np.uint32] = _hash_all(data, ends)
    return hashes


def partitions_of(keys: Sequence[bytes], partitions: int) -> NDArray[np.int32]:
    """Return the partition of every key, (n,) int32 in 0..partitions-1.

    Raises:
        ValueError: fewer than one partition.
    """
    if partitions < 1:
        msg = f"a topic of {partitions} partitions can hold no record; give at least 1"
        raise ValueError(msg)
    return ((murmur2(keys) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).astype(np.int32)


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of one key."""
    return int(partitions_of([key], partitions)[0])
