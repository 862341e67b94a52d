r"""One pass over a flat JSON object, compiled: where each declared field's value lies.

It takes only what it is sure of: strings without `\u`, plain numbers, true, false, null. At all
else (a nested value, an exponent, a name twice) it says "not sure" and the authority reads that
record again. So it needs no error messages, and whatever it accepts is strict RFC 8259.

Records lie end to end in one buffer that closes with `SENTINEL`; a scan that runs over its
record's end is caught by the last comparison, one for the whole record instead of one a byte.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sendtide.events.messages import MAX_RECORD_BYTES

__all__ = ["ABSENT", "ASCII", "BLOCK", "CLASSES", "DECIMAL", "DIGIT", "DOMAIN", "FALSE", "HEX"]
__all__ += ["INTEGER", "NAME", "NAME_START", "NULL", "SENTINEL", "STRING", "TEXT", "TRUE", "ZONE"]
__all__ += ["Fields", "Found", "nesting_depth", "parse_decimal", "parse_integer", "scan_block"]

SENTINEL: Final = bytes(64)
"""Ends the buffer: a zero byte is neither text, digit nor space, so every loop stops there."""

TEXT: Final = 1  # may stand in a string as it is
ASCII: Final = 2
NAME: Final = 4
NAME_START: Final = 8
HEX: Final = 16
ZONE: Final = 32
DIGIT: Final = 64
DOMAIN: Final = 128

ABSENT: Final = 0
STRING: Final = 1
INTEGER: Final = 2
DECIMAL: Final = 3
NULL: Final = 4
TRUE: Final = 5
FALSE: Final = 6
_UNSURE: Final = 7

BLOCK: Final = 256
"""Records scanned before their columns are written: what one block holds stays in the cache."""
_MAX_FIELDS: Final = 64
_MAX_SURE_DIGITS: Final = 15
"""Up to here an integer is exact as float64, and dividing it by a power of ten rounds right."""
_POWERS: Final = np.array([10.0**k for k in range(_MAX_SURE_DIGITS + 1)])


def _classes() -> NDArray[np.uint8]:
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    digits = b"0123456789"
    table = np.zeros(256, np.uint8)
    table[0x20:0x7F] = TEXT | ASCII
    table[0x80:] = TEXT
    table[[ord('"'), ord("\\")]] = 0
    for members, bit in (
        (digits, DIGIT),
        (letters + digits + b"._-", NAME),
        (letters + digits, NAME_START),
        (digits + b"abcdef", HEX),
        (letters[26:] + digits + b".-", DOMAIN),
        (letters + digits + b"_+-/", ZONE),
    ):
        table[list(members)] |= bit
    return table


CLASSES: Final = _classes()
"""What each byte may be part of, as the bits above; 0 ends a string."""
ESCAPED: Final = np.isin(np.arange(256), list(b'/"\\bfnrt'))
"""Which bytes may follow a backslash; `u` may too, and is left to the authority."""


class Fields(NamedTuple):
    """What to look for; n is the number of fields.

    words: (n, widest / 8) uint64 - the names with their closing quotes, eight bytes at a time.
    masks: same shape - which of those bytes count. lengths: (n,) - bytes of the names. order: (64,)
    - which field stood at each place of the record before, the first guess for the next one.
    """

    words: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Fields:
        """Fields of these names."""
        quoted = [name.encode() + b'"' for name in names]
        width = -(-max(map(len, quoted)) // 8) * 8
        assert width <= len(SENTINEL)
        words = b"".join(name.ljust(width, b"\0") for name in quoted)
        masks = b"".join((b"\xff" * len(name)).ljust(width, b"\0") for name in quoted)
        return cls(
            words=np.frombuffer(words, np.uint64).reshape(len(names), -1),
            masks=np.frombuffer(masks, np.uint64).reshape(len(names), -1),
            lengths=np.array([len(name) - 1 for name in quoted], np.int64),
            order=np.zeros(_MAX_FIELDS, np.int64),
        )


class Found(NamedTuple):
    """Where the fields of a block of records lie; n fields, BLOCK records.

    spans: (BLOCK, n, 2) - first byte and end of a value (of a string: inside the quotes). tags:
    (BLOCK, n) - ABSENT, STRING, ... flags: (BLOCK, n) - the classes all bytes of a string have in
    common. sure: (BLOCK,) - 0 as soon as anything about the record is left to the authority.
    """

    spans: NDArray[np.int64]
    tags: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    sure: NDArray[np.uint8]

    @classmethod
    def room_for(cls, fields: Fields) -> Found:
        """Room for one block."""
        n = len(fields.lengths)
        tags, flags = np.zeros((BLOCK, n), np.uint8), np.zeros((BLOCK, n), np.uint8)
        return cls(np.zeros((BLOCK, n, 2), np.int64), tags, flags, np.zeros(BLOCK, np.uint8))


def _load(bits: int) -> Any:
    """Compiled function `(address, place)` that reads an unsigned number of so many bits there.

    It is unchecked; `SENTINEL` keeps the scan inside the buffer. Reading through an array costs
    twice the time here: every function that is handed one counts references.
    """

    @intrinsic
    def load(_: Any, address: Any, place: Any) -> Any:  # noqa: ARG001 - numba asks for both
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(builder.add(*arguments), ir.IntType(bits).as_pointer())
            return builder.load(pointer, align=1)

        return getattr(types, f"uint{bits}")(types.uint64, types.int64), generate

    return load


byte_at: Final = _load(8)
four_at: Final = _load(32)
word_at: Final = _load(64)

_TRUE_BYTES, _NULL_BYTES, _FALS_BYTES = np.frombuffer(b"truenullfals", np.uint32)


@njit(cache=True)
def _skip_space(data: Any, at: int) -> int:
    byte = byte_at(data, at)
    while byte == 0x20 or byte == 0x0A or byte == 0x0D or byte == 0x09:
        at += 1
        byte = byte_at(data, at)
    return at


@njit(cache=True)
def _scan_text(data: Any, at: int) -> Any:
    """Return (classes in common, place of the closing quote or of the first odd byte)."""
    common = np.uint8(0xFF)
    kind = CLASSES[byte_at(data, at)]
    while kind != 0:
        common &= kind
        at += 1
        kind = CLASSES[byte_at(data, at)]
    return common, at


@njit(cache=True)
def _scan_escaped(data: Any, at: int) -> int:
    """Place of the closing quote behind the backslash at `at`, or of the first odd byte."""
    while byte_at(data, at) == 0x5C and ESCAPED[byte_at(data, at + 1)]:
        _, at = _scan_text(data, at + 2)
    return at


@njit(cache=True)
def _is_word(data: Any, start: int, words: Any, masks: Any, which: int) -> bool:
    """Whether the name at `start`, up to its closing quote, is field `which`."""
    for i in range(words.shape[1]):
        if word_at(data, start + 8 * i) & masks[which, i] != words[which, i]:
            return False
    return True


@njit(cache=True)
def _scan_name(data: Any, start: int, words: Any, masks: Any, lengths: Any, guess: int) -> Any:
    """Return (field, place of the closing quote); field -1 if not one of ours, -2 if not sure."""
    if guess >= 0 and _is_word(data, start, words, masks, guess):
        return guess, start + lengths[guess]
    for which in range(len(lengths)):
        if _is_word(data, start, words, masks, which):
            return which, start + lengths[which]
    common, end = _scan_text(data, start)
    if byte_at(data, end) != 0x22 or common & ASCII == 0:
        return -2, end
    return -1, end


@njit(cache=True)
def _valid_utf8(data: Any, start: int, end: int) -> bool:
    """Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7)."""
    at = start
    while at < end:
        lead = byte_at(data, at)
        if lead < 0x80:
            at += 1
            continue
        low, high, size = np.uint8(0x80), np.uint8(0xBF), 0
        if 0xC2 <= lead <= 0xDF:
            size = 1
        elif 0xE0 <= lead <= 0xEF:
            size = 2
            if lead == 0xE0:
                low = np.uint8(0xA0)  # shorter forms exist
            elif lead == 0xED:
                high = np.uint8(0x9F)  # surrogates
        elif 0xF0 <= lead <= 0xF4:
            size = 3
            if lead == 0xF0:
                low = np.uint8(0x90)
            elif lead == 0xF4:
                high = np.uint8(0x8F)  # above U+10FFFF
        if size == 0 or at + size >= end:
            return False
        if byte_at(data, at + 1) < low or byte_at(data, at + 1) > high:
            return False
        for i in range(2, size + 1):
            if byte_at(data, at + i) & 0xC0 != 0x80:
                return False
        at += size + 1
    return True


@njit(cache=True)
def _scan_number(data: Any, start: int) -> Any:
    """Return (tag, end) of the number at `start`; _UNSURE for exponents and malformed ones."""
    at = start + 1 if byte_at(data, start) == 0x2D else start
    first = at
    while CLASSES[byte_at(data, at)] & DIGIT:
        at += 1
    if at == first or (byte_at(data, first) == 0x30 and at - first > 1):
        return _UNSURE, at
    if byte_at(data, at) != 0x2E:
        return (_UNSURE if byte_at(data, at) | 0x20 == 0x65 else INTEGER), at
    at += 1
    point = at
    while CLASSES[byte_at(data, at)] & DIGIT:
        at += 1
    if at == point or byte_at(data, at) | 0x20 == 0x65:
        return _UNSURE, at
    return DECIMAL, at


@njit(cache=True)
def _scan_literal(data: Any, start: int) -> Any:
    """Return (tag, end) of true, false, null or a number."""
    four = four_at(data, start)
    if four == _TRUE_BYTES:
        return TRUE, start + 4
    if four == _NULL_BYTES:
        return NULL, start + 4
    if four == _FALS_BYTES and byte_at(data, start + 4) == 0x65:
        return FALSE, start + 5
    return _scan_number(data, start)


@njit(cache=True)
def _scan_value(data: Any, at: int) -> Any:
    """Return (tag, classes in common, first byte, end, next place) of the value at `at`."""
    common = np.uint8(0)
    if byte_at(data, at) != 0x22:
        tag, end = _scan_literal(data, at)
        return tag, common, at, end, end
    tag = STRING
    common, end = _scan_text(data, at + 1)
    if byte_at(data, end) == 0x5C:
        common, end = np.uint8(0), _scan_escaped(data, end)
    if byte_at(data, end) != 0x22 or (common & ASCII == 0 and not _valid_utf8(data, at + 1, end)):
        tag = _UNSURE
    return tag, common, at + 1, end, end + 1


@njit(cache=True)
def _scan_object(
    data: Any,
    start: int,
    end: int,
    words: Any,
    masks: Any,
    lengths: Any,
    order: Any,
    spans: Any,
    tags: Any,
    flags: Any,
    row: int,
) -> bool:
    """Find every field's value in the object at `start`; False if not sure.

    Plain arguments and no bundles: see `byte_at` on what arrays cost on the way in.
    """
    for which in range(len(lengths)):
        tags[row, which] = ABSENT
    at = _skip_space(data, start)
    if byte_at(data, at) != 0x7B:
        return False
    for place in range(len(order)):
        name = _skip_space(data, at + 1) + 1
        if byte_at(data, name - 1) != 0x22:
            return False
        which, at = _scan_name(data, name, words, masks, lengths, order[place])
        if which == -2:
            return False
        order[place] = which
        at = _skip_space(data, at + 1)
        if byte_at(data, at) != 0x3A or (which >= 0 and tags[row, which] != ABSENT):
            return False
        tag, common, first, last, at = _scan_value(data, _skip_space(data, at + 1))
        if tag == _UNSURE:
            return False
        if which >= 0:
            tags[row, which], flags[row, which] = tag, common
            spans[row, which, 0], spans[row, which, 1] = first, last
        at = _skip_space(data, at)
        if byte_at(data, at) == 0x7D:
            return bool(at + 1 == end or _skip_space(data, at + 1) == end)
        if byte_at(data, at) != 0x2C:
            return False
    return False


@njit(cache=True)
def scan_block(data: Any, starts: Any, fields: Any, found: Any) -> None:
    """Scan the records `data[starts[i]:starts[i + 1]]`, up to BLOCK of them, into `found`."""
    words, masks, lengths, order = fields
    spans, tags, flags, sure = found
    address = np.uint64(data.ctypes.data)
    for row in range(len(starts) - 1):
        start, end = starts[row], starts[row + 1]
        sure[row] = end - start <= MAX_RECORD_BYTES and _scan_object(
            address, start, end, words, masks, lengths, order, spans, tags, flags, row
        )


@njit(cache=True)
def parse_integer(data: Any, start: int, end: int) -> int:
    """Value of a non-negative integer of up to 15 digits; -1 if not sure."""
    if end - start > _MAX_SURE_DIGITS or data[start] == 0x2D:
        return -1
    value = 0
    for i in range(start, end):
        value = value * 10 + (data[i] - 0x30)
    return value


@njit(cache=True)
def parse_decimal(data: Any, start: int, end: int) -> float:
    """Correctly rounded value of a non-negative number of up to 15 digits; -1.0 if not sure."""
    if end - start > _MAX_SURE_DIGITS + 1 or data[start] == 0x2D:
        return -1.0
    value, digits, decimals = 0, 0, -1
    for i in range(start, end):
        if data[i] == 0x2E:
            decimals = digits
            continue
        value = value * 10 + (data[i] - 0x30)
        digits += 1
    if digits > _MAX_SURE_DIGITS:
        return -1.0
    return float(value / _POWERS[digits - decimals if decimals >= 0 else 0])


@njit(cache=True)
def nesting_depth(data: Any) -> int:
    """Deepest nesting of brackets outside strings; a string may be cut off."""
    depth, deepest, inside, i = 0, 0, False, 0
    while i < len(data):
        byte = data[i]
        if inside:
            if byte == 0x5C:
                i += 1
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte == 0x5B or byte == 0x7B:
            depth += 1
            deepest = max(deepest, depth)
        elif byte == 0x5D or byte == 0x7D:
            depth -= 1
        i += 1
    return deepest
