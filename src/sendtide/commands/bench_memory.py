"""What a known recipient costs in a worker's memory, measured from outside and from within.

A recipient is known once its first message has been labelled. Built in this process by the gate and
the state themselves, one partition, without broker or Redis; resident memory before is taken off.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import psutil

from sendtide.commands.output import progress
from sendtide.events.batch import Names
from sendtide.events.messages import EngagementEvent
from sendtide.gate import EngagementGate, Gate, SendGate
from sendtide.lab import Scenario, Simulator
from sendtide.recipients import JoinSettings, RecipientPartition, snapshot

__all__ = ["Plan", "measure"]

_PART: Final = 20_000
_START_MS: Final = 1_767_571_200_000
_HORIZON_MS: Final = 3_600_000
_STEP_MS: Final = 360_000
"""Between two parts; ten of them are pending at a time."""
_LARGEST_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """recipients: to be known. clients: they belong to."""

    recipients: int
    clients: int


def measure(plan: Plan) -> dict[str, Any]:
    """`bytes_per_recipient`: growth of resident memory; `columns`: the largest of a snapshot."""
    _known(Plan(_PART, min(plan.clients, _PART)))  # compiles, and warms up the allocator
    simulator = _simulator(plan)
    before = _resident()
    state = _known(plan, simulator)
    grown = _resident() - before
    _, columns = snapshot(state)
    sizes = {name: column.nbytes / state.recipients for name, column in columns.items()}
    largest = sorted(sizes.items(), key=lambda pair: -pair[1])[:_LARGEST_SHOWN]
    return {
        "recipients": state.recipients,
        "bytes_per_recipient": grown / state.recipients,
        "snapshot_bytes_per_recipient": sum(sizes.values()),
        "columns": {name: round(size, 2) for name, size in largest},
    }


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _simulator(plan: Plan) -> Simulator:
    return Simulator(Scenario(clients=plan.clients, recipients=plan.recipients, request_share=0.0))


def _known(plan: Plan, simulator: Simulator | None = None) -> RecipientPartition:
    """One message to each; the engagements' watermark follows, so that all of them retire."""
    simulator = simulator or _simulator(plan)
    state = RecipientPartition(
        0,
        JoinSettings(
            horizon_ms=_HORIZON_MS,
            sends_lateness_ms=_HORIZON_MS,
            engagements_lateness_ms=0,
            requests_lateness_ms=0,
            dedupe_window=_PART,
            machine_within_ms=10_000,
        ),
    )
    names: dict[str, Any] = {n: Names() for n in ("clients", "sources", "segments", "zones")}
    sends = SendGate(max_future_ms=0, **names)
    engagements = EngagementGate(max_future_ms=0, **names)
    at_ms = _START_MS
    with progress() as bar:
        task = bar.add_task("known", total=plan.recipients)
        for number, start in enumerate(range(0, plan.recipients, _PART)):
            rows = np.arange(start, min(start + _PART, plan.recipients), dtype=np.int64)
            at_ms = _START_MS + number * _STEP_MS
            records = simulator.sends_to(rows, np.full(len(rows), at_ms, np.int64))
            state.apply_sends(_read(sends, records.values, records.keys, at_ms), emit=False)
            state.apply_engagements(_tick(engagements, at_ms), emit=False)
            bar.advance(task, len(rows))
    state.apply_engagements(_tick(engagements, at_ms + 2 * _HORIZON_MS), emit=False)
    return state


def _tick(gate: EngagementGate, at_ms: int) -> Any:
    """An engagement with no message known here: it only moves the watermark."""
    recipient = f"{0:032x}"
    event = EngagementEvent(
        source="bench",
        id=f"tick-{at_ms}",
        client_id="client-00000",
        recipient_id=recipient,
        event_time_ms=at_ms,
        message_id="none",
        kind="delivered",
    )
    return _read(gate, [msgspec.json.encode(event)], [f"client-00000:{recipient}".encode()], at_ms)


def _read(gate: Gate[Any], values: Any, keys: Any, at_ms: int) -> Any:
    offsets = np.arange(len(values), dtype=np.int64)
    batch, refused = gate.read(values, keys, offsets, np.full(len(values), at_ms, np.int64))
    assert not refused, refused[0]
    return batch
