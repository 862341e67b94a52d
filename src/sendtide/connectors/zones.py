"""Time zones of a log's recipients: IANA names, or offsets from UTC, as hashes of zone names."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.connectors.mapping import HistoryMapping
from sendtide.connectors.sieve import Sieve
from sendtide.connectors.tables import as_numbers
from sendtide.events.hashing import hash_text
from sendtide.events.time import known_zones

__all__ = ["zone_hashes", "zone_of_offset"]

U64 = NDArray[np.uint64]

_UNIT_S: Final = {"seconds": 1, "minutes": 60, "hours": 3600}
_BETWEEN: Final = {
    -34_200: "Pacific/Marquesas",
    16_200: "Asia/Kabul",
    19_800: "Asia/Kolkata",
    20_700: "Asia/Kathmandu",
    23_400: "Asia/Yangon",
    31_500: "Australia/Eucla",
    34_200: "Australia/Darwin",
}
"""Zones between whole hours that kept their offset, in seconds, and have no summer time now."""
_LOWEST, _HIGHEST = -12 * 3600, 14 * 3600


def zone_of_offset(seconds: float) -> str | None:
    """Name of a zone that is always so far from UTC; None if there is none."""
    if not _LOWEST <= seconds <= _HIGHEST:
        return None
    if seconds % 3600 == 0:
        hours = int(seconds // 3600)
        # Signs of these names are reversed, as POSIX has them.
        return f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"
    return _BETWEEN.get(int(seconds))


def zone_hashes(frame: pl.DataFrame, mapping: HistoryMapping, sieve: Sieve) -> U64:
    """(n,) hash of each row's zone: by name, else by offset, else the mapping's own."""
    usual = np.uint64(hash_text(mapping.constants.time_zone))
    out = np.full(len(frame), usual, np.uint64)
    for name in mapping.names("time_zone")[:1]:
        return _named(frame[name], sieve, out)
    for name in mapping.names("utc_offset")[:1]:
        seconds = as_numbers(frame[name]) * _UNIT_S[mapping.times.utc_offset_unit]
        return _offset(seconds, sieve, out)
    return out


def _named(column: pl.Series, sieve: Sieve, out: U64) -> U64:
    text = column.cast(pl.String).str.strip_chars().fill_null("")
    names, known = text.unique().to_list(), known_zones()
    codes = {name: hash_text(name) for name in names}
    found = {name: code for name, code in codes.items() if code in known}
    hashes = text.replace_strict(found, default=0, return_dtype=pl.UInt64).to_numpy()
    given = hashes != 0
    out[given] = hashes[given]
    meaning = "no IANA time zone is given: taken on the mapping's clock"
    sieve.remark(~given, "time_zone", meaning)
    return out


def _offset(seconds: pl.Series, sieve: Sieve, out: U64) -> U64:
    values = seconds.fill_null(np.nan).to_numpy()
    given = np.zeros(len(out), bool)
    for value in np.unique(values[np.isfinite(values)]).tolist():
        zone = zone_of_offset(value)
        if zone is not None:
            mine = values == value
            out[mine], given[mine] = hash_text(zone), True
    meaning = "no offset of a zone is given: taken on the mapping's clock"
    sieve.remark(~given, "utc_offset", meaning)
    return out
