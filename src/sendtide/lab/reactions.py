"""What becomes of sends: engagements drawn from the truth, waiting for their time to come."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.messages import ENGAGEMENT_KINDS
from sendtide.events.wire import ABSENT
from sendtide.lab.agents import agent_of
from sendtide.lab.population import Population
from sendtide.lab.scenario import Scenario

__all__ = ["Engagements", "Queue", "Reactions"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_KIND: Final = {name: code for code, name in enumerate(ENGAGEMENT_KINDS)}
_MAX_DELAY_S: Final = 7 * 86_400.0 - 60.0
_NEAR_MS: Final = 60_000


@dataclass(slots=True, kw_only=True)
class Engagements:
    """Columns of length n.

    time_ms: event time. send: ordinal of the send. kind: index into ENGAGEMENT_KINDS.
    machine: 0 false, 1 true, ABSENT unknown. agent: place in AGENTS or ABSENT. revenue: hundredths
    or ABSENT.
    """

    time_ms: I64
    send: I64
    recipient: I64
    kind: I64
    machine: I64
    agent: I64
    revenue: I64

    def __len__(self) -> int:
        return len(self.time_ms)

    def select(self, rows: NDArray[np.intp] | Mask) -> Engagements:
        """Return these rows only."""
        return Engagements(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def concatenate(cls, parts: list[Engagements]) -> Engagements:
        """All rows of `parts`, one after another."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        return cls(**{name: np.concatenate(arrays) for name, arrays in columns.items()})

    @classmethod
    def none(cls) -> Engagements:
        """Zero rows."""
        return cls(**{f.name: np.zeros(0, np.int64) for f in fields(cls)})


class Reactions:
    """Draws engagements; delays are lognormal, divided by the reaction speed.

    Human opens: median 1 h, sigma 1.6, cut at just below a week. Machine opens: 1 to 9 s.
    Clicks follow a human open by a median of 40 s; conversions follow clicks.
    """

    def __init__(self, scenario: Scenario, population: Population) -> None:
        self._scenario = scenario
        self._population = population

    def draw(
        self,
        rng: np.random.Generator,
        send: I64,
        recipient: I64,
        sent_at_ms: I64,
        p_open: F64,
        speed: float = 1.0,
    ) -> Engagements:
        """Return everything that will happen to these sends, in no particular order."""
        n, scenario = len(send), self._scenario
        bounced = rng.random(n) < scenario.bounce_share
        opened = (rng.random(n) < p_open) & ~bounced
        machine = self._population.machine[recipient] & ~bounced & (rng.random(n) < 0.9)
        clicked = opened & (rng.random(n) < 0.15)
        converted = clicked & (rng.random(n) < 0.1)
        unsubscribed = opened & (rng.random(n) < 0.004)
        complained = (rng.random(n) < 0.0005) & ~bounced
        arrival_s = 0.5 + rng.gamma(2.0, 1.0, n)
        open_s = np.minimum(arrival_s + self._lognormal(rng, n, 3600.0, 1.6), _MAX_DELAY_S)
        click_s = np.minimum(open_s + self._lognormal(rng, n, 40.0, 0.8), _MAX_DELAY_S)
        buy_s = click_s + self._lognormal(rng, n, 600.0, 1.0)
        marked = np.where(rng.random(n) < scenario.machine_marked_share, 1, ABSENT)
        revenue = np.round(100 * self._lognormal(rng, n, 45.0, 0.7)).astype(np.int64)
        unknown, absent = np.where(rng.random(n) < 0.5, 0, ABSENT), np.full(n, ABSENT)
        opens, clicks = agent_of(recipient), agent_of(recipient, click=True)
        fetches = agent_of(recipient, machine=True)
        happenings = [
            ("bounce", bounced, arrival_s, absent, absent, absent),
            ("delivered", ~bounced, arrival_s, absent, absent, absent),
            ("open", machine, arrival_s + 1 + 8 * rng.random(n), marked, fetches, absent),
            ("open", opened, open_s, unknown, opens, absent),
            ("click", clicked, click_s, unknown, clicks, absent),
            ("conversion", converted, buy_s, absent, absent, revenue),
            ("unsubscribe", unsubscribed, open_s + 20, absent, absent, absent),
            ("complaint", complained, open_s + 5, absent, absent, absent),
        ]
        names, parts = [field.name for field in fields(Engagements)], []
        for kind, mask, delay_s, *told in happenings:
            rows = np.flatnonzero(mask)
            delay_ms = np.maximum(delay_s[rows] * (1000 / speed), 1).astype(np.int64)
            who = send[rows], recipient[rows], np.full(len(rows), _KIND[kind])
            columns = sent_at_ms[rows] + delay_ms, *who, *(column[rows] for column in told)
            parts.append(Engagements(**dict(zip(names, columns, strict=True))))
        return Engagements.concatenate(parts)

    @staticmethod
    def _lognormal(rng: np.random.Generator, n: int, median: float, sigma: float) -> F64:
        return median * np.exp(sigma * rng.standard_normal(n))


class Queue:
    """Engagements waiting for their time.

    Those of the next minute are kept apart from the rest, so that a live tick of 0.1 s does not
    look through a week of them. Limit: 56 bytes for each one waiting.
    """

    def __init__(self) -> None:
        self._near = Engagements.none()
        self._far: list[Engagements] = []
        self._near_end_ms = 0

    def __len__(self) -> int:
        return len(self._near) + sum(map(len, self._far))

    def put(self, fresh: Engagements) -> None:
        """Let these wait too."""
        near = fresh.time_ms < self._near_end_ms
        self._near = Engagements.concatenate([self._near, fresh.select(near)])
        self._far.append(fresh.select(~near))

    def take(self, end_ms: int) -> Engagements:
        """Take out everything before `end_ms`, in order of time."""
        if end_ms > self._near_end_ms and self._far:
            self._near_end_ms = end_ms + _NEAR_MS
            self._far, far = [], Engagements.concatenate(self._far)
            self.put(far)
        now = self._near.time_ms < end_ms
        due, self._near = self._near.select(now), self._near.select(~now)
        return due.select(np.argsort(due.time_ms, kind="stable"))
