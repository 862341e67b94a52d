"""Recipients' records and answers to requests, out of live counts and the models' newest states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names, RequestBatch
from sendtide.events.hashing import in_control
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.events.predictions import LISTED_SLOTS, NO_SLOT, Predictions
from sendtide.events.records import (
    CONTROL_FLAG,
    HISTORY_FIELDS,
    HOURS_PER_DAY,
    RECIPIENT_LAYOUT,
    RECIPIENT_RECORD,
    SlotScores,
    encode_deviations,
    encode_scores,
    interval,
)
from sendtide.recipients.outcome import Live
from sendtide.recipients.partition import RecipientPartition
from sendtide.recipients.settings import PolicySettings
from sendtide.recipients.slots import best_slots, slot_times
from sendtide.recipients.tables import NONE

__all__ = ["Scorer", "answers", "records"]

F32 = NDArray[np.float32]
U64 = NDArray[np.uint64]


class Scorer(Protocol):
    """The models' read side (`models.ModelDirectory`)."""

    def slots(self, clients: U64, segments: U64, evidence: F32) -> SlotScores:
        """Scores of n recipients out of their (n, EVIDENCE) evidence."""
        ...

    def choose(
        self,
        clients: U64,
        segments: U64,
        evidence: F32,
        scores: F32,
        windows: tuple[NDArray[np.uint8], NDArray[np.int64]],
        controlled: NDArray[np.bool_],
        shares: tuple[float, float],
        keys: U64,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]:
        """Slots in their windows, probabilities of these, and arms' codes, of n requests."""
        ...

    def propensities(
        self,
        clients: U64,
        times_ms: NDArray[np.int64],
        content: F32,
        history: Mapping[str, NDArray[Any]],
        targets: int = 5,
    ) -> F32:
        """(n, targets) chances at these times: open, click, unsubscribe, complaint, bounce."""
        ...


def _no_content(n: int) -> F32:
    return np.full((n, len(CONTENT_FIELDS)), np.nan, np.float32)


def records(
    live: Live, policy: PolicySettings, scorer: Scorer, epoch: int, offset: int
) -> NDArray[np.void]:
    """RECIPIENT_RECORD rows of recipients. Reads no state, so it may run beside what changes it."""
    found = scorer.slots(live.client, live.segment, live.evidence)
    n = len(live.client)
    out = np.zeros(n, RECIPIENT_RECORD)
    out["layout"], out["tier"] = RECIPIENT_LAYOUT, found.tiers
    out["flags"] = _controlled(policy, live) * CONTROL_FLAG
    out["model_version"] = found.versions
    out["best_hour"] = found.scores.argmax(axis=1)
    out["event_time_ms"] = out["scored_at_ms"] = live.newest_ms
    out["applied_offset"], out["epoch"] = offset, epoch
    out["segment"] = live.segment
    for name in HISTORY_FIELDS:
        out[name] = live.history[name]
    out["effective_sends"] = found.effective
    chances = scorer.propensities(live.client, live.newest_ms, _no_content(n), live.history)
    out["open_probability"], out["propensities"] = chances[:, 0], chances[:, 1:]
    out["score_scale"], out["scores"] = encode_scores(found.scores)
    out["deviations"] = encode_deviations(found.deviations)
    return out


def _controlled(policy: PolicySettings, live: Live) -> NDArray[np.bool_]:
    return in_control(live.client, live.ids, policy.control_salt, policy.control_share)


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
        evidence=spread(live.evidence),
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
) -> Predictions:
    """Answer requests by the state's policy: a slot of the window each, and with what probability.

    `people`: (n,) row of each request's recipient, NONE for a stranger.
    """
    live = _live_of(state, batch, people)
    found = scorer.slots(live.client, live.segment, live.evidence)
    times, starts = slot_times(batch.window_start_ms, batch.window_end_ms)
    # Each slot's own local time, so that a change of clocks within the window counts.
    hours, _ = state.zones.local_hours(times, np.repeat(live.zone, np.diff(starts)))
    slots, propensity, arm = scorer.choose(
        live.client,
        live.segment,
        live.evidence,
        found.scores,
        (hours, starts),
        _controlled(state.policy, live),
        (state.policy.control_share, state.policy.explore_share),
        batch.identity,
    )
    chosen, rows = hours[starts[:-1] + slots], np.arange(len(batch))
    nothing = _no_content(len(batch))
    chances = scorer.propensities(live.client, batch.event_time_ms, nothing, live.history, 1)
    scores, deviations = found.scores[rows, chosen], found.deviations[rows, chosen % HOURS_PER_DAY]
    return Predictions(
        sources=sources,
        clients=clients,
        ids=batch.ids,
        source=batch.source,
        client=batch.client,
        recipient=batch.recipient,
        requested_at_ms=batch.event_time_ms,
        send_at_ms=times[starts[:-1] + slots],
        open_probability=chances[:, 0],
        slot_probability=scores,
        interval=np.stack(interval(scores, deviations), axis=1),
        arm=arm,
        propensity=propensity,
        **_listed(times, hours, starts, found.scores),
        tier=found.tiers,
        effective_sends=found.effective,
        model_version=found.versions,
        newest_event_ms=live.newest_ms,
    )


def _listed(
    times: NDArray[np.int64], hours: NDArray[np.uint8], starts: NDArray[np.int64], scores: F32
) -> dict[str, NDArray[Any]]:
    """The slots of each window with the highest scores, (n, LISTED_SLOTS) each."""
    best = best_slots(hours, starts, scores, LISTED_SLOTS)
    there = best >= 0
    places = np.where(there, best + starts[:-1, None], 0)
    listed = np.where(there, hours[places], NO_SLOT)
    return {
        "slot_times": np.where(there, times[places], NO_SLOT),
        "slot_hours": listed,
        "slot_scores": np.take_along_axis(scores, np.maximum(listed, 0), axis=1),
    }
