"""Recipients' records and answers to requests, out of live counts and the models' newest states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names, RequestBatch
from sendtide.events.messages import CONTENT_FIELDS, PredictionMessage, SlotScore
from sendtide.events.records import (
    HOURS_PER_WEEK,
    RECIPIENT_LAYOUT,
    RECIPIENT_RECORD,
    TIERS,
    encode_scores,
)
from sendtide.recipients.partition import Live, RecipientPartition
from sendtide.recipients.tables import NONE

__all__ = ["Scorer", "answers", "records"]

F32 = NDArray[np.float32]
U64 = NDArray[np.uint64]

_HOUR_MS: Final = 3_600_000
_TOP_SLOTS: Final = 8


class Scorer(Protocol):
    """The models' read side (`models.ModelDirectory`)."""

    def slots(
        self, clients: U64, segments: U64, exposures: NDArray[Any], opens: NDArray[Any]
    ) -> tuple[F32, NDArray[np.uint8], F32, NDArray[np.uint32]]:
        """(n, 168) scores, tier codes, effective sends, model versions."""
        ...

    def propensities(
        self,
        clients: U64,
        times_ms: NDArray[np.int64],
        content: F32,
        history: Mapping[str, NDArray[Any]],
    ) -> F32:
        """(n, 5) chances at these times: open, click, unsubscribe, complaint, bounce."""
        ...


def _no_content(n: int) -> F32:
    return np.full((n, len(CONTENT_FIELDS)), np.nan, np.float32)


def records(
    state: RecipientPartition, rows: NDArray[np.int32], scorer: Scorer, epoch: int, offset: int
) -> tuple[U64, U64, NDArray[np.void]]:
    """Return (client hashes, (n, 2) recipient ids, RECIPIENT_RECORD rows) of recipients."""
    live = state.live(rows)
    scores, tiers, effective, versions = scorer.slots(
        live.client, live.segment, live.exposures, live.opens
    )
    out = np.zeros(len(rows), RECIPIENT_RECORD)
    out["layout"], out["tier"], out["model_version"] = RECIPIENT_LAYOUT, tiers, versions
    out["best_hour"] = scores.argmax(axis=1)
    out["event_time_ms"] = out["scored_at_ms"] = live.newest_ms
    out["applied_offset"], out["epoch"] = offset, epoch
    out["sends"], out["opens"] = live.history["sends"], live.history["opens"]
    out["effective_sends"] = effective
    chances = scorer.propensities(live.client, live.newest_ms, _no_content(len(rows)), live.history)
    out["open_probability"], out["propensities"] = chances[:, 0], chances[:, 1:]
    out["score_scale"], out["scores"] = encode_scores(scores)
    return live.client, live.ids, out


def _live_of(state: RecipientPartition, batch: RequestBatch, people: NDArray[np.int32]) -> Live:
    """Live counts of the people asked about; strangers have none."""
    known = people != NONE
    live = state.live(people[known])
    n = len(people)

    def spread(values: NDArray[Any], fill: float = 0) -> NDArray[Any]:
        out = np.full((n, *values.shape[1:]), fill, values.dtype)
        out[known] = values
        return out

    never = ("hours_since_send", "hours_since_open")
    return Live(
        client=batch.client,
        ids=batch.recipient,
        segment=np.where(batch.segment != 0, batch.segment, spread(live.segment)),
        zone=np.where(batch.zone != 0, batch.zone, spread(live.zone)),
        newest_ms=spread(live.newest_ms, -1),
        exposures=spread(live.exposures),
        opens=spread(live.opens),
        history={
            name: spread(column, np.nan if name in never else 0)
            for name, column in live.history.items()
        },
    )


def answers(
    state: RecipientPartition,
    batch: RequestBatch,
    people: NDArray[np.int32],
    scorer: Scorer,
    clients: Names,
    sources: Names,
) -> list[PredictionMessage]:
    """Answer requests: the earliest hour of the window with the highest score.

    `people`: (n,) row of each request's recipient, NONE for a stranger.
    """
    live = _live_of(state, batch, people)
    scores, tiers, effective, versions = scorer.slots(
        live.client, live.segment, live.exposures, live.opens
    )
    starts, _ = state.zones.local_hours(batch.window_start_ms, live.zone)
    chances = scorer.propensities(
        live.client, batch.event_time_ms, _no_content(len(batch)), live.history
    )
    out = []
    for i in range(len(batch)):
        slots = _slots(scores[i], int(starts[i]), batch, i)
        top = max(slots, key=lambda slot: (slot.open_probability, -slot.send_at_ms))
        out.append(
            PredictionMessage(
                source=sources[int(batch.source[i])],
                id=batch.ids[i],
                client_id=clients[int(batch.client[i])],
                recipient_id=f"{batch.recipient[i, 0]:016x}{batch.recipient[i, 1]:016x}",
                requested_at_ms=int(batch.event_time_ms[i]),
                send_at_ms=top.send_at_ms,
                open_probability=float(chances[i, 0]),
                slots=sorted(slots, key=lambda s: -s.open_probability)[:_TOP_SLOTS],
                tier=TIERS[int(tiers[i])],
                effective_sends=float(effective[i]),
                model_version=int(versions[i]),
                newest_event_ms=int(live.newest_ms[i]),
            )
        )
    return out


def _slots(scores: F32, start_hour: int, batch: RequestBatch, i: int) -> list[SlotScore]:
    """The window cut at whole hours, its first part from the window's start; at most a week."""
    start, end = int(batch.window_start_ms[i]), int(batch.window_end_ms[i])
    slots = []
    at = start
    for step in range(HOURS_PER_WEEK):
        hour = (start_hour + step) % HOURS_PER_WEEK
        slots.append(
            SlotScore(send_at_ms=at, hour_of_week=hour, open_probability=float(scores[hour]))
        )
        at = start - start % _HOUR_MS + (step + 1) * _HOUR_MS
        if at >= end:
            break
    return slots
