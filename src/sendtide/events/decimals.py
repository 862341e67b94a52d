"""Doubles as JSON numbers that read back as the same double, written by compiled loops.

Seventeen significant digits tell every double from its neighbours (IEEE 754-2019, section 5.12.2)
if they are the nearest to it. They come from the exact product with a power of ten, which a pair
of doubles holds (Dekker 1971, "A floating-point technique for extending the available precision").
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

__all__ = ["LARGEST", "LONGEST", "SMALLEST", "write_digits", "write_double", "write_single"]

LONGEST: Final = 25
"""Bytes of the longest number written."""
SMALLEST: Final = 1e-290
LARGEST: Final = 1e17
"""Magnitudes that can be written, 0 apart: from SMALLEST to below LARGEST."""

_EXACT: Final = 22
_POWERS: Final = 10.0 ** np.arange(_EXACT + 1)
"""Those that a double holds exactly."""
_SPLIT: Final = 134_217_729.0
_DIGITS: Final = 17
"""That always tell a double; for most that people write, `_FEW` do."""
_FEW: Final = 15
_SINGLE_LEAST: Final = 6
_SINGLE_DIGITS: Final = 9
"""That always tell a float32 (IEEE 754-2019, section 5.12.2)."""
_SINGLE_SMALLEST: Final = 1e-5
_SINGLE_LARGEST: Final = 1e6
"""From one to below the other a float32 is written in its own digits, else as a double."""
_FROM: Final = 10 ** (_DIGITS - 1)
_TENS: Final = np.array([48 + pair // 10 for pair in range(100)], np.uint8)
_ONES: Final = np.array([48 + pair % 10 for pair in range(100)], np.uint8)
_POSITIONAL: Final = -5
"""Decimal exponent below which a number is written with an exponent."""


@njit(cache=True)
def _times(high: float, low: float, factor: float) -> Any:
    """Product of a pair of doubles and a double, as a pair: the sum of both is the number."""
    product = high * factor
    a = _SPLIT * high
    a -= a - high
    b = _SPLIT * factor
    b -= b - factor
    c, d = high - a, factor - b
    rest = ((a * b - product) + a * d + c * b) + c * d + low * factor
    total = product + rest
    return total, rest - (total - product)


@njit(cache=True)
def _significand(value: float, power: int) -> int:
    """The whole number nearest to value * 10 ** power, which is below 2 ** 63."""
    high, low = value, 0.0
    while power > _EXACT:
        high, low = _times(high, low, _POWERS[_EXACT])
        power -= _EXACT
    high, low = _times(high, low, _POWERS[power])
    return int(high) + int(np.rint(high - np.floor(high) + low))


@njit(cache=True)
def write_digits(out: Any, at: int, value: int, count: int) -> None:
    """Write the lowest `count` digits of a number from `at` on, two of them for each division."""
    rest, end = np.uint64(value), at + count
    while end - at >= 2:
        above = rest // np.uint64(100)
        pair = np.int64(rest - above * np.uint64(100))
        out[end - 2], out[end - 1] = _TENS[pair], _ONES[pair]
        rest = above
        end -= 2
    if end > at:
        out[at] = np.uint64(48) + rest % np.uint64(10)


@njit(cache=True)
def write_double(out: Any, at: int, value: float) -> int:
    """Write a number to `out` (uint8) from `at` on; return where it ends."""
    if value < 0.0:
        out[at] = 45
        at, value = at + 1, -value
    if value == 0.0:
        out[at], out[at + 1], out[at + 2] = 48, 46, 48
        return at + 3
    places = _places(value)
    digits = _few(value, places + _FEW - 1)
    if digits:
        return int(_write_number(out, at, digits, _FEW, -places))
    power = places + _DIGITS - 1
    digits = _significand(value, power)
    if digits < _FROM:  # the estimate of the power went over a power of ten
        power += 1
        digits = _significand(value, power)
    elif digits >= 10 * _FROM:
        power -= 1
        digits = _significand(value, power)
    return int(_write_number(out, at, digits, _DIGITS, _DIGITS - 1 - power))


@njit(cache=True)
def write_single(out: Any, at: int, value: float) -> int:
    """As `write_double`, in the fewest digits that read back as the same float32."""
    size = abs(value)
    if not _SINGLE_SMALLEST <= size < _SINGLE_LARGEST:
        return int(write_double(out, at, value))
    if value < 0.0:
        out[at] = 45
        at += 1
    power, same = _places(size), np.float32(size)
    for count in range(_SINGLE_LEAST, _SINGLE_DIGITS + 1):
        scale = _POWERS[power + count - 1]
        digits = np.rint(size * scale)
        if np.float32(digits / scale) == same:
            break
    if digits >= _POWERS[count]:  # rounded up to the next power of ten
        digits, power = digits / 10.0, power - 1
    return int(_write_number(out, at, int(digits), count, -power))


@njit(cache=True)
def _places(value: float) -> int:
    """How many powers of ten bring a number into [1, 10); one off, at most, next to a power."""
    power = 0
    while value < 1.0:
        value *= 10.0
        power += 1
    while value >= 10.0:
        value /= 10.0
        power -= 1
    return power


@njit(cache=True)
def _few(value: float, power: int) -> int:
    """Value * 10 ** power, if it has fifteen digits and a reader makes the same double of them.

    Else 0.

    Quotient and divisor are doubles, so the division is what a reader does (Clinger 1990, "How to
    read floating point numbers accurately").
    """
    if not 0 <= power <= _EXACT:
        return 0
    digits = np.rint(value * _POWERS[power])
    few = _FROM // 100 <= digits < _FROM // 10 and digits / _POWERS[power] == value
    return int(digits) if few else 0


@njit(cache=True)
def _write_number(out: Any, at: int, digits: int, count: int, exponent: int) -> int:
    """Write `count` digits, the first of them worth 10 ** exponent, without zeros at the end."""
    while count > 1 and digits % 10 == 0:
        digits //= 10
        count -= 1
    if exponent < _POSITIONAL:
        write_digits(out, at + 1, digits, count)
        out[at], out[at + 1] = out[at + 1], 46
        if count == 1:
            out[at + 2] = 48
            count = 2
        at += count + 1
        out[at], out[at + 1] = 101, 45
        width = 3 if -exponent >= 100 else 2
        write_digits(out, at + 2, -exponent, width)
        return at + 2 + width
    if exponent < 0:
        out[at], out[at + 1] = 48, 46
        for i in range(-exponent - 1):
            out[at + 2 + i] = 48
        write_digits(out, at + 1 - exponent, digits, count)
        return at + 1 - exponent + count
    return int(_positional(out, at, digits, count, exponent + 1))


@njit(cache=True)
def _positional(out: Any, at: int, digits: int, count: int, whole: int) -> int:
    """Write `count` digits, `whole` of them before the point, with zeros where there are none."""
    while count <= whole:
        digits *= 10
        count += 1
    write_digits(out, at + 1, digits, count)
    for i in range(at, at + whole):
        out[i] = out[i + 1]
    out[at + whole] = 46
    return at + count + 1
