"""Columns to bytes: a compiled writer of many small JSON objects or keys, and the records made.

A producer in Python spends most of its time on building one dict and one string per event. Here a
row's text is a fixed sequence of fields, each a literal followed by a value taken from a column;
one compiled loop writes all rows into one buffer, and a record is a slice of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.decimals import (
    LARGEST,
    LONGEST,
    SMALLEST,
    write_digits,
    write_double,
    write_single,
)
from sendtide.events.texts import Texts, copied

__all__ = ["ABSENT", "Field", "Records", "RowWriter", "cut", "decimal", "hexadecimal", "hundredths"]
__all__ += ["literal", "number", "single", "text"]

ABSENT: Final = -(2**63)
"""The value of a number or text field that leaves the whole field, literal included, out."""

_NUMBER: Final = 0
_TEXT: Final = 1
_HEX: Final = 2
_HUNDREDTHS: Final = 3
_LITERAL: Final = 4
_DECIMAL: Final = 5
_SINGLE: Final = 6
_MOST_DIGITS: Final = 19
_LONGEST: Final = {
    _NUMBER: 20,
    _TEXT: 0,  # counted apart
    _HEX: 16,
    _HUNDREDTHS: 21,
    _LITERAL: 0,
    _DECIMAL: LONGEST,
    _SINGLE: LONGEST,
}
_HEX_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True, slots=True)
class Field:
    """A literal and the kind of value after it; `choices` are a text field's spellings."""

    before: bytes
    kind: int
    choices: Texts = field(default_factory=lambda: Texts.of([]))


def number(before: str) -> Field:
    """Take a column of whole numbers."""
    return Field(before.encode(), _NUMBER)


def text(before: str, choices: Sequence[str]) -> Field:
    """Take a column of indices into `choices`, whose spellings are written as they are."""
    texts = choices if isinstance(choices, Texts) else Texts.of(choices)
    return Field(before.encode(), _TEXT, texts)


def hexadecimal(before: str) -> Field:
    """Take a uint64 column, written as 16 lower-case digits; it cannot be absent."""
    return Field(before.encode(), _HEX)


def hundredths(before: str) -> Field:
    """Take a column of non-negative hundredths: 1999 is written 19.99."""
    return Field(before.encode(), _HUNDREDTHS)


def decimal(before: str) -> Field:
    """Take a float column, written so that it reads back as the same double; NaN is absent."""
    return Field(before.encode(), _DECIMAL)


def single(before: str) -> Field:
    """Take a float32 column, in the fewest digits that read back as the same float32.

    NaN is absent.
    """
    return Field(before.encode(), _SINGLE)


def literal(only: str) -> Field:
    """Take no column: the literal alone."""
    return Field(only.encode(), _LITERAL)


@njit(cache=True)
def _digits(out: Any, at: int, value: int) -> int:
    if value < 0:
        out[at] = 45
        at += 1
        value = -value
    count, limit = 1, 10
    while count < _MOST_DIGITS and value >= limit:
        count += 1
        limit *= 10
    write_digits(out, at, value, count)
    return at + count


@njit(cache=True)
def _word(out: Any, at: int, value: int) -> int:
    word, to = np.uint64(value), np.uint64(at)
    for i in range(np.uint64(8)):
        pair = (word >> (np.uint64(56) - np.uint64(8) * i)) & np.uint64(255)
        out[to + np.uint64(2) * i] = _HEX_DIGITS[pair >> np.uint64(4)]
        out[to + np.uint64(2) * i + np.uint64(1)] = _HEX_DIGITS[pair & np.uint64(15)]
    return at + 16


