"""From stored rows to what readers are told: ages, staleness, sums. Time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import numpy as np

from sendtide.events.errors import CorruptData
from sendtide.events.records import CONTROL_FLAG, TIERS, decode_deviations, decode_scores, intervals
from sendtide.sinks.contract import RecipientView
from sendtide.sinks.summaries import ClientLift, ModelMetrics, ModelSummary

__all__ = ["DEFAULT_STALE_AFTER_S", "explain", "explain_lift", "judged", "recipient_view", "summed"]

DEFAULT_STALE_AFTER_S: Final = 7 * 86_400.0
"""A week: the shortest cycle in the scores. Older, and every hour has been lived through unseen."""
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def judged(fields: dict[str, Any], now_ms: int, stale_after_s: float) -> ModelMetrics:
    """A stored model hash with its freshness at `now_ms`.

    Raises:
        CorruptData: fields of another layout.
    """
    try:
        if isinstance(fields.get("hour_scores"), str):
            fields = {**fields, "hour_scores": msgspec.json.decode(fields["hour_scores"])}
        summary = msgspec.convert(fields, ModelSummary, strict=False)
    except msgspec.DecodeError as error:
        msg = f"model summary {fields!r:.200} cannot be read: {error}"
        raise CorruptData(msg) from error
    freshness_s = max(0.0, (now_ms - summary.newest_event_ms) / 1000)
    return ModelMetrics(freshness_s=freshness_s, stale=freshness_s > stale_after_s, summary=summary)


def summed(fields: Iterable[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """`<topic>/<partition>:<count>` fields, added up over partitions."""
    topics: dict[str, dict[str, int]] = {}
    for field, number in fields:
        place, _, name = field.rpartition(":")
        counts = topics.setdefault(place.rpartition("/")[0], {})
        counts[name] = counts.get(name, 0) + number
    return topics


def recipient_view(
    client: str, recipient_id: str, record: np.void, now_ms: int, stale_after_s: float
) -> RecipientView:
    """One record for people."""
    age_s = max(0.0, (now_ms - int(record["event_time_ms"])) / 1000)
    records = np.array([record])
    scores = decode_scores(records)
    low, high = intervals(scores, decode_deviations(records))
    return RecipientView(
        client_id=client,
        recipient_id=recipient_id,
        tier=TIERS[int(record["tier"])],
        best_hour=int(record["best_hour"]),
        open_probability=float(record["open_probability"]),
        sends=int(record["sends"]),
        opens=int(record["opens"]),
        effective_sends=float(record["effective_sends"]),
        model_version=int(record["model_version"]),
        event_time_ms=int(record["event_time_ms"]),
        scored_at_ms=int(record["scored_at_ms"]),
        applied_offset=int(record["applied_offset"]),
        epoch=int(record["epoch"]),
        age_s=age_s,
        stale=age_s > stale_after_s,
        scores=scores[0].tolist(),
        low=low[0].tolist(),
        high=high[0].tolist(),
        control=bool(record["flags"] & CONTROL_FLAG),
    )


def _whose(tier: str) -> str:
    return "an assumed population" if tier == "prior" else f"the history of the {tier}"


def explain(view: RecipientView) -> str:
    """Two or three sentences a person can read."""
    day, hour = divmod(view.best_hour, 24)
    age_h = view.age_s / 3600
    aged = "STALE: " if view.stale else ""
    group = " Of the control group: send to it at any hour of the window." if view.control else ""
    return (
        f"Best hour {_DAYS[day]} {hour:02d}:00 local time, open probability "
        f"{view.open_probability:.1%}, by its hours {view.low[view.best_hour]:.1%} to "
        f"{view.high[view.best_hour]:.1%}, from {_whose(view.tier)} "
        f"({view.opens} opens of {view.sends} sends, {view.effective_sends:.1f} effective). "
        f"{aged}newest event {age_h:.1f} h ago, model version {view.model_version}.{group}"
    )


def explain_lift(row: ClientLift) -> str:
    """A control group's verdict in words: "no lift yet: between -0.4 and +0.9 points, ..."."""
    sends = f"{row.control_sends:,} control sends"
    if row.lift is None or row.low is None or row.high is None:
        return f"{row.verdict}: too little to tell, {sends}"
    ends = f"between {100 * row.low:+.1f} and {100 * row.high:+.1f} points"
    if row.verdict == "no lift yet":
        return f"{row.verdict}: {ends}, {sends}"
    return f"{row.verdict}: {100 * row.lift:+.1f} points, {ends}, {sends}"
