"""What each client's control group did, beside all others: counts, and what may be said of them.

At label time every exposure counts once, by client, arm and group of recipients: sends, opens,
clicks. Sums of integers: they do not depend on the order of rows, on blocks, or on which partition
counted what. Explored sends are of the rest: what is judged is all that is done to recipients
outside the control group, its exploration included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.events.messages import MetricMessage
from sendtide.monitoring.lift import CONTROL, GROUPS, REST, Verdict, judge_lift

__all__ = ["LIFT_CONVENTION", "LIFT_METRICS", "LiftCounts", "LiftSummary", "lift_message"]

I64 = NDArray[np.int64]

LIFT_CONVENTION: Final = "lift.confidence-sequence"
LIFT_METRICS: Final = ("lift.open", "lift.click")
_SCALES: Final = (0.02, 0.005)
"""Lifts of the open and of the click rate that one expects; fixed, or looking would bias them."""
_CONTROL_CODE: Final = 1
"""Of the examples' column `arm`."""


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

    Attributes:
        counts: (clients, 3, 2, GROUPS) sends, opens, clicks by arm and group.
        span_ms: (clients, 2) times of the oldest and the newest label; 0 without any.
    """

    def __init__(self) -> None:
        self.counts: I64 = np.zeros((0, 3, 2, GROUPS), np.int64)
        self.span_ms: I64 = np.zeros((0, 2), np.int64)

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        self.counts = with_rows(self.counts, clients)
        self.span_ms = with_rows(self.span_ms, clients)

    def add(self, rows: NDArray[np.integer[Any]], columns: Mapping[str, NDArray[Any]]) -> None:
        """Count n exposures with labels.

        rows: (n,) of clients. columns: arm, group (below GROUPS), opened, clicked, time_ms of the
        label; (n,) each.
        """
        if not len(rows):
            return
        arm = np.where(columns["arm"] == _CONTROL_CODE, CONTROL, REST)
        flat = (rows.astype(np.int64) * 2 + arm) * GROUPS + columns["group"]
        cells = len(self.counts) * 2 * GROUPS
        happened = np.ones(len(rows), bool), columns["opened"] != 0, columns["clicked"] != 0
        for fact, which in enumerate(happened):
            found = np.bincount(flat[which], minlength=cells)
            self.counts[:, fact] += found.reshape(-1, 2, GROUPS)
        times = columns["time_ms"].astype(np.int64)
        oldest = np.where(self.span_ms[:, 0] == 0, np.iinfo(np.int64).max, self.span_ms[:, 0])
        np.minimum.at(oldest, rows, times)
        seen = oldest != np.iinfo(np.int64).max
        self.span_ms[seen, 0] = oldest[seen]
        np.maximum.at(self.span_ms[:, 1], rows, times)

    def merge(self, other: LiftCounts) -> None:
        """Add what another has counted of the same rows."""
        self.grow(len(other.counts))
        self.counts[: len(other.counts)] += other.counts
        mine, its = self.span_ms[: len(other.span_ms)], other.span_ms
        older = (its[:, 0] != 0) & ((mine[:, 0] == 0) | (its[:, 0] < mine[:, 0]))
        mine[older, 0] = its[older, 0]
        np.maximum(mine[:, 1], its[:, 1], out=mine[:, 1])

    def summaries(self, row: int, client_id: str) -> list[LiftSummary]:
        """Opens and clicks of one client; nothing before it has a label of either arm."""
        sends, *facts = self.counts[row]
        total = sends.sum(axis=1)
        if not total.all():
            return []
        found = []
        for metric, hits, scale in zip(LIFT_METRICS, facts, _SCALES, strict=True):
            judged = judge_lift(sends[None], hits[None], scale)
            ends = [float(part[0]) for part in (judged.difference, judged.low, judged.high)]
            lift, low, high = (None if np.isnan(end) else end for end in ends)
            found.append(
                LiftSummary(
                    client_id=client_id,
                    metric=metric,
                    verdict=judged.verdicts()[0],
                    lift=lift,
                    low=low,
                    high=high,
                    rest_rate=float(judged.rates[0, REST]),
                    control_rate=float(judged.rates[0, CONTROL]),
                    rest_sends=int(total[REST]),
                    control_sends=int(total[CONTROL]),
                    since_ms=int(self.span_ms[row, 0]),
                    as_of_ms=int(self.span_ms[row, 1]),
                )
            )
        return found

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of the tables, cut to the rows in use."""
        return {
            "counts": self.counts[:clients].reshape(clients, -1).copy(),
            "span_ms": self.span_ms[:clients].copy(),
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        self.counts = columns["counts"].reshape(-1, 3, 2, GROUPS).copy()
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
