"""Freshness of each client's sources, once a window, as messages of `ml.metrics`.

Windows are of the worker's clock: how fresh data are is a question about now. Each partition says
what it saw; a reader takes the newest event and the worst lag over partitions, and adds up `late`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sendtide.events.messages import MetricMessage
from sendtide.sinks import SourceFreshness

__all__ = ["SOURCES_PER_WINDOW", "freshness_metrics"]

SOURCES_PER_WINDOW: Final = 1_000
"""Of a partition, those with most events; Redis has all. Four messages each."""
_LAG_CONVENTION: Final = "arrival-minus-event"


def freshness_metrics(
    rows: Sequence[SourceFreshness], events: Sequence[int], start_ms: int, end_ms: int
) -> list[MetricMessage]:
    """Age of the newest event, median and tails of the lag, of the sources with most events.

    Args:
        rows: as seen when the window ended.
        events: of each row, in the window.
        start_ms: of the window.
        end_ms: of the window.
    """
    busiest = sorted(zip(events, range(len(rows)), strict=True), reverse=True)[:SOURCES_PER_WINDOW]
    return [
        MetricMessage(
            id=f"{metric}:{start_ms}:{row.partition}:{row.client_id}:{row.source}"[:128],
            client_id=row.client_id,
            feature=row.source,
            metric=metric,
            convention=convention,
            value=value,
            partition=row.partition,
            n_current=count,
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            as_of_ms=end_ms,
        )
        for count, place in busiest
        for row in (rows[place],)
        for metric, convention, value in (
            ("freshness-s", None, (end_ms - row.newest_event_ms) / 1000),
            ("lag-p50-s", _LAG_CONVENTION, row.lag_p50_s),
            ("lag-p95-s", _LAG_CONVENTION, row.lag_p95_s),
            ("lag-p99-s", _LAG_CONVENTION, row.lag_p99_s),
        )
    ]
