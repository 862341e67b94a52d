"""Records the gate's tests start from: valid ones of each input, and gates to read them with."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np

from sendtide.events.batch import Names
from sendtide.events.creative import Creatives
from sendtide.gate import EngagementGate, RequestGate, SendGate

NOW_MS = 1_700_000_000_000
RECIPIENT = "0123456789abcdef" * 2
KEY = f"c42:{RECIPIENT}".encode()
MAX_FUTURE_MS = 60_000

_COMMON = {
    "version": "1.0",
    "source": "esp-main",
    "id": "m-1",
    "client_id": "c42",
    "recipient_id": RECIPIENT,
    "event_time_ms": NOW_MS,
}
SEND = _COMMON | {
    "campaign_id": "spring",
    "segment": "new",
    "timezone": "Europe/Paris",
    "mailbox_provider": "gmail.com",
    "subject_length": 40,
    "words": 300,
    "links": 12,
    "clickable_images": 3,
    "unclickable_images": 0,
    "subject": "Anna, 20% off today",
    "variant": "hero",
    "image_width": 600,
    "image_height": 400,
    "augmented": True,
    "angle": "front",
}
ENGAGEMENT = _COMMON | {
    "id": "e-1",
    "message_id": "m-1",
    "kind": "conversion",
    "machine": False,
    "revenue": 12.34,
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0",
}
REQUEST = _COMMON | {
    "id": "r-1",
    "window_start_ms": NOW_MS,
    "window_end_ms": NOW_MS + 3_600_000,
    "timezone": "Asia/Kolkata",
    "segment": "new",
}
INPUTS = {SendGate: SEND, EngagementGate: ENGAGEMENT, RequestGate: REQUEST}


def make_gate(kind, *, compiled=True):
    """A gate that has met no name yet."""
    names = {name: Names() for name in ("clients", "sources", "segments", "zones")}
    return kind(max_future_ms=MAX_FUTURE_MS, compiled=compiled, **names)


def encoded(record, **changes):
    """The record as JSON bytes; a change to `...` takes the field out."""
    content = {k: v for k, v in (record | changes).items() if v is not ...}
    return json.dumps(content, separators=(",", ":")).encode()


def read(gate, values, keys=None, *, timestamp_ms=NOW_MS):
    """Read `values` as one chunk from offset 100 on."""
    n = len(values)
    keys = [KEY] * n if keys is None else keys
    offsets = np.arange(100, 100 + n, dtype=np.int64)
    return gate.read(values, keys, offsets, np.full(n, timestamp_ms, np.int64))


def assert_same_rows(left, right):
    """Both batches hold the same rows, bit for bit."""
    for column in fields(left):
        one, other = getattr(left, column.name), getattr(right, column.name)
        if isinstance(one, Creatives):
            assert one.rows.tobytes() == other.rows.tobytes()
            one, other = one.codes, other.codes
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, column.name
        np.testing.assert_array_equal(one, other, column.name)
