"""Compiled checks of one field over a block of records, each clearing `sure` where it doubts.

All take the joined bytes, a block's `scan.Found`, the field's index, and write `out`, the part of
a column that belongs to the block. An optional field is 0 (NaN for numbers) where absent.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.hashing import find_slot, hash_bytes
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS
from sendtide.gate.scan import (
    ABSENT,
    CLASSES,
    DECIMAL,
    DIGIT,
    DOMAIN,
    FALSE,
    HEX,
    INTEGER,
    NAME,
    NAME_START,
    NULL,
    STRING,
    TEXT,
    TRUE,
    ZONE,
    parse_decimal,
    parse_integer,
)

__all__ = ["is_absent", "read_choices", "read_decimals", "read_flags"]
__all__ += ["read_identifiers", "read_integers", "read_names", "read_providers", "read_recipients"]
__all__ += ["read_texts", "read_times", "read_versions", "read_zones"]

_MAX_NAME_BYTES: Final = 64
_MAX_IDENTIFIER_BYTES: Final = 128  # characters for the authority, which reads longer ones


@njit(cache=True)
def is_absent(tag: Any) -> bool:
    """Whether an optional field is left out or null."""
    return bool(tag == ABSENT or tag == NULL)  # noqa: SIM109 - compiled to two comparisons


@njit(cache=True)
def read_versions(data: Any, found: Any, which: int, count: int) -> None:
    """Absent, or 1.minor."""
    spans, tags, _, sure = found
    for row in range(count):
        if sure[row] == 0 or tags[row, which] == ABSENT:
            continue
        start, end = spans[row, which, 0], spans[row, which, 1]
        fits = tags[row, which] == STRING and 3 <= end - start <= 6
        fits = fits and data[start] == 0x31 and data[start + 1] == 0x2E
        for i in range(start + 2, end):
            fits = fits and CLASSES[data[i]] & DIGIT != 0
        if not fits:
            sure[row] = 0


@njit(cache=True)
def read_names(data: Any, found: Any, which: int, optional: bool, out: Any) -> None:
    """Hashes of names."""
    spans, tags, flags, sure = found
    for row in range(len(out)):
        out[row] = 0
        if sure[row] == 0 or (optional and is_absent(tags[row, which])):
            continue
        start, end = spans[row, which, 0], spans[row, which, 1]
        if (
            tags[row, which] == STRING
            and 0 < end - start <= _MAX_NAME_BYTES
            and flags[row, which] & NAME != 0
            and CLASSES[data[start]] & NAME_START != 0
        ):
            out[row] = hash_bytes(data, start, end, np.uint64(0))
        else:
            sure[row] = 0


@njit(cache=True)
def read_zones(data: Any, found: Any, which: int, zones: Any, out: Any) -> None:
    """Hashes of time zones; only those IANA knows, whose hashes `zones` holds."""
    spans, tags, flags, sure = found
    for row in range(len(out)):
        out[row] = 0
        if sure[row] == 0 or is_absent(tags[row, which]):
            continue
        start, end = spans[row, which, 0], spans[row, which, 1]
        if (
            tags[row, which] == STRING
            and 0 < end - start <= _MAX_NAME_BYTES
            and flags[row, which] & ZONE != 0
        ):
            code = hash_bytes(data, start, end, np.uint64(0))
            out[row] = code
            if zones[find_slot(zones, code)] == code:
                continue
        sure[row] = 0


@njit(cache=True)
def read_providers(
    data: Any, found: Any, which: int, names: Any, codes: Any, other: int, out: Any
) -> None:
    """Codes of mailbox providers; names, codes: `mailbox.PROVIDER_SLOTS`, `other` for the rest."""
    spans, tags, flags, sure = found
    for row in range(len(out)):
        out[row] = 0
        if sure[row] == 0 or is_absent(tags[row, which]):
            continue
        start, end = spans[row, which, 0], spans[row, which, 1]
        if (
            tags[row, which] == STRING
            and 0 < end - start <= _MAX_NAME_BYTES
            and flags[row, which] & DOMAIN != 0
            and CLASSES[data[start]] & NAME_START != 0
        ):
            code = hash_bytes(data, start, end, np.uint64(0))
            slot = find_slot(names, code)
            out[row] = codes[slot] if names[slot] == code else other
        else:
            sure[row] = 0


@njit(cache=True)
def read_identifiers(data: Any, found: Any, which: int, sources: Any, out: Any) -> None:
    """Hashes of (source, identifier), `sources` being the hashes of the sources."""
    spans, tags, flags, sure = found
    for row in range(len(out)):
        start, end = spans[row, which, 0], spans[row, which, 1]
        is_plain = tags[row, which] == STRING and flags[row, which] & TEXT != 0
        if sure[row] and is_plain and 0 < end - start <= _MAX_IDENTIFIER_BYTES:
            out[row] = hash_bytes(data, start, end, sources[row])
        else:
            sure[row] = 0


@njit(cache=True)
def read_texts(data: Any, found: Any, which: int, most: int, escaped: bool, out: Any) -> None:
    """Hashes of optional texts as they stand; 0 where absent or empty.

    most: bytes; of characters, which may be fewer, the authority knows. escaped: whether texts are
    sure that hold escapes, which hash apart from the same text without them.
    """
    spans, tags, flags, sure = found
    for row in range(len(out)):
        out[row] = 0
        tag = tags[row, which]
        if sure[row] == 0 or is_absent(tag):
            continue
        start, end = spans[row, which, 0], spans[row, which, 1]
        if (
            tag != STRING
            or end - start > most
            or (end > start and not escaped and flags[row, which] & TEXT == 0)
        ):
            sure[row] = 0
        elif end > start:
            out[row] = hash_bytes(data, start, end, np.uint64(0))


@njit(cache=True)
def _half(data: Any, start: int) -> Any:
    """The 16 lower-case hex digits at `start` as a big-endian number."""
    value = np.uint64(0)
    for i in range(start, start + 16):
        digit = np.uint64(data[i])
        digit -= np.uint64(0x30) if digit < np.uint64(0x60) else np.uint64(0x57)
        value = (value << np.uint64(4)) | digit
    return value


@njit(cache=True)
def read_recipients(data: Any, found: Any, which: int, out: Any) -> None:
    """Both halves of recipient ids."""
    spans, tags, flags, sure = found
    for row in range(len(out)):
        start = spans[row, which, 0]
        is_id = tags[row, which] == STRING and spans[row, which, 1] - start == 32
        if sure[row] and is_id and flags[row, which] & HEX != 0:
            out[row, 0] = _half(data, start)
            out[row, 1] = _half(data, start + 16)
        else:
            sure[row] = 0


@njit(cache=True)
def read_times(data: Any, found: Any, which: int, out: Any) -> None:
    """Milliseconds in range."""
    spans, tags, _, sure = found
    for row in range(len(out)):
        if sure[row] and tags[row, which] == INTEGER:
            value = parse_integer(data, spans[row, which, 0], spans[row, which, 1])
            out[row] = value
            if MIN_TIME_MS <= value <= MAX_TIME_MS:
                continue
        sure[row] = 0


@njit(cache=True)
def read_integers(data: Any, found: Any, which: int, limit: int, out: Any) -> None:
    """Optional whole numbers from 0 to `limit`."""
    spans, tags, _, sure = found
    for row in range(len(out)):
        out[row] = np.nan
        if sure[row] == 0 or is_absent(tags[row, which]):
            continue
        if tags[row, which] == INTEGER:
            value = parse_integer(data, spans[row, which, 0], spans[row, which, 1])
            out[row] = value
            if 0 <= value <= limit:
                continue
        sure[row] = 0


@njit(cache=True)
def read_decimals(data: Any, found: Any, which: int, limit: float, out: Any) -> None:
    """Optional numbers from 0 to `limit`; 0 where absent."""
    spans, tags, _, sure = found
    for row in range(len(out)):
        out[row] = 0.0
        if sure[row] == 0 or is_absent(tags[row, which]):
            continue
        if tags[row, which] == INTEGER or tags[row, which] == DECIMAL:
            value = parse_decimal(data, spans[row, which, 0], spans[row, which, 1])
            out[row] = value
            if 0.0 <= value <= limit:
                continue
        sure[row] = 0


@njit(cache=True)
def read_flags(found: Any, which: int, out: Any) -> None:
    """Optional truth values: 0 absent, 1 false, 2 true."""
    _, tags, _, sure = found
    for row in range(len(out)):
        tag = tags[row, which]
        out[row] = 2 if tag == TRUE else 1 if tag == FALSE else 0
        if out[row] == 0 and not is_absent(tag):
            sure[row] = 0


@njit(cache=True)
def read_choices(data: Any, found: Any, which: int, words: Any, lengths: Any, out: Any) -> None:
    """Index of the value among `words`, (k, widest) uint8 of these `lengths`."""
    spans, tags, _, sure = found
    for row in range(len(out)):
        start, end = spans[row, which, 0], spans[row, which, 1]
        choice = -1
        for k in range(len(lengths)):
            same = sure[row] and tags[row, which] == STRING and lengths[k] == end - start
            for i in range(lengths[k] if same else 0):
                same = same and data[start + i] == words[k, i]
            if same:
                choice = k
                break
        if choice < 0:
            sure[row] = 0
        else:
            out[row] = choice
