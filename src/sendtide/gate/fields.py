"""Compiled checks of single fields, and the bundles of arrays the compiled readers work on."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot, hash_bytes
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS
from sendtide.gate.scan import (
    ABSENT,
    CLASSES,
    DIGIT,
    INTEGER,
    NAME,
    NAME_START,
    NULL,
    STRING,
    ZONE,
    parse_integer,
)

__all__ = ["CLIENT", "SEGMENT", "SOURCE", "ZONE_NAME", "Chunk", "Common", "Spellings"]
__all__ += ["hash_field", "is_absent", "is_identifier", "is_name", "is_version_1", "note_name"]
__all__ += ["optional_name", "optional_zone", "time_ms"]

SOURCE, CLIENT, SEGMENT, ZONE_NAME = 0, 1, 2, 3
"""Kinds of names, in the order of `Spellings.known`."""

_MAX_NAME_BYTES: Final = 64
_MAX_IDENTIFIER_BYTES: Final = 128  # characters for the authority, which reads longer ones


class Chunk(NamedTuple):
    """n records as they came, end to end.

    data, keys: (bytes,) uint8, closed by `scan.SENTINEL`. starts, key_starts: (n + 1,).
    timestamps_ms: (n,).
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    keys: NDArray[np.uint8]
    key_starts: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    max_future_ms: int


class Common(NamedTuple):
    """Columns all inputs share, and what became of each row (UNSURE or READ)."""

    status: NDArray[np.uint8]
    event_time_ms: NDArray[np.int64]
    identity: NDArray[np.uint64]
    source: NDArray[np.uint64]
    client: NDArray[np.uint64]
    recipient: NDArray[np.uint64]


class Spellings(NamedTuple):
    """Names met before, by hash, and the places of those met for the first time.

    known: (4, slots) open-addressed hashes. zones: (slots,) hashes of all IANA zones.
    fresh: (room, 4) rows of (kind, hash as int64, first byte, end). counts: (1,) rows in `fresh`.
    """

    known: NDArray[np.uint64]
    zones: NDArray[np.uint64]
    fresh: NDArray[np.int64]
    counts: NDArray[np.int64]


@njit(cache=True)
def note_name(names: Any, kind: int, code: Any, start: int, end: int) -> None:
    """Remember where the name `code` is spelled, if it is new."""
    table = names.known[kind]
    slot = find_slot(table, code)
    if table[slot] == np.uint64(0):
        table[slot] = code
        place = names.counts[0]
        names.fresh[place, 0], names.fresh[place, 1] = kind, np.int64(code)
        names.fresh[place, 2], names.fresh[place, 3] = start, end
        names.counts[0] = place + 1


@njit(cache=True, inline="always")
def is_name(data: Any, fields: Any, which: int) -> bool:
    start, end = fields.spans[which]
    return (
        fields.tags[which] == STRING
        and 0 < end - start <= _MAX_NAME_BYTES
        and fields.flags[which] & NAME != 0
        and CLASSES[data[start]] & NAME_START != 0
    )


@njit(cache=True, inline="always")
def is_absent(fields: Any, which: int) -> bool:
    return fields.tags[which] == ABSENT or fields.tags[which] == NULL


@njit(cache=True, inline="always")
def is_identifier(fields: Any, which: int) -> bool:
    size = fields.spans[which, 1] - fields.spans[which, 0]
    return fields.tags[which] == STRING and 0 < size <= _MAX_IDENTIFIER_BYTES


@njit(cache=True, inline="always")
def hash_field(data: Any, fields: Any, which: int, seed: Any) -> Any:
    return hash_bytes(data, fields.spans[which, 0], fields.spans[which, 1], seed)


@njit(cache=True)
def optional_name(data: Any, fields: Any, which: int) -> Any:
    """Return (taken, hash) of a name that may be absent, 0 then."""
    if is_absent(fields, which):
        return True, np.uint64(0)
    if not is_name(data, fields, which):
        return False, np.uint64(0)
    return True, hash_field(data, fields, which, np.uint64(0))


@njit(cache=True)
def optional_zone(data: Any, fields: Any, which: int, zones: Any) -> Any:
    """Return (taken, hash) of a time zone that may be absent; taken only if IANA knows it."""
    if is_absent(fields, which):
        return True, np.uint64(0)
    size = fields.spans[which, 1] - fields.spans[which, 0]
    if fields.tags[which] != STRING or size > _MAX_NAME_BYTES or fields.flags[which] & ZONE == 0:
        return False, np.uint64(0)
    code = hash_field(data, fields, which, np.uint64(0))
    return zones[find_slot(zones, code)] == code, code


@njit(cache=True)
def time_ms(data: Any, fields: Any, which: int) -> int:
    """Milliseconds of a time in range, -1 if not sure."""
    if fields.tags[which] != INTEGER:
        return -1
    value = parse_integer(data, fields.spans[which, 0], fields.spans[which, 1])
    return value if MIN_TIME_MS <= value <= MAX_TIME_MS else -1


@njit(cache=True)
def is_version_1(data: Any, fields: Any, which: int) -> bool:
    """Absent, or 1.minor."""
    if fields.tags[which] == ABSENT:
        return True
    start, end = fields.spans[which]
    if fields.tags[which] != STRING or not 3 <= end - start <= 6:
        return False
    for i in range(start + 2, end):
        if CLASSES[data[i]] & DIGIT == 0:
            return False
    return data[start] == 0x31 and data[start + 1] == 0x2E
