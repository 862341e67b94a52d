"""Small streams of events for the tests, as batches."""

from __future__ import annotations

import numpy as np

from sendtide.events.batch import EngagementBatch, RequestBatch, SendBatch
from sendtide.events.creative import Creatives, codes_of, creative_of
from sendtide.events.messages import ENGAGEMENT_KINDS
from sendtide.events.texts import Texts
from sendtide.recipients import JoinSettings

HOUR = 3_600_000
START = 1_700_000_000_000
SETTINGS = JoinSettings(
    horizon_ms=10 * HOUR,
    sends_lateness_ms=3 * HOUR,
    engagements_lateness_ms=4 * HOUR,
    requests_lateness_ms=HOUR,
    dedupe_window=10_000,
    machine_within_ms=HOUR // 2 + 1,
)


def _common(rows, offset):
    n = len(rows)
    return {
        "offset": np.arange(offset, offset + n, dtype=np.int64),
        "timestamp_ms": np.array([r["time"] + 1_000 for r in rows], np.int64),
        "event_time_ms": np.array([r["time"] for r in rows], np.int64),
        "identity": np.array([r["id"] for r in rows], np.uint64),
        "source": np.full(n, 7, np.uint64),
        "client": np.array([r["client"] for r in rows], np.uint64),
        "recipient": np.array([(0, r["person"]) for r in rows], np.uint64).reshape(n, 2),
    }


def sends(rows, offset):
    """`rows`: dicts of id, client, person, time, `subject` if any, `erase` for a tombstone."""
    n = len(rows)
    texts = [r.get("subject") for r in rows]
    made = np.concatenate([creative_of(subject=text) for text in texts])
    told = np.array([text is not None for text in texts], bool)
    codes = np.where(told, codes_of(made), np.uint64(0))
    return SendBatch(
        **_common(rows, offset),
        zone=np.zeros(n, np.uint64),
        segment=np.array([r["person"] % 3 for r in rows], np.uint64),
        content=np.full((n, 5), np.nan, np.float32),
        creative=codes,
        creatives=Creatives.of(made[told]),
        erase=np.array([r.get("erase", False) for r in rows], np.uint8),
        provider=np.array([r["person"] % 4 for r in rows], np.uint8),
    )


def engagements(rows, offset):
    """`rows`: dicts of id, client, person, time, message, kind, machine."""
    return EngagementBatch(
        **_common(rows, offset),
        message=np.array([r["message"] for r in rows], np.uint64),
        kind=np.array([ENGAGEMENT_KINDS.index(r["kind"]) for r in rows], np.uint8),
        machine=np.array([r["machine"] for r in rows], np.uint8),
        revenue=np.zeros(len(rows)),
    )


def requests(rows, offset):
    """`rows`: dicts of id, client, person, time."""
    n = len(rows)
    times = np.array([r["time"] for r in rows], np.int64)
    return RequestBatch(
        **_common(rows, offset),
        window_start_ms=times,
        window_end_ms=times + 24 * HOUR,
        zone=np.zeros(n, np.uint64),
        segment=np.zeros(n, np.uint64),
        ids=Texts.of(str(r["id"]) for r in rows),
    )


def apply(state, topic, rows, offset, emit=True):
    """Apply rows of topic 0 (sends), 1 (engagements) or 2 (requests)."""
    make = (sends, engagements, requests)[topic]
    step = (state.apply_sends, state.apply_engagements, state.apply_requests)[topic]
    return step(make(rows, offset), emit)
