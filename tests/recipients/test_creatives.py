"""What pending sends are made of: it comes out with their labels, and is kept no longer."""

from __future__ import annotations

import numpy as np

from sendtide.events.batch import Names
from sendtide.events.creative import Creatives, codes_of, creative_of
from sendtide.events.examples import ExampleBlock
from sendtide.recipients import RecipientPartition, blocks, restore, snapshot
from sendtide.recipients.creatives import CreativeTable
from sendtide.recipients.tables import NONE, PENDING

from .events import HOUR, SETTINGS, START, apply


def test_labels_carry_what_their_send_was_made_of() -> None:
    """Through the block's bytes: the creative of each row, 0 for a send without one."""
    state, texts = RecipientPartition(0, SETTINGS), ["Big sale", None, "Hi Żaneta", "Big sale"]
    rows = [
        {"id": i + 1, "client": 11, "person": i, "time": START + i, "subject": text}
        for i, text in enumerate(texts)
    ]
    apply(state, 0, rows, 0)
    last = {"id": 90, "client": 11, "person": 9, "time": START + 40 * HOUR, "message": 91}
    labels = apply(state, 1, [last | {"kind": "delivered", "machine": 0}], 0).labels
    clients, segments = Names(), Names()
    clients.learn(11, "acme")
    for code in range(3):
        segments.learn(code, f"s{code}")
    made_of = state.creatives.of(labels["creative"])
    ((_, made),) = blocks(labels, "label", clients, segments, made_of, 1)
    block = ExampleBlock.from_bytes(made.to_bytes())
    assert len(block.creatives) == 2
    for text, place in zip(texts, block.columns["creative"].tolist(), strict=True):
        found = block.creatives[place - 1 : place] if place else None
        expected = None if text is None else creative_of(subject=text)
        assert (found is None) == (expected is None)
        assert found is None or found.tobytes() == expected.tobytes()


def test_mailbox_providers_come_with_exposures_and_labels_over_a_restart() -> None:
    """Each send's own, through snapshot and bytes."""
    state = RecipientPartition(0, SETTINGS)
    rows = [{"id": i + 1, "client": 11, "person": i, "time": START + i} for i in range(8)]
    exposures = apply(state, 0, rows, 0).exposures
    assert exposures["provider"].tolist() == [i % 4 for i in range(8)]
    state = restore(0, SETTINGS, *snapshot(state))
    last = {"id": 90, "client": 11, "person": 9, "time": START + 40 * HOUR, "message": 91}
    labels = apply(state, 1, [last | {"kind": "delivered", "machine": 0}], 0).labels
    order = np.argsort(labels["send_offset"])
    assert labels["provider"][order].tolist() == exposures["provider"].tolist()


def _pending(codes) -> np.ndarray:
    rows = np.zeros(len(codes), PENDING)
    rows["identity"], rows["creative"] = np.arange(1, len(codes) + 1), codes
    return rows


def test_what_nobody_waits_for_is_dropped() -> None:
    """With every subject another one, the table stays near the sends in flight."""
    table, largest = CreativeTable(), 0
    for start in range(0, 60_000, 1_000):
        made = [creative_of(subject=f"w{i:x}q z{i * 7:x}k") for i in range(start, start + 1_000)]
        rows = np.concatenate(made)
        table.add(Creatives.of(rows), _pending(codes_of(rows[:10])))
        largest = max(largest, len(table))
    assert largest <= 5_200


def test_a_sweep_keeps_what_is_in_flight() -> None:
    """Codes of pending sends are found after thousands of others came and went."""
    rows = np.concatenate([creative_of(subject=f"subject {i:x}z") for i in range(300)])
    table, pending = CreativeTable(), _pending(codes_of(rows))
    gone = pending.copy()
    gone["recipient"] = NONE
    table.add(Creatives.of(rows), pending)
    for start in range(0, 20_000, 1_000):
        more = [creative_of(subject=f"other {i:x}y") for i in range(start, start + 1_000)]
        table.add(Creatives.of(np.concatenate(more)), np.concatenate([pending, gone]))
    kept = table.of(codes_of(rows))
    assert kept.rows.tobytes() == Creatives.of(rows).rows.tobytes()
