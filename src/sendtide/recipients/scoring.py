"""Recipients' records and answers to requests, out of live counts and the models' newest states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names, RequestBatch
from sendtide.events.hashing import ARMS, in_control
from sendtide.events.messages import CONTENT_FIELDS, PredictionMessage, SlotScore
from sendtide.events.records import (
    CONTROL_FLAG,
    HISTORY_FIELDS,
    HOURS_PER_WEEK,
    RECIPIENT_LAYOUT,
    RECIPIENT_RECORD,
    TIERS,
    SlotScores,
    encode_deviations,
    encode_scores,
    intervals,
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

    def slots(self, clients: U64, segments: U64, evidence: F32) -> SlotScores:
        """Scores of n recipients out of their (n, EVIDENCE) evidence."""
        ...

    def choose(
        self,
        clients: U64,
        segments: U64,
        evidence: F32,
        scores: F32,
        windows: Sequence[NDArray[np.int64]],
        controlled: NDArray[np.bool_],
        shares: tuple[float, float],
        keys: U64,
    ) -> list[tuple[int, float, int]]:
        """Slot in its window, probability of that, and arm's code, of n requests."""
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
    found = scorer.slots(live.client, live.segment, live.evidence)
    out = np.zeros(len(rows), RECIPIENT_RECORD)
    out["layout"], out["tier"] = RECIPIENT_LAYOUT, found.tiers
    out["flags"] = _controlled(state, live) * CONTROL_FLAG
    out["model_version"] = found.versions
    out["best_hour"] = found.scores.argmax(axis=1)
    out["event_time_ms"] = out["scored_at_ms"] = live.newest_ms
    out["applied_offset"], out["epoch"] = offset, epoch
    out["segment"] = live.segment
    for name in HISTORY_FIELDS:
        out[name] = live.history[name]
    out["effective_sends"] = found.effective
    chances = scorer.propensities(live.client, live.newest_ms, _no_content(len(rows)), live.history)
    out["open_probability"], out["propensities"] = chances[:, 0], chances[:, 1:]
    out["score_scale"], out["scores"] = encode_scores(found.scores)
    out["deviations"] = encode_deviations(found.deviations)
    return live.client, live.ids, out


def _controlled(state: RecipientPartition, live: Live) -> NDArray[np.bool_]:
    policy = state.policy
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
) -> list[PredictionMessage]:
    """Answer requests by the state's policy: a slot of the window each, and with what probability.

    `people`: (n,) row of each request's recipient, NONE for a stranger.
    """
    live = _live_of(state, batch, people)
    found = scorer.slots(live.client, live.segment, live.evidence)
    times = [_slot_times(batch, i) for i in range(len(batch))]
    windows = _windows(state, live, times)
    scored = live.client, live.segment, live.evidence, found.scores
    shares = state.policy.control_share, state.policy.explore_share
    decided = scorer.choose(*scored, windows, _controlled(state, live), shares, batch.identity)
    chosen = [hours[slot] for hours, (slot, _, _) in zip(windows, decided, strict=True)]
    nothing = _no_content(len(batch))
    chances = scorer.propensities(live.client, batch.event_time_ms, nothing, live.history)
    low, high = intervals(found.scores, found.deviations)
    return [
        PredictionMessage(
            source=sources[int(batch.source[i])],
            id=batch.ids[i],
            client_id=clients[int(batch.client[i])],
            recipient_id=f"{batch.recipient[i, 0]:016x}{batch.recipient[i, 1]:016x}",
            requested_at_ms=int(batch.event_time_ms[i]),
            send_at_ms=times[i][slot],
            open_probability=float(chances[i, 0]),
            slot_probability=float(found.scores[i, chosen[i]]),
            interval=(float(low[i, chosen[i]]), float(high[i, chosen[i]])),
            arm=ARMS[arm],
            propensity=propensity,
            slots=_top(times[i], windows[i], found.scores[i]),
            tier=TIERS[int(found.tiers[i])],
            reason=_reason(TIERS[int(found.tiers[i])], float(found.effective[i]), ARMS[arm]),
            effective_sends=float(found.effective[i]),
            model_version=int(found.versions[i]),
            newest_event_ms=int(live.newest_ms[i]),
        )
        for i, (slot, propensity, arm) in enumerate(decided)
    ]


def _windows(
    state: RecipientPartition, live: Live, times: list[list[int]]
) -> list[NDArray[np.int64]]:
    """Local hour of the week of every slot, by request; of each slot's own time, so DST counts."""
    counts = [len(at) for at in times]
    flat = np.array([at for window in times for at in window], np.int64)
    hours, _ = state.zones.local_hours(flat, np.repeat(live.zone, counts))
    return np.split(hours.astype(np.int64), np.cumsum(counts)[:-1]) if counts else []


def _slot_times(batch: RequestBatch, i: int) -> list[int]:
    """The window cut at whole hours, its first part from the window's start; at most a week."""
    start, end = int(batch.window_start_ms[i]), int(batch.window_end_ms[i])
    hours = range(start - start % _HOUR_MS + _HOUR_MS, end, _HOUR_MS)
    return [start, *hours][:HOURS_PER_WEEK]


def _top(times: list[int], hours: NDArray[np.int64], scores: F32) -> list[SlotScore]:
    """The slots with the highest scores, the earlier of equals first."""
    order = np.argsort(-scores[hours], kind="stable")[:_TOP_SLOTS].tolist()
    return [
        SlotScore(
            send_at_ms=times[s],
            hour_of_week=int(hours[s]),
            open_probability=float(scores[hours[s]]),
        )
        for s in order
    ]


_WHOSE: Final = {
    "recipient": "{sends:.1f} sends to this recipient, seen as one of its population",
    "segment": "no sends to this recipient yet: what its segment does",
    "client": "no sends to this recipient yet: what the client's recipients do",
    "all": "nothing learned of this client yet: what all clients' recipients do",
    "prior": "nothing learned yet: an assumed population, in which all hours are equal",
}
_HOW: Final = {
    "control": "slot drawn uniformly from the window: control group",
    "explore": "slot sampled by how likely it is to be the best",
    "optimised": "slot with the highest score in the window",
}


def _reason(tier: str, sends: float, arm: str) -> str:
    return f"{_HOW[arm]}; {_WHOSE[tier].format(sends=sends)}"