@njit(cache=True, nogil=True)
def _write(
    literals: Any,
    ends: Any,
    kinds: Any,
    columns: Any,
    pool: Any,
    pool_ends: Any,
    first: Any,
    out: Any,
) -> Any:
    rows = columns.shape[1]
    starts = np.zeros(rows + 1, np.int64)
    doubles = columns.view(np.float64)
    at = 0
    for row in range(rows):
        for f in range(len(kinds)):
            kind, value = kinds[f], columns[f, row]
            if value == ABSENT and kind != _HEX:
                continue
            at = copied(out, at, literals, ends[f], ends[f + 1])
            if kind == _NUMBER:
                at = _digits(out, at, value)
            elif kind == _TEXT:
                choice = first[f] + value
                at = copied(out, at, pool, pool_ends[choice], pool_ends[choice + 1])
            elif kind == _HEX:
                at = _word(out, at, value)
            elif kind == _HUNDREDTHS:
                at = _digits(out, at, value // 100)
                out[at], out[at + 1], out[at + 2] = 46, 48 + value // 10 % 10, 48 + value % 10
                at += 3
            elif kind == _DECIMAL:
                at = write_double(out, at, doubles[f, row])
            elif kind == _SINGLE:
                at = write_single(out, at, doubles[f, row])
        starts[row + 1] = at
    return starts


def _joined(parts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return np.frombuffer(b"".join(parts) or b" ", np.uint8), ends


@njit(cache=True)
def _bits(column: Any, out: Any) -> int:
    """Fill `out` (n,) with the words that hold doubles; return the first that cannot be written.

    -0.0, whose word is that of ABSENT, becomes 0.0. Returns n if all can be.
    """
    doubles = out.view(np.float64)
    for row in range(len(column)):
        value = np.float64(column[row]) + 0.0
        size = abs(value)
        if np.isnan(value):
            out[row] = ABSENT
        elif size == 0.0 or SMALLEST <= size < LARGEST:
            doubles[row] = value
        else:
            return row
    return len(column)


@njit(cache=True)
def _misplaced(places: Any, count: int) -> int:
    """Return the first row whose place is none of `count` and not ABSENT, or n."""
    for row in range(len(places)):
        if places[row] != ABSENT and not 0 <= places[row] < count:
            return row
    return len(places)


class RowWriter:
    """Writes rows of a fixed sequence of fields."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._takes = [f for f, field in enumerate(fields) if field.kind != _LITERAL]
        self._kinds = np.array([field.kind for field in fields], np.uint8)
        self._literals, self._ends = _joined([field.before for field in fields])
        pool = Texts.joined(field.choices for field in fields)
        self._pool, self._pool_ends = pool.data, pool.starts
        counts = [len(field.choices) for field in fields]
        self._counts = np.array(counts, np.int64)
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self._row_limit = sum(len(field.before) + _LONGEST[field.kind] for field in fields)

    def column(self, *columns: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Write n rows; one column of n for each field that takes one.

        Returns:
            All bytes, uint8, and where each row begins and the last one ends, int64[n + 1].

        Raises:
            ValueError: the number of columns, a text index or a decimal does not fit the fields.
        """
        if len(columns) != len(self._takes):
            msg = f"{len(columns)} columns given; the fields take {len(self._takes)}"
            raise ValueError(msg)
        values = self._values(columns)
        out = np.empty(self._room(values), np.uint8)
        starts = _write(
            self._literals,
            self._ends,
            self._kinds,
            values,
            self._pool,
            self._pool_ends,
            self._first,
            out,
        )
        out.resize(int(starts[-1]), refcheck=False)
        return out, starts

    def write(self, *columns: NDArray[Any]) -> tuple[bytes, NDArray[np.int64]]:
        """As `column`: all rows' bytes, and the end of each."""
        data, starts = self.column(*columns)
        return data.tobytes(), starts[1:]

    def rows(self, *columns: NDArray[Any]) -> list[bytes]:
        """As `column`, cut into one byte string per row."""
        data, starts = self.column(*columns)
        return cut(data.tobytes(), starts[:-1], starts[1:])

    def _values(self, columns: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        """(fields, rows) words: numbers, places of texts, the bits of doubles."""
        values = np.zeros((len(self._kinds), len(columns[0])), np.int64)
        for f, column in zip(self._takes, columns, strict=True):
            if self._kinds[f] in (_DECIMAL, _SINGLE):
                _refuse_sizes(column, _bits(column, values[f]))
                continue
            values[f] = column.view(np.int64) if column.dtype == np.uint64 else column
            if self._kinds[f] == _TEXT:
                _refuse_places(values[f], self._counts[f])
        return values

    def _room(self, values: NDArray[np.int64]) -> int:
        """Bytes that these rows take at most; a long text counts where it is, not for all rows."""
        lengths, room = np.diff(self._pool_ends), int(values.shape[1] * self._row_limit)
        for f in np.flatnonzero(self._kinds == _TEXT).tolist():
            places = values[f][values[f] != ABSENT]
            room += int(lengths[self._first[f] + places].sum())
        return room


def _refuse_sizes(column: NDArray[Any], row: int) -> None:
    if row < len(column):
        msg = f"{column[row]} cannot be written: its size is not in [{SMALLEST}, {LARGEST})"
        raise ValueError(msg)


def _refuse_places(places: NDArray[np.int64], count: int) -> None:
    row = _misplaced(places, count)
    if row < len(places):
        msg = f"text index {places[row]} of {count}"
        raise ValueError(msg)


def cut(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
    """Slices of `data`, in the order given."""
    return [data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


@dataclass(slots=True, kw_only=True)
class Records:
    """Records for topics, in the order in which they are to be produced.

    topics: the names. topic: (n,) index into `topics`. keys, values: n byte strings; a value of
    None is a tombstone. timestamps_ms: (n,) the record's Kafka timestamp.
    """

    topics: tuple[str, ...]
    topic: NDArray[np.uint8]
    keys: list[bytes]
    values: list[bytes | None]
    timestamps_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[str, bytes, bytes | None, int]]:
        names = [self.topics[code] for code in self.topic.tolist()]
        return zip(names, self.keys, self.values, self.timestamps_ms.tolist(), strict=True)

    def by_topic(self) -> dict[str, tuple[list[bytes], list[bytes | None], NDArray[np.int64]]]:
        """Keys, values and timestamps per topic, each in order; topics without records left out."""
        parts = {}
        for code, name in enumerate(self.topics):
            rows = np.flatnonzero(self.topic == code)
            if len(rows):
                chosen = rows.tolist()
                parts[name] = (
                    [self.keys[i] for i in chosen],
                    [self.values[i] for i in chosen],
                    self.timestamps_ms[rows],
                )
        return parts

    def first(self, count: int) -> Records:
        """The first `count` records."""
        return Records(
            topics=self.topics,
            topic=self.topic[:count],
            keys=self.keys[:count],
            values=self.values[:count],
            timestamps_ms=self.timestamps_ms[:count],
        )
