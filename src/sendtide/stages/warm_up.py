"""Compiles, or loads from numba's cache, what the first events would otherwise wait for.

One message lives its life through both stages, apart from all state: sent, opened, labelled,
learned from, asked about. Uncompiled, the first request would hold the event loop up for seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from sendtide.clients import ClientPartition
from sendtide.events.batch import Names
from sendtide.events.messages import EngagementEvent, SendEvent, SendRequest
from sendtide.gate import EngagementGate, RequestGate, SendGate
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients import RecipientPartition, answers, blocks, records
from sendtide.sinks.predictions import prediction_records
from sendtide.stages.client import client_settings
from sendtide.stages.recipient import join_settings, policy_settings

__all__ = ["warm_up"]

_AT_MS = 1_767_225_600_000
_HOUR_MS = 3_600_000
_WHO: dict[str, Any] = {"source": "warm-up", "client_id": "warm-up", "recipient_id": "0" * 32}


def warm_up(pipeline: Pipeline) -> None:
    """Take one message through gate, join, learning, scoring and answering."""
    names: dict[str, Any] = {name: Names() for name in ("clients", "sources", "segments", "zones")}
    limits = pipeline.sends, pipeline.engagements, pipeline.requests
    kinds = SendGate, EngagementGate, RequestGate
    gates: list[Any] = [
        kind(max_future_ms=limit.max_future_ms, **names)
        for kind, limit in zip(kinds, limits, strict=True)
    ]
    state = RecipientPartition(0, join_settings(pipeline), policy_settings(pipeline))
    directory = ModelDirectory()
    late_ms = _AT_MS + 3 * pipeline.join.horizon_ms + pipeline.engagements.allowed_lateness_ms
    sent = SendEvent(**_WHO, id="1", event_time_ms=_AT_MS, timezone="Europe/Berlin")
    opened = [
        EngagementEvent(**_WHO, id=number, event_time_ms=at_ms, message_id="1", kind="open")
        for number, at_ms in (("2", _AT_MS + _HOUR_MS), ("3", late_ms))
    ]
    state.apply_sends(_read(gates[0], [sent]))
    labels = state.apply_engagements(_read(gates[1], opened)).labels
    _learn(pipeline, labels, state, names, directory)
    records(state.live(state.take_changed()[0]), state.policy, directory, 0, 0)
    request = SendRequest(
        **_WHO,
        id="4",
        event_time_ms=late_ms,
        window_start_ms=late_ms,
        window_end_ms=late_ms + 48 * _HOUR_MS,
    )
    asked = _read(gates[2], [request])
    people = state.apply_requests(asked).people
    prediction_records(answers(state, asked, people, directory, names["clients"], names["sources"]))


def _read(gate: Any, events: Sequence[Any]) -> Any:
    values = [msgspec.json.encode(event) for event in events]
    keys = [f"{event.client_id}:{event.recipient_id}".encode() for event in events]
    times = np.array([event.event_time_ms for event in events], np.int64)
    batch, _ = gate.read(values, keys, np.arange(len(events), dtype=np.int64), times)
    return batch


def _learn(
    pipeline: Pipeline,
    labels: Any,
    state: RecipientPartition,
    names: dict[str, Any],
    directory: ModelDirectory,
) -> None:
    if labels is None:
        return
    clients = ClientPartition(0, client_settings(pipeline))
    tables = names["clients"], names["segments"], state.creatives.of(labels["creative"])
    for _, block in blocks(labels, "label", *tables, 1):
        clients.apply(block)
    for model in clients.take_models():
        directory.apply(model.to_bytes())
