"""Strings in columns, for texts that are carried through but never looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Texts", "copied"]

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Texts(Sequence[str]):
    """n strings as UTF-8, end to end: row i is `data[starts[i]:starts[i + 1]]`.

    data: uint8. starts: int64[n + 1], the first is 0.
    """

    data: U8
    starts: I64

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """Copy Python's strings."""
        rows = [string.encode() for string in strings]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        return cls(np.frombuffer(b"".join(rows), np.uint8), starts)

    @classmethod
    def gathered(cls, data: U8, spans: I64) -> Self:
        """Copy n pieces of UTF-8 out of `data`; spans: (n, 2), where each begins and ends."""
        starts = np.zeros(len(spans) + 1, np.int64)
        np.cumsum(spans[:, 1] - spans[:, 0], out=starts[1:])
        out = np.empty(starts[-1], np.uint8)
        _gather(data, spans, out)
        return cls(out, starts)

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """One after the other."""
        kept = [cls.of([]), *parts]
        lengths = np.concatenate([np.diff(part.starts) for part in kept])
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        return cls(np.concatenate([part.data for part in kept]), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes().decode()

    def replaced(self, rows: I64, strings: Iterable[str]) -> Self:
        """The same with others in these rows."""
        others = type(self).of(strings)
        spans = np.stack([self.starts[:-1], self.starts[1:]], axis=1)
        spans[rows, 0], spans[rows, 1] = others.starts[:-1], others.starts[1:]
        spans[rows] += len(self.data)
        return type(self).gathered(np.concatenate([self.data, others.data]), spans)

    def selected(self, keep: NDArray[np.bool_]) -> Self:
        """The strings that `keep`, bool[n], marks."""
        spans = np.stack([self.starts[:-1], self.starts[1:]], axis=1)
        return type(self).gathered(self.data, spans[keep])


@njit(cache=True)
def copied(out: Any, at: int, pool: Any, start: int, end: int) -> int:
    """Copy bytes to `out` from `at` on; return where they end.

    Places are unsigned: numba lets a signed one count from the end, which keeps the loop from being
    done many bytes at once.
    """
    to, origin = np.uint64(at), np.uint64(start)
    for i in range(np.uint64(end - start)):
        out[to + i] = pool[origin + i]
    return at + end - start


@njit(cache=True)
def _gather(data: Any, spans: Any, out: Any) -> None:
    at = 0
    for i in range(len(spans)):
        at = copied(out, at, data, spans[i, 0], spans[i, 1])
