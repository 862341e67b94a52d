"""What each client's control group did, beside all others: counts, and what may be said of them.

At label time every exposure counts once, by client, arm and group of recipients: sends, opens,
clicks. Sums of integers: they do not depend on the order of rows, on blocks, or on which partition
counted what. Explored sends are of the rest: what is judged is all that is done to recipients
outside the control group, its exploration included; and it is what was meant for them: a send whose
time nobody asked for counts as well, in the arm of its recipient.

Counts are of one draw of the control group. When its share or salt changes they begin anew: pooled
over two shares, a season in which one of them held would pass for a lift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.events.examples import CONTROL_ARM, REST_ARM
from sendtide.events.hashing import GROUPS, hash_text
from sendtide.events.messages import MetricMessage
from sendtide.monitoring.lift import CONTROL, REST, Lift, Verdict, judge_lift

__all__ = ["LIFT_COLUMNS", "LIFT_CONVENTION", "LIFT_METRICS", "LiftCounts", "LiftSummary"]
__all__ += ["lift_message"]

I64 = NDArray[np.int64]

LIFT_CONVENTION: Final = "lift.confidence-sequence"
LIFT_COLUMNS: Final = ("arm", "group", "opened", "clicked", "time_ms")
"""Of the examples, what is counted."""
LIFT_METRICS: Final = ("lift.open", "lift.click")
_SCALES: Final = (0.02, 0.005)
"""Lifts of the open and of the click rate that one expects; fixed, or looking would bias them."""
_SENDS, _OPENS, _CLICKS = range(3)


@njit(cache=True)
def _count(
    rows: Any, arm: Any, group: Any, opened: Any, clicked: Any, time_ms: Any, counts: Any, span: Any
) -> None:
    for i in range(len(rows)):
        if arm[i] != REST_ARM and arm[i] != CONTROL_ARM:
            continue
        row, place = rows[i], CONTROL if arm[i] == CONTROL_ARM else REST
        counts[row, _SENDS, place, group[i]] += 1
        counts[row, _OPENS, place, group[i]] += opened[i] != 0
        counts[row, _CLICKS, place, group[i]] += clicked[i] != 0
        if span[row, 0] == 0 or time_ms[i] < span[row, 0]:
            span[row, 0] = time_ms[i]
        span[row, 1] = max(span[row, 1], time_ms[i])


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftSummary:
    """One client's rest against its control group.

    metric: one of LIFT_METRICS. lift, low, high: difference of rates, None with too few data; low
    and high hold at all times at once with 95%. since_ms, as_of_ms: times of the labels counted.
    """

    client_id: str
    metric: str
    verdict: Verdict
    lift: float | None
    low: float | None
    high: float | None
    rest_rate: float | None
    control_rate: float | None
    rest_sends: int
    control_sends: int
    since_ms: int
    as_of_ms: int


class LiftCounts:
    """Counts of a partition's clients; row 0 .. n - 1 as in the roster.

    Args:
        share, salt: by which the control group is drawn.

    Attributes:
        counts: (clients, 3, 2, GROUPS) sends, opens, clicks by arm and group.
        span_ms: (clients, 2) times of the oldest and the newest label; 0 without any.
    """

    def __init__(self, share: float, salt: str = "") -> None:
        self._draw = hash_text(f"{share!r} {salt}")
        self.counts: I64 = np.zeros((0, 3, 2, GROUPS), np.int64)
        self.span_ms: I64 = np.zeros((0, 2), np.int64)

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        self.counts = with_rows(self.counts, clients)
        self.span_ms = with_rows(self.span_ms, clients)

    def add(self, rows: NDArray[np.integer[Any]], columns: Mapping[str, NDArray[Any]]) -> None:
        """Count n exposures with labels; those of no known arm are left out.

        rows: (n,) of clients. columns: LIFT_COLUMNS, (n,) each; group below GROUPS.
        """
        _count(rows, *(columns[name] for name in LIFT_COLUMNS), self.counts, self.span_ms)

    def merge(self, other: LiftCounts) -> None:
        """Add what another has counted of the same rows."""
        self.grow(len(other.counts))
        self.counts[: len(other.counts)] += other.counts
        mine, its = self.span_ms[: len(other.span_ms)], other.span_ms
        older = (its[:, 0] != 0) & ((mine[:, 0] == 0) | (its[:, 0] < mine[:, 0]))
        mine[older, 0] = its[older, 0]
        np.maximum(mine[:, 1], its[:, 1], out=mine[:, 1])

    def summaries(self, rows: Sequence[int], names: Sequence[str]) -> list[LiftSummary]:
        """Opens and clicks of some clients; nothing of one before its first label.

        names: of all clients, by row.
        """
        told = [row for row in rows if self.span_ms[row, 1]]
        sends, *facts = self.counts[told].swapaxes(0, 1)
        judged = [
            judge_lift(sends, hits, scale) for hits, scale in zip(facts, _SCALES, strict=True)
        ]
        return [
            self._summary(place, row, names[row], metric, lift)
            for place, row in enumerate(told)
            for metric, lift in zip(LIFT_METRICS, judged, strict=True)
        ]

    def _summary(self, place: int, row: int, client: str, metric: str, judged: Lift) -> LiftSummary:
        """One client's out of the judgement of several."""
        ends = [float(part[place]) for part in (judged.difference, judged.low, judged.high)]
        lift, low, high = (None if np.isnan(end) else end for end in ends)
        sends = self.counts[row, _SENDS].sum(axis=-1).tolist()
        rates = judged.rates[place].tolist()
        return LiftSummary(
            client_id=client,
            metric=metric,
            verdict=judged.verdict(place),
            lift=lift,
            low=low,
            high=high,
            rest_rate=rates[REST] if sends[REST] else None,
            control_rate=rates[CONTROL] if sends[CONTROL] else None,
            rest_sends=sends[REST],
            control_sends=sends[CONTROL],
            since_ms=int(self.span_ms[row, 0]),
            as_of_ms=int(self.span_ms[row, 1]),
        )

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of the tables, cut to the rows in use."""
        return {
            "counts": self.counts[:clients].copy(),
            "span_ms": self.span_ms[:clients].copy(),
            "draw": np.array([self._draw], np.uint64),
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave, if it is of the same draw."""
        if columns["draw"].tolist() != [self._draw]:
            return
        self.counts = columns["counts"].copy()
        self.span_ms = columns["span_ms"].copy()


def lift_message(summary: LiftSummary) -> MetricMessage:
    """A summary for `ml.metrics`: value is the lift, references are the control's sends.

    How many labels were counted names the state, so a replay repeats the identifier.
    """
    labels = summary.rest_sends + summary.control_sends
    return MetricMessage(
        id=f"{summary.metric}:{labels}:{summary.client_id}",
        client_id=summary.client_id,
        metric=summary.metric,
        convention=LIFT_CONVENTION,
        value=summary.lift,
        n_reference=summary.control_sends,
        n_current=summary.rest_sends,
        window_start_ms=summary.since_ms,
        window_end_ms=summary.as_of_ms,
        as_of_ms=summary.as_of_ms,
    )
