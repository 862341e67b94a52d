"""The three inputs: which columns each has, and how both readers fill them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import EngagementBatch, RequestBatch, SendBatch
from sendtide.events.creative import Creatives, codes_of, creative_of
from sendtide.events.hashing import hash_identity
from sendtide.events.mailbox import provider_code
from sendtide.events.messages import (
    CONTENT_FIELDS,
    ENGAGEMENT_KINDS,
    MAX_TIME_MS,
    MIN_TIME_MS,
    EngagementEvent,
    SendEvent,
    SendRequest,
)
from sendtide.events.texts import Texts
from sendtide.events.user_agents import is_machine
from sendtide.gate.authority import Event, read_tombstone
from sendtide.gate.compiled import (
    AGENT,
    READ,
    SEGMENT,
    ZONE_NAME,
    Chunk,
    Common,
    Spellings,
    read_engagements,
    read_requests,
    read_sends,
)
from sendtide.gate.creatives import CREATIVE_FIELDS, Drafts, Traits
from sendtide.gate.gate import Gate

__all__ = ["EngagementGate", "RequestGate", "SendGate"]

I64 = NDArray[np.int64]

_MACHINE_CODES: Final = {None: 0, False: 1, True: 2}


def _common_columns(offsets: I64, timestamps_ms: I64) -> dict[str, Any]:
    n = len(offsets)
    return {
        "offset": offsets,
        "timestamp_ms": timestamps_ms,
        "event_time_ms": np.zeros(n, np.int64),
        "identity": np.zeros(n, np.uint64),
        "source": np.zeros(n, np.uint64),
        "client": np.zeros(n, np.uint64),
        "recipient": np.zeros((n, 2), np.uint64),
    }


class SendGate(Gate[SendBatch]):
    """`email.sends`; a null value with a valid key is a row with `erase` set."""

    event = SendEvent

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._made: list[NDArray[np.void]] = []
        self._known_subjects: dict[int, Traits] = {}

    def _allocate(self, offsets: I64, timestamps_ms: I64) -> SendBatch:
        n = len(offsets)
        return SendBatch(
            **_common_columns(offsets, timestamps_ms),
            zone=np.zeros(n, np.uint64),
            segment=np.zeros(n, np.uint64),
            content=np.full((n, len(CONTENT_FIELDS)), np.nan, np.float32),
            creative=np.zeros(n, np.uint64),
            erase=np.zeros(n, np.uint8),
            provider=np.zeros(n, np.uint8),
            creatives=Creatives.none(),
        )

    def _decode(self, batch: SendBatch, chunk: Chunk, common: Common, names: Spellings) -> None:
        drafts = Drafts.room_for(len(batch))
        columns = (batch.zone, batch.segment, batch.provider, batch.content, drafts)
        read_sends(chunk, self._fields, self._found, common, names, *columns)
        rows = drafts.rows(chunk.data, self._known_subjects)
        if len(rows):
            codes = np.concatenate([np.zeros(1, np.uint64), codes_of(rows)])
            batch.creative[:] = codes[drafts.number]
            self._made.append(rows)

    def _write(self, batch: SendBatch, row: int, event: Event) -> None:
        assert isinstance(event, SendEvent)
        batch.zone[row] = self._learn(ZONE_NAME, event.timezone)
        batch.segment[row] = self._learn(SEGMENT, event.segment)
        batch.provider[row] = provider_code(event.mailbox_provider)
        measures = [getattr(event, name) for name in CONTENT_FIELDS]
        batch.content[row] = [np.nan if value is None else value for value in measures]
        if event.subject or event.variant is not None:
            made = creative_of(
                campaign=event.campaign_id,
                clickable_images=event.clickable_images,
                unclickable_images=event.unclickable_images,
                **{name: getattr(event, name) for name in CREATIVE_FIELDS},
            )
            batch.creative[row] = codes_of(made)[0]
            self._made.append(made)

    def _finish(self, batch: SendBatch) -> None:
        if self._made:
            batch.creatives = Creatives.of(np.concatenate(self._made))
            self._made = []

    def _forget(self, batch: SendBatch, row: int, key: bytes | None) -> None:
        forgotten = read_tombstone(key)
        self._write_owner(batch, row, forgotten.client_id, forgotten.recipient_id)
        # The right to be forgotten does not hang on a record's odd timestamp.
        batch.event_time_ms[row] = np.clip(batch.timestamp_ms[row], MIN_TIME_MS, MAX_TIME_MS)
        batch.erase[row] = 1


class EngagementGate(Gate[EngagementBatch]):
    """`email.engagements`; a user agent is a mark of machines, and kept nowhere."""

    event = EngagementEvent

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._agent = np.zeros(0, np.uint64)

    def _allocate(self, offsets: I64, timestamps_ms: I64) -> EngagementBatch:
        n = len(offsets)
        return EngagementBatch(
            **_common_columns(offsets, timestamps_ms),
            message=np.zeros(n, np.uint64),
            kind=np.zeros(n, np.uint8),
            machine=np.zeros(n, np.uint8),
            revenue=np.zeros(n, np.float64),
        )

    def _decode(
        self, batch: EngagementBatch, chunk: Chunk, common: Common, names: Spellings
    ) -> None:
        self._agent = np.zeros(len(batch), np.uint64)
        columns = (batch.message, batch.kind, batch.machine, batch.revenue, self._agent)
        read_engagements(chunk, self._fields, self._found, common, names, *columns)

    def _write(self, batch: EngagementBatch, row: int, event: Event) -> None:
        assert isinstance(event, EngagementEvent)
        batch.message[row] = hash_identity(event.source, event.message_id)
        batch.kind[row] = ENGAGEMENT_KINDS.index(event.kind)
        told = is_machine(event.user_agent or "")
        batch.machine[row] = _MACHINE_CODES[told or event.machine]
        batch.revenue[row] = event.revenue or 0.0

    def _finish(self, batch: EngagementBatch) -> None:
        self._agents.mark(self._agent, _MACHINE_CODES[True], batch.machine)
        if self._agents.is_full:
            self._agents.forget()
            self._known[AGENT] = 0


class RequestGate(Gate[RequestBatch]):
    """`email.requests`."""

    event = SendRequest

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._begin(0)

    def _begin(self, rows: int) -> None:
        """No ids yet: a chunk's bytes, where they lie in these, and those the authority spells."""
        self._data: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._ids: NDArray[np.int64] = np.zeros((rows, 2), np.int64)
        self._spelled: dict[int, str] = {}

    def _allocate(self, offsets: I64, timestamps_ms: I64) -> RequestBatch:
        n = len(offsets)
        self._begin(n)
        return RequestBatch(
            **_common_columns(offsets, timestamps_ms),
            window_start_ms=np.zeros(n, np.int64),
            window_end_ms=np.zeros(n, np.int64),
            zone=np.zeros(n, np.uint64),
            segment=np.zeros(n, np.uint64),
            ids=Texts.of([]),
        )

    def _decode(self, batch: RequestBatch, chunk: Chunk, common: Common, names: Spellings) -> None:
        windows = (batch.window_start_ms, batch.window_end_ms)
        columns = (batch.zone, batch.segment, *windows, self._ids)
        read_requests(chunk, self._fields, self._found, common, names, *columns)
        self._data = chunk.data
        self._ids[common.status != READ] = 0  # the authority spells those

    def _write(self, batch: RequestBatch, row: int, event: Event) -> None:
        assert isinstance(event, SendRequest)
        batch.window_start_ms[row] = event.window_start_ms
        batch.window_end_ms[row] = event.window_end_ms
        batch.zone[row] = self._learn(ZONE_NAME, event.timezone)
        batch.segment[row] = self._learn(SEGMENT, event.segment)
        self._spelled[row] = event.id

    def _finish(self, batch: RequestBatch) -> None:
        batch.ids = Texts.gathered(self._data, self._ids)
        if self._spelled:
            rows = np.fromiter(self._spelled, np.int64, len(self._spelled))
            batch.ids = batch.ids.replaced(rows, self._spelled.values())
        self._begin(0)
