"""Compiles, or loads from numba's cache, what the first events would otherwise wait for.

Some mail lives its life through both stages, apart from all state: sent, opened, labelled, learned
from, asked about. Uncompiled, it would hold the event loop up for longer than a session lasts. One
message would not do: a column of one row looks contiguous, and what is compiled for it is compiled
again for two; tables grow; blocks that come from a topic cannot be written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from sendtide.clients import ClientPartition
from sendtide.events.batch import Names
from sendtide.events.examples import ExampleBlock
from sendtide.events.messages import EngagementEvent, SendEvent, SendRequest
from sendtide.gate import EngagementGate, RequestGate, SendGate
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients import RecipientPartition, answers, records, restore, snapshot
from sendtide.sinks.predictions import prediction_records
from sendtide.stages.client import client_settings
from sendtide.stages.example_rows import ExampleRows
from sendtide.stages.recipient import join_settings, policy_settings

__all__ = ["warm_up"]

_AT_MS: Final = 1_767_225_600_000
_HOUR_MS: Final = 3_600_000
_RECIPIENTS: Final = 201
"""More than tables have room for at first."""


def warm_up(pipeline: Pipeline) -> None:
    """Take some messages through gate, join, learning, scoring and answering."""
    names: dict[str, Any] = {name: Names() for name in ("clients", "sources", "segments", "zones")}
    limits = pipeline.sends, pipeline.engagements, pipeline.requests
    kinds = SendGate, EngagementGate, RequestGate
    gates: list[Any] = [
        kind(max_future_ms=limit.max_future_ms, **names)
        for kind, limit in zip(kinds, limits, strict=True)
    ]
    state = RecipientPartition(0, join_settings(pipeline), policy_settings(pipeline))
    clients, directory = ClientPartition(0, client_settings(pipeline)), ModelDirectory()
    late_ms = _AT_MS + 3 * pipeline.join.horizon_ms + pipeline.engagements.allowed_lateness_ms
    for outcome in (
        state.apply_sends(_read(gates[0], _sends())),
        state.apply_engagements(_read(gates[1], _engagements(late_ms))),
    ):
        # By way of bytes, as from a topic.
        rows = ExampleRows.of(state, outcome, names["clients"], names["segments"], 1)
        for record in rows.records([]):
            clients.apply(ExampleBlock.from_bytes(record.value or b""))
    for model in clients.take_models():
        directory.apply(model.to_bytes())
    restore(0, state.settings, *snapshot(state), state.policy)
    records(state.live(state.take_changed()[0]), state.policy, directory, 0, 0)
    asked = _read(gates[2], _requests(late_ms))
    people = state.apply_requests(asked).people
    asked.selected(people >= 0)
    prediction_records(answers(state, asked, people, directory, names["clients"], names["sources"]))


def _whose(number: int) -> dict[str, Any]:
    return {
        "source": "warm-up",
        "client_id": f"warm-up-{number % 2}",
        "recipient_id": f"{number:032x}",
    }


def _sends() -> list[SendEvent]:
    return [
        SendEvent(
            **_whose(number),
            id=f"{number}",
            event_time_ms=_AT_MS + number,
            timezone="Europe/Berlin",
            subject="A subject" if number % 2 else None,
            variant="a" if number % 2 else None,
            campaign_id="campaign",
        )
        for number in range(_RECIPIENTS)
    ]


def _engagements(late_ms: int) -> list[EngagementEvent]:
    """Opens, bounces and an order; the last one comes when all are due."""
    return [
        EngagementEvent(
            **_whose(number),
            id=f"engagement-{number}",
            event_time_ms=late_ms if number == _RECIPIENTS - 1 else _AT_MS + _HOUR_MS,
            message_id=f"{number}",
            kind="conversion" if number == 0 else "bounce" if number % 3 == 1 else "open",
            revenue=1.0 if number == 0 else None,
        )
        for number in range(_RECIPIENTS)
    ]


def _requests(late_ms: int) -> list[SendRequest]:
    return [
        SendRequest(
            **_whose(number),
            id=f"request-{number}",
            event_time_ms=late_ms,
            window_start_ms=late_ms,
            window_end_ms=late_ms + 48 * _HOUR_MS,
        )
        for number in range(_RECIPIENTS)
    ]


def _read(gate: Any, events: Sequence[Any]) -> Any:
    values = [msgspec.json.encode(event) for event in events]
    keys = [f"{event.client_id}:{event.recipient_id}".encode() for event in events]
    times = np.array([event.event_time_ms for event in events], np.int64)
    batch, _ = gate.read(values, keys, np.arange(len(events), dtype=np.int64), times)
    return batch
