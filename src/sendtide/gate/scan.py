"""One pass over a flat JSON object, compiled: where each declared field's value lies.

It takes only what it is sure of: strings without escapes, plain numbers, true, false, null. At
anything else - an escape, a nested value, an exponent, a name twice - it says "not sure" and the
authority (`gate.authority`) reads that record again. So it needs no error messages, and whatever
it accepts is strict RFC 8259.

Records lie end to end in one buffer that closes with `SENTINEL`; a scan that runs over its
record's end is caught by the last comparison, one for the whole record instead of one a byte.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["ABSENT", "ASCII", "CLASSES", "DECIMAL", "DIGIT", "FALSE", "HEX", "INTEGER", "NAME"]
__all__ += ["NAME_START", "NULL", "SENTINEL", "STRING", "TEXT", "TRUE", "ZONE", "Fields"]
__all__ += ["nesting_depth", "parse_decimal", "parse_integer", "scan_object"]

SENTINEL: Final = bytes(16)
"""Ends the buffer: a zero byte is neither text, digit nor space, so every loop stops there."""

TEXT: Final = 1  # may stand in a string as it is
ASCII: Final = 2
NAME: Final = 4
NAME_START: Final = 8
HEX: Final = 16
ZONE: Final = 32
DIGIT: Final = 64

ABSENT: Final = 0
STRING: Final = 1
INTEGER: Final = 2
DECIMAL: Final = 3
NULL: Final = 4
TRUE: Final = 5
FALSE: Final = 6
_UNSURE: Final = 7

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
    table[list(digits)] |= DIGIT
    for members, bit in (
        (letters + digits + b"._-", NAME),
        (letters + digits, NAME_START),
        (digits + b"abcdef", HEX),
        (letters + digits + b"_+-/", ZONE),
    ):
        table[list(members)] |= bit
    return table


CLASSES: Final = _classes()
"""What each byte may be part of, as the bits above; 0 ends a string."""


class Fields(NamedTuple):
    """What to look for, and where it was found in the record at hand; n is the number of fields.

    words: (n, widest) uint8, lengths: (n,) - the names. order: (64,) - which field stood at each
    place of the record before: the first guess for this one. spans: (n, 2) - first byte and end
    of the value (of a string: inside the quotes). tags: (n,) - ABSENT, STRING, ... flags: (n,) -
    the classes that all bytes of a string have in common.
    """

    words: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    order: NDArray[np.int64]
    spans: NDArray[np.int64]
    tags: NDArray[np.uint8]
    flags: NDArray[np.uint8]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Fields:
        """Fields of these names."""
        encoded = [name.encode() for name in names]
        words = np.zeros((len(names), max(map(len, encoded))), np.uint8)
        for word, name in zip(words, encoded, strict=True):
            word[: len(name)] = list(name)
        return cls(
            words=words,
            lengths=np.array([len(name) for name in encoded], np.int64),
            order=np.zeros(64, np.int64),
            spans=np.zeros((len(names), 2), np.int64),
            tags=np.zeros(len(names), np.uint8),
            flags=np.zeros(len(names), np.uint8),
        )


@njit(cache=True, inline="always")
def _skip_space(data: Any, at: int) -> int:
    while data[at] == 0x20 or data[at] == 0x0A or data[at] == 0x0D or data[at] == 0x09:
        at += 1
    return at


@njit(cache=True, inline="always")
def _is_word(data: Any, start: int, size: int, words: Any, lengths: Any, which: int) -> bool:
    if lengths[which] != size:
        return False
    for i in range(size):  # noqa: SIM110 - a compiled loop, not a generator
        if data[start + i] != words[which, i]:
            return False
    return True


@njit(cache=True, inline="always")
def _which_field(data: Any, start: int, size: int, words: Any, lengths: Any, guess: int) -> int:
    """Index of the field of this name, -1 if it is not one of ours."""
    if guess >= 0 and _is_word(data, start, size, words, lengths, guess):
        return guess
    for which in range(len(lengths)):
        if _is_word(data, start, size, words, lengths, which):
            return which
    return -1


@njit(cache=True)
def _valid_utf8(data: Any, start: int, end: int) -> bool:
    """Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7)."""
    at = start
    while at < end:
        lead = data[at]
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
        if data[at + 1] < low or data[at + 1] > high:
            return False
        for i in range(2, size + 1):
            if data[at + i] & 0xC0 != 0x80:
                return False
        at += size + 1
    return True


@njit(cache=True, inline="always")
def _scan_number(data: Any, start: int) -> Any:
    """Return (tag, end) of the number at `start`; _UNSURE for exponents and malformed ones."""
    at = start + 1 if data[start] == 0x2D else start
    first = at
    while CLASSES[data[at]] & DIGIT:
        at += 1
    if at == first or (data[first] == 0x30 and at - first > 1):
        return _UNSURE, at
    if data[at] != 0x2E:
        return (_UNSURE if data[at] | 0x20 == 0x65 else INTEGER), at
    at += 1
    point = at
    while CLASSES[data[at]] & DIGIT:
        at += 1
    if at == point or data[at] | 0x20 == 0x65:
        return _UNSURE, at
    return DECIMAL, at


@njit(cache=True, inline="always")
def _scan_literal(data: Any, start: int) -> Any:
    """Return (tag, end) of true, false, null or a number."""
    first = data[start]
    if first == 0x74:  # t
        if data[start + 1] == 0x72 and data[start + 2] == 0x75 and data[start + 3] == 0x65:
            return TRUE, start + 4
    elif first == 0x6E:  # n
        if data[start + 1] == 0x75 and data[start + 2] == 0x6C and data[start + 3] == 0x6C:
            return NULL, start + 4
    elif first == 0x66:  # f
        if data[start + 1] == 0x61 and data[start + 2] == 0x6C and data[start + 3] == 0x73:
            return (FALSE if data[start + 4] == 0x65 else _UNSURE), start + 5
    else:
        return _scan_number(data, start)
    return _UNSURE, start


@njit(cache=True, inline="always")
def _scan_text(data: Any, at: int) -> Any:
    """Return (classes in common, place of the closing quote or of the first odd byte)."""
    common = np.uint8(0xFF)
    kind = CLASSES[data[at]]
    while kind != 0:
        common &= kind
        at += 1
        kind = CLASSES[data[at]]
    return common, at


@njit(cache=True, inline="always")
def _scan_value(data: Any, at: int) -> Any:
    """Return (tag, classes in common, first byte, end, next place) of the value at `at`."""
    common = np.uint8(0)
    if data[at] != 0x22:
        tag, end = _scan_literal(data, at)
        return tag, common, at, end, end
    tag = STRING
    common, end = _scan_text(data, at + 1)
    if data[end] != 0x22 or (common & ASCII == 0 and not _valid_utf8(data, at + 1, end)):
        tag = _UNSURE
    return tag, common, at + 1, end, end + 1


@njit(cache=True)
def scan_object(data: Any, start: int, end: int, fields: Any) -> bool:
    """Find every field's value in the object that is `data[start:end]`; False if not sure."""
    words, lengths, order, spans, tags, flags = fields
    tags[:] = ABSENT
    at = _skip_space(data, start)
    if data[at] != 0x7B:
        return False
    for place in range(len(order)):
        at = _skip_space(data, at + 1)
        name = at + 1
        if data[at] != 0x22:
            return False
        common, at = _scan_text(data, name)
        if data[at] != 0x22 or common & ASCII == 0:
            return False
        which = _which_field(data, name, at - name, words, lengths, order[place])
        order[place] = which
        at = _skip_space(data, at + 1)
        if data[at] != 0x3A or (which >= 0 and tags[which] != ABSENT):
            return False
        tag, common, first, last, at = _scan_value(data, _skip_space(data, at + 1))
        if tag == _UNSURE:
            return False
        if which >= 0:
            tags[which], flags[which] = tag, common
            spans[which, 0], spans[which, 1] = first, last
        at = _skip_space(data, at)
        if data[at] == 0x7D:
            return _skip_space(data, at + 1) == end or at + 1 == end
        if data[at] != 0x2C:
            return False
    return False


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
    return value / _POWERS[digits - decimals if decimals >= 0 else 0]


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
