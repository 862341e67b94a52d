"""What became of each message of a log: whether, when, and what had to be assumed about it.

A fact may be told by a column that says whether, by one that says when, or by both; then they must
agree. Where only "whether" is told, the time is drawn, within the horizon:

- opened, or clicked without being opened: as `delays.OPENING`, an open before its click
- clicked after an open: as `delays.CLICKING`
- bounced: a minute after the send; all else: a minute after the last of send, open and click

Drawn times decide which of two events comes first, and whether an open was prompt; no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.connectors.delays import CLICKING, OPENING, truncated_lognormal
from sendtide.connectors.mapping import FACTS, HistoryMapping
from sendtide.connectors.sieve import Sieve
from sendtide.connectors.tables import NEVER, as_numbers, as_times
from sendtide.events.user_agents import is_machine

__all__ = ["Facts", "read_facts"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MINUTE_MS: Final = 60_000
_MOST_REVENUE: Final = 10_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Columns of n messages.

    at_ms: when each of FACTS happened, NEVER where it did not. drawn: whether the time of the open
    is drawn. machine: whether the open is a machine's. revenue: of the conversion, 0 if none.
    """

    at_ms: dict[str, I64]
    drawn: Mask
    machine: Mask
    revenue: F64

    def of(self, rows: I64) -> Facts:
        """These rows."""
        return Facts(
            at_ms={fact: times[rows] for fact, times in self.at_ms.items()},
            drawn=self.drawn[rows],
            machine=self.machine[rows],
            revenue=self.revenue[rows],
        )


