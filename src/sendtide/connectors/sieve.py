"""Which rows of a table are taken, and why the others are not: none goes without a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Refusal", "Remark", "Sieve"]

Mask = NDArray[np.bool_]

_ADDRESS: Final = re.compile(r"\S*@\S*")
_EXAMPLES: Final = 3
_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows not taken for one reason; examples: the first of them, from row 1, without addresses."""

    reason: str
    meaning: str
    rows: int
    examples: list[str]


@dataclass(frozen=True, slots=True)
class Remark:
    """Rows that were taken although something about them had to be assumed."""

    reason: str
    meaning: str
    rows: int


@dataclass(slots=True)
class Sieve:
    """The rows of one table; the first reason found for a row is the one it is counted under.

    numbers: (n,) of each row in its file, from 0. taken: (n,) rows not refused so far.
    """

    numbers: NDArray[np.int64]
    taken: Mask
    refusals: list[Refusal] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Sieve:
        """All rows taken."""
        return cls(numbers, np.ones(len(numbers), bool))

    def refuse(
        self, wrong: Mask, reason: str, meaning: str, column: pl.Series, *, hide: bool = False
    ) -> None:
        """Take out the rows that are wrong. hide: show nothing of the column's values."""
        rows = np.flatnonzero(wrong & self.taken)
        if not len(rows):
            return
        examples = [
            f"row {self.numbers[row] + 1}: {column.name} {_shown(column[row], hide)}"
            for row in rows[:_EXAMPLES].tolist()
        ]
        self.refusals.append(Refusal(reason, meaning, len(rows), examples))
        self.taken[rows] = False

    def remark(self, rows: Mask, reason: str, meaning: str) -> None:
        """Note an assumption about the rows of these that are still taken."""
        count = int(np.count_nonzero(rows & self.taken))
        if count:
            self.remarks.append(Remark(reason, meaning, count))


def _shown(value: Any, hide: bool) -> str:
    if value is None or value == "":
        return "is empty"
    if hide:
        return "holds (hidden)"
    text = _ADDRESS.sub("(hidden)", str(value))
    return f"holds {text[:_LONGEST]!r}"
