"""Tables of users' own: CSV, Parquet or JSON lines, checked column by column.

What cannot be read is refused with its row and column: a statistic over the rest would be one of
another population. Rows are counted from 1, a heading left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.events.errors import ConfigurationError
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS

__all__ = ["NEVER", "Table", "TimeUnit", "as_numbers", "as_times", "read_table"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

NEVER: Final = -1
"""Time of what did not happen."""
_TRUTH: Final = {
    **dict.fromkeys(("true", "t", "yes", "y"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n"), 0.0),
}
TimeUnit = Literal["seconds", "milliseconds", "microseconds"]
_MILLISECONDS_FROM: Final = 100_000_000_000
"""A number of seconds that would lie beyond the year 5100."""
_ZONED: Final = ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")
_BARE: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows; every method raises ConfigurationError for a column or value that is wrong."""

    path: Path
    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.frame.columns

    def first_of(self, names: Sequence[str]) -> str | None:
        """The first of the names that is a column."""
        return next((name for name in names if self.has(name)), None)

    def column(self, name: str, option: str) -> pl.Series:
        """The column an option names."""
        if not self.has(name):
            there = ", ".join(self.frame.columns) or "none"
            msg = f"{self.path} has no column {name!r}; its columns: {there}; say {option} COLUMN"
            raise ConfigurationError(msg)
        return self.frame[name]

    def codes(self, name: str, option: str) -> tuple[list[str], I64]:
        """Distinct values as text, sorted, and (n,) indices into them; empty cells are refused."""
        column = self.column(name, option)
        text = column.cast(pl.String).str.strip_chars()
        self._refuse(column, text.is_null() | (text == ""), "a value")
        names, codes = np.unique(text.to_numpy().astype(str), return_inverse=True)
        return [str(value) for value in names], codes.reshape(-1).astype(np.int64)

    def numbers(
        self, name: str, option: str, *, wanted: str = "a number", low: float = -np.inf,
        high: float = np.inf, above: float = -np.inf,
    ) -> F64:  # fmt: skip
        """(n,) finite numbers within low <= x <= high and above < x; truth values are 0 and 1."""
        column = self.column(name, option)
        found = as_numbers(column)
        wrong = ~found.is_finite() | (found < low) | (found > high) | (found <= above)
        self._refuse(column, wrong.fill_null(value=True), wanted)
        return found.to_numpy().astype(np.float64)

    def numeric(self, name: str) -> bool:
        """Whether all values of the column are finite numbers or truth values."""
        return bool(as_numbers(self.frame[name]).is_finite().fill_null(value=False).all())

    def times(self, name: str, option: str, *, optional: bool = False) -> I64:
        """(n,) milliseconds since 1970; without a zone a time is UTC.

        optional: empty cells are NEVER. Whole numbers are seconds, or milliseconds from
        100,000,000,000 on.
        """
        column = self.column(name, option)
        blank = column.is_null()
        if column.dtype == pl.String:
            blank = blank | (column.str.strip_chars() == "")
        found = as_times(column)
        wrong = (found.is_null() | (found < MIN_TIME_MS) | (found > MAX_TIME_MS)).fill_null(
            value=True
        )
        self._refuse(column, wrong & ~blank if optional else wrong, "a time from 2000 to 2100")
        return found.set(blank, NEVER).to_numpy().astype(np.int64)

    def _refuse(self, column: pl.Series, wrong: pl.Series, wanted: str) -> None:
        """Name the first wrong row."""
        if not wrong.any():
            return
        row = int(wrong.arg_true()[0])
        msg = (
            f"row {row + 1} of {self.path}: column {column.name!r} holds {column[row]!r}, not "
            f"{wanted}; {int(wrong.sum()):,} rows are wrong in it; mend or drop them"
        )
        raise ConfigurationError(msg)


def read_table(path: Path) -> Table:
    """Read a file by its ending: .parquet or .pq, .jsonl, .ndjson or .json, else CSV.

    Raises:
        ConfigurationError: unreadable, or no rows.
    """
    try:
        frame = _read(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"cannot read {path} as CSV, Parquet or JSON lines: {error}; its ending says which"
        raise ConfigurationError(msg) from error
    if not len(frame):
        msg = f"{path} has no rows; there is nothing to estimate"
        raise ConfigurationError(msg)
    return Table(path, frame)


def _read(path: Path) -> pl.DataFrame:
    ending = path.suffix.lower()
    if ending in {".parquet", ".pq"}:
        return pl.read_parquet(path)
    if ending in {".jsonl", ".ndjson", ".json"}:
        return pl.read_ndjson(path, infer_schema_length=None)
    return pl.read_csv(path, infer_schema=False)


def as_numbers(column: pl.Series) -> pl.Series:
    """Float64, truth values as 0 and 1, null where a value is no number."""
    if column.dtype == pl.Boolean or column.dtype.is_numeric():
        return column.cast(pl.Float64)
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    truth = text.replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    return pl.select(pl.coalesce(text.cast(pl.Float64, strict=False), truth)).to_series()


def as_times(
    column: pl.Series,
    *,
    zone: str = "UTC",
    pattern: str | None = None,
    unit: TimeUnit | None = None,
) -> pl.Series:
    """Milliseconds since 1970 as Int64, null where a value is no time.

    zone: IANA name of the clock that times without an offset were read from; an hour that comes
    twice is its first one, one that never came is no time. pattern: of text, as of `strptime`; else
    the usual ones. unit: of numbers; else seconds, or milliseconds from 100,000,000,000 on.
    """
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    if isinstance(column.dtype, pl.Datetime):
        return _epoch(column, zone)
    if column.dtype.is_numeric():
        return _scaled(column, unit)
    text = column.cast(pl.String).str.strip_chars()
    if pattern is not None:
        return _read_as(text, pattern, zone)
    return _parsed(text, zone, unit)


def _epoch(times: pl.Series, zone: str) -> pl.Series:
    """Milliseconds of a column of date and time."""
    if zone != "UTC" and getattr(times.dtype, "time_zone", None) is None:
        times = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return times.dt.epoch("ms")


def _read_as(text: pl.Series, pattern: str, zone: str) -> pl.Series:
    zoned = "%z" in pattern
    name = "UTC" if zoned else None
    read = text.str.to_datetime(pattern, time_unit="ms", time_zone=name, strict=False)
    return _epoch(read, zone)


def _scaled(numbers: pl.Series, unit: TimeUnit | None) -> pl.Series:
    whole = numbers.cast(pl.Int64, strict=False)
    if unit == "milliseconds":
        return whole
    if unit == "microseconds":
        return whole // 1000
    if unit == "seconds":
        return (numbers.cast(pl.Float64, strict=False) * 1000).cast(pl.Int64, strict=False)
    scaled = pl.when(whole < _MILLISECONDS_FROM).then(whole * 1000).otherwise(whole)
    return pl.select(scaled).to_series()


def _parsed(text: pl.Series, zone: str, unit: TimeUnit | None) -> pl.Series:
    """Text as whole numbers, times with an offset, then times without one."""
    plain = text.str.replace(r"^(\d{4}-\d{2}-\d{2})T", "${1} ")
    plain = plain.str.replace(r"\s*(Z|UTC)$", "+00:00")
    zoned = plain.set(~plain.str.contains(r":.*[+-]\d{2}:?\d{2}$").fill_null(value=False), None)
    readings = [_scaled(text.cast(pl.Float64, strict=False), unit)]
    readings += [_read_as(zoned, pattern, zone) for pattern in _ZONED]
    readings += [_read_as(plain, pattern, zone) for pattern in _BARE]
    return pl.select(pl.coalesce(readings)).to_series()