def read_facts(
    frame: pl.DataFrame,
    mapping: HistoryMapping,
    sieve: Sieve,
    sent_at_ms: I64,
    horizon_ms: int,
    seed: int,
) -> Facts:
    """Read all facts of n rows; `sieve` hears of rows that contradict themselves."""
    reader = _Reader(frame, mapping, sieve, sent_at_ms)
    told = {fact: reader.fact(fact) for fact in FACTS}
    machine, revenue = reader.machine(), reader.revenue()
    opened, opened_at_ms = told["opened"]
    drawn = opened & (opened_at_ms == NEVER)
    sieve.remark(drawn, "open_time_drawn", "opened, but no time says when: drawn")
    at_ms = _with_drawn(told, sent_at_ms, horizon_ms, np.random.default_rng([seed, 20_190]))
    for fact, times in at_ms.items():
        late = (times != NEVER) & (times - sent_at_ms >= horizon_ms)
        meaning = f"{fact} after the horizon: counts as not {fact}"
        sieve.remark(late, f"{fact}_late", meaning)
    return Facts(
        at_ms=at_ms,
        drawn=drawn,
        machine=machine & opened,
        revenue=revenue,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Columns of facts out of a frame; every method tells `sieve` of what it cannot read."""

    frame: pl.DataFrame
    mapping: HistoryMapping
    sieve: Sieve
    sent_at_ms: I64

    def fact(self, name: str) -> tuple[Mask, I64]:
        """Whether it happened, and when; NEVER where that is not told."""
        flag, at_ms = self.flag(name), self.when(f"{name}_at")
        if at_ms is None:
            at_ms = np.full(len(self.frame), NEVER)
            return (at_ms != NEVER) if flag is None else flag, at_ms
        if flag is None:
            return at_ms != NEVER, at_ms
        against = ~flag & (at_ms != NEVER)
        meaning = f"a time says {name}, a flag says not"
        column = self._columns(f"{name}_at")[0]
        self.sieve.refuse(against, f"{name}_contradiction", meaning, column)
        return flag, at_ms

    def flag(self, field: str) -> Mask | None:
        """Whether any of the field's columns says yes; None if it has none."""
        columns = self._columns(field)
        out = np.zeros(len(self.frame), bool)
        for column in columns:
            found = as_numbers(column)
            unread = (~_empty(column) & ~found.is_finite().fill_null(value=False)).to_numpy()
            meaning = f"{field} is neither a truth value nor a count"
            self.sieve.refuse(unread, f"{field}_unreadable", meaning, column)
            out |= (found > 0).fill_null(value=False).to_numpy()
        return out if columns else None

    def when(self, field: str) -> I64 | None:
        """Times of a field, NEVER where empty; None if it has no column."""
        for column in self._columns(field)[:1]:
            times = self.mapping.times
            found = as_times(column, zone=times.time_zone, pattern=times.format, unit=times.unit)
            unread = (found.is_null() & ~_empty(column)).to_numpy()
            self.sieve.refuse(unread, f"{field}_unreadable", f"{field} is no time", column)
            at_ms = found.set(_empty(column), NEVER).fill_null(NEVER).to_numpy().astype(np.int64)
            early = (at_ms != NEVER) & (at_ms < self.sent_at_ms)
            self.sieve.refuse(early, f"{field}_early", f"{field} is before it was sent", column)
            return at_ms
        return None

    def machine(self) -> Mask:
        """(n,) whether a machine opened it, by a flag or by its user agent."""
        flag = self.flag("machine_open")
        out = np.zeros(len(self.frame), bool) if flag is None else flag
        for column in self._columns("user_agent"):
            agents = column.cast(pl.String).fill_null("")
            machines = [agent for agent in agents.unique() if is_machine(agent)]
            out |= agents.is_in(machines).to_numpy()
        return out

    def revenue(self) -> F64:
        """(n,) revenue, 0 where empty."""
        for column in self._columns("revenue")[:1]:
            found = as_numbers(column).set(_empty(column), 0.0).fill_null(np.nan).to_numpy()
            wrong = ~((found >= 0) & (found <= _MOST_REVENUE))
            meaning = f"revenue is no number from 0 to {_MOST_REVENUE:,.0f}"
            self.sieve.refuse(wrong, "revenue", meaning, column)
            return np.where(wrong, 0.0, found)
        return np.zeros(len(self.frame))

    def _columns(self, field: str) -> list[pl.Series]:
        return [self.frame[name] for name in self.mapping.names(field)]


def _empty(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(value=False)
    text = column.cast(pl.String).str.strip_chars().fill_null("")
    return text == ""


def _with_drawn(
    told: dict[str, tuple[Mask, I64]], sent_at_ms: I64, horizon_ms: int, rng: np.random.Generator
) -> dict[str, I64]:
    """Times of all facts: NEVER where one did not happen, drawn where it is not told when."""
    n = len(sent_at_ms)
    end_ms = np.full(n, horizon_ms - _MINUTE_MS)
    clicked_ms = told["clicked"][1] - sent_at_ms
    before_ms = np.where(told["clicked"][1] != NEVER, np.minimum(clicked_ms, end_ms), end_ms)
    opened = _filled(told["opened"], sent_at_ms + _delay_ms(rng, OPENING, before_ms))
    after_ms = np.where(opened != NEVER, opened - sent_at_ms, 0)
    soon, late = (_delay_ms(rng, how, end_ms - after_ms) for how in (CLICKING, OPENING))
    follows = np.where(opened != NEVER, soon, late)
    clicked = _filled(told["clicked"], sent_at_ms + after_ms + follows)
    last = np.maximum(sent_at_ms, np.maximum(opened, clicked)) + _MINUTE_MS
    last = np.minimum(last, sent_at_ms + horizon_ms - 1)
    rest = {
        fact: _filled(told[fact], sent_at_ms + _MINUTE_MS if fact == "bounced" else last)
        for fact in FACTS[2:]
    }
    return {"opened": opened, "clicked": clicked, **rest}


def _filled(told: tuple[Mask, I64], drawn_ms: I64) -> I64:
    happened, at_ms = told
    return np.where(happened & (at_ms == NEVER), drawn_ms, at_ms)


def _delay_ms(rng: np.random.Generator, how: tuple[float, float], limit_ms: I64) -> I64:
    """Delays below the limits, of at least a millisecond."""
    limit_s = np.maximum(limit_ms, 1) / 1000
    drawn_s = truncated_lognormal(rng.random(len(limit_ms)), *how, limit_s)
    return np.maximum((drawn_s * 1000).astype(np.int64), 1)
