"""A table of opens, CSV or Parquet: who opened, and when, as whole columns.

`opened_at` may be a time (with a zone it is exact; without one it is taken as UTC), text as in
2024-03-01T08:30:00+01:00 (likewise), or a whole number: seconds since 1970, or milliseconds from
100,000,000,000 on, a number of seconds that would lie beyond the year 5100.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.events.errors import ConfigurationError
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS

__all__ = ["OPEN_COLUMNS", "Opens", "read_opens"]

OPEN_COLUMNS: Final = ("user", "opened_at")
_MILLISECONDS_FROM: Final = 100_000_000_000


@dataclass(frozen=True, slots=True)
class Opens:
    """names: of the users. user: (n,) indices into them. time_ms: (n,), in order of time."""

    names: list[str]
    user: NDArray[np.int64]
    time_ms: NDArray[np.int64]


def read_opens(path: Path) -> Opens:
    """Read and check the file; rows may be in any order.

    Raises:
        ConfigurationError: unreadable, a column is missing, or a row's value is none.
    """
    frame = _read(path)
    missing = [name for name in OPEN_COLUMNS if name not in frame.columns]
    if missing:
        msg = f"{path} lacks {', '.join(missing)}; it has {', '.join(frame.columns) or 'nothing'}"
        raise ConfigurationError(msg)
    if not len(frame):
        msg = f"{path} has no rows; there is nothing to predict"
        raise ConfigurationError(msg)
    users = frame["user"].cast(pl.String)
    if users.dtype == pl.String:
        users = users.str.strip_chars()
    _refuse(path, frame["user"], (users.is_null() | (users == "")).fill_null(value=True), "a user")
    times = _times(frame["opened_at"])
    wrong = (times.is_null() | (times < MIN_TIME_MS) | (times > MAX_TIME_MS)).fill_null(value=True)
    _refuse(path, frame["opened_at"], wrong, "a time between 2000 and 2100")
    names, user = np.unique(users.to_numpy(), return_inverse=True)
    time_ms = times.to_numpy().astype(np.int64)
    order = np.lexsort([user.reshape(-1), time_ms])
    return Opens([str(name) for name in names], user.reshape(-1)[order], time_ms[order])


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"cannot read {path} as CSV or Parquet: {error}; give a file with user, opened_at"
        raise ConfigurationError(msg) from error


def _times(column: pl.Series) -> pl.Series:
    """Milliseconds since 1970, null where a value is no time."""
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("ms")
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("ms")).dt.epoch("ms")
    if column.dtype.is_numeric():
        whole = column.cast(pl.Int64, strict=False)
        return (
            pl.select(pl.when(whole < _MILLISECONDS_FROM).then(whole * 1000).otherwise(whole))
            .to_series()
            .rename(column.name)
        )
    return _parsed(column.cast(pl.String).str.strip_chars())


def _parsed(text: pl.Series) -> pl.Series:
    """Text as whole numbers, times with an offset, then times without one."""
    plain = text.str.replace(r"^(\d{4}-\d{2}-\d{2})T", "${1} ")
    plain = plain.str.replace(r"\s*(Z|UTC)$", "+00:00")
    offset = plain.str.contains(r"[+-]\d{2}:?\d{2}$") & plain.str.contains(":")
    found = _times(text.cast(pl.Int64, strict=False))
    for pattern in ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"):
        zoned = plain.set(~offset, None).str.to_datetime(
            pattern, time_unit="ms", time_zone="UTC", strict=False
        )
        found = _first(found, zoned)
    for pattern in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        bare = plain.str.to_datetime(pattern, time_unit="ms", strict=False)
        found = _first(found, bare)
    return found


def _first(found: pl.Series, other: pl.Series) -> pl.Series:
    """`found`, and where it is null the other's milliseconds."""
    return pl.select(pl.coalesce(found, other.dt.epoch("ms"))).to_series()


def _refuse(path: Path, column: pl.Series, wrong: pl.Series, wanted: str) -> None:
    """Name the first row that is wrong, counted from 1, the heading left out."""
    if not wrong.any():
        return
    row = int(wrong.arg_true()[0])
    seen: Any = column[row]
    msg = (
        f"row {row + 1} of {path}: column {column.name!r} holds {seen!r}, not {wanted}; "
        f"{int(wrong.sum())} rows are wrong in it; mend or drop them"
    )
    raise ConfigurationError(msg)
