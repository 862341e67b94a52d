"""The join's state follows from what was read of each topic, never from the order between them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.recipients import labels as expected_labels
from sendtide.events.columns import pack, unpack
from sendtide.recipients import RecipientPartition, digest, restore, snapshot

from .events import HOUR, SETTINGS, START, apply, sends

KINDS = ("delivered", "open", "open", "click", "bounce", "unsubscribe", "conversion")
people = st.integers(1, 4)
times = st.integers(0, 40).map(lambda h: START + h * HOUR // 2)


def _send(number):
    return st.fixed_dictionaries(
        {"id": st.integers(1, number), "person": people, "time": times, "client": st.just(11)}
    )


@st.composite
def streams(draw):
    """Sends, engagements and requests: repeats, late ones, orphans, tombstones among them."""
    sends = draw(st.lists(_send(14), max_size=25))
    owners = {s["id"]: s["person"] for s in reversed(sends)}
    engagements = [
        {
            "id": draw(st.integers(100, 140)),
            "message": (message := draw(st.integers(1, 16))),
            "person": owners.get(message, 1),
            "client": 11,
            "time": draw(times),
            "kind": draw(st.sampled_from(KINDS)),
            "machine": draw(st.integers(0, 2)),
        }
        for _ in range(draw(st.integers(0, 30)))
    ]
    requests = draw(st.lists(_send(500), max_size=4))
    for place in draw(st.lists(st.integers(0, len(sends)), max_size=1)):
        tombstone = {"id": 0, "person": draw(people), "client": 11, "time": START, "erase": True}
        sends.insert(place, tombstone)
    return sends, engagements, requests


@st.composite
def schedules(draw):
    """Which topic is read next, how many rows, and whether a restart comes before."""
    step = st.tuples(st.integers(0, 2), st.integers(1, 9), st.booleans())
    return draw(st.lists(step, max_size=30))


def run(topics, schedule):
    """Read every topic to its end by the schedule; return the state and all label rows."""
    state, at, made = RecipientPartition(3, SETTINGS), [0, 0, 0], []
    ending = [(topic, 1_000, False) for topic in range(3)]
    for topic, size, restart in [*schedule, *ending]:
        if restart:
            meta, columns = unpack(pack(*snapshot(state)))
            state = restore(3, SETTINGS, meta, columns)
        rows = topics[topic][at[topic] : at[topic] + size]
        if rows:
            outcome = apply(state, topic, rows, at[topic])
            at[topic] += len(rows)
            if outcome.labels is not None:
                made.append(outcome.labels)
    return state, made


@settings(max_examples=150)
@given(topics=streams(), one=schedules(), other=schedules())
def test_no_interleaving_chunking_or_restart_changes_the_state(topics, one, other):
    """Two schedules over the same prefixes end with the same digest."""
    assert digest(run(topics, one)[0]) == digest(run(topics, other)[0])


@settings(max_examples=150)
@given(topics=streams(), schedule=schedules())
def test_every_send_is_labelled_once_with_what_became_of_it(topics, schedule):
    """Label rows equal the independent recount: outcome, and history for streams in order."""
    sends = [s for s in topics[0] if not s.get("erase")]
    _, made = run((sends, *topics[1:]), schedule)
    rows = {}
    for columns in made:
        for i, offset in enumerate(columns["send_offset"].tolist()):
            assert offset not in rows, "labelled twice"
            rows[offset] = (
                bool(columns["opened"][i]),
                bool(columns["clicked"][i]),
                bool(columns["machine_opened"][i]),
                int(columns["open_delay_s"][i]),
            )

    expected = expected_labels(sends, topics[1], SETTINGS)
    assert rows == {offset: row[:4] for offset, row in expected.items()}


@settings(max_examples=100)
@given(topics=streams())
def test_a_label_carries_the_history_as_of_its_send(topics):
    """With events in order of time, sends and opens before the send equal the recount's."""
    sends = sorted((s for s in topics[0] if not s.get("erase")), key=lambda r: r["time"])
    engagements = sorted(topics[1], key=lambda r: r["time"])
    _, made = run((sends, engagements, []), [])
    expected = expected_labels(sends, engagements, SETTINGS)

    for columns in made:
        for i, offset in enumerate(columns["send_offset"].tolist()):
            found = (columns["sends"][i], columns["opens"][i])
            assert found == expected[offset][4:]


def test_what_is_late_is_counted_and_changes_nothing():
    """An event behind the watermark of its own topic ends in the late bucket."""
    state = RecipientPartition(0, SETTINGS)
    fresh = {"id": 1, "client": 5, "person": 1, "time": START + 10 * HOUR}
    apply(state, 0, [fresh], 0)
    before = digest(state)
    outcome = apply(state, 0, [{**fresh, "id": 2, "time": START}], 1)

    assert (outcome.late, outcome.applied) == (1, 0)
    assert digest(state) == before


def test_an_erased_recipient_is_forgotten_and_stays_forgotten():
    """After a tombstone nothing of the recipient is left, and later events are refused."""
    state = RecipientPartition(0, SETTINGS)
    send = {"id": 1, "client": 5, "person": 1, "time": START}
    opened = {**send, "id": 9, "message": 1, "kind": "open", "machine": 1, "time": START + HOUR}
    apply(state, 0, [send], 0)
    apply(state, 1, [opened], 0)
    apply(state, 0, [{**send, "id": 0, "erase": True}], 1)

    assert apply(state, 0, [{**send, "id": 2}], 2).erased == 1
    assert apply(state, 1, [{**opened, "id": 10}], 1).erased == 1
    live = state.live(np.zeros(1, np.int32))
    assert live.opens.sum() == 0
    assert live.history["sends"].tolist() == [0]
    clients, ids = state.take_erased()
    assert clients.tolist() == [5]
    assert ids.tolist() == [[0, 1]]


def test_rows_of_retired_sends_are_used_again():
    """Memory follows the sends in flight, not the sends ever seen."""
    state = RecipientPartition(0, SETTINGS)
    for day in range(200):
        at = START + day * 24 * HOUR
        rows = [{"id": 1 + day * 10 + i, "client": 5, "person": i, "time": at} for i in range(10)]
        heard = [
            {**r, "id": r["id"] + 100_000, "message": 0, "kind": "delivered", "machine": 0}
            for r in rows
        ]
        apply(state, 0, rows, day * 10)
        apply(state, 1, heard, day * 10)

    assert len(state.pending) <= 64
    live = state.live(np.arange(10, dtype=np.int32))
    assert live.history["sends"].tolist() == [200] * 10


def test_a_machine_open_is_marked_and_is_no_open():
    """Machines are kept apart from people in the label and in the hours."""
    state = RecipientPartition(0, SETTINGS)
    send = {"id": 1, "client": 5, "person": 1, "time": START}
    machine = {**send, "id": 9, "message": 1, "kind": "open", "machine": 2, "time": START + 60_000}
    later = {**machine, "id": 10, "message": 99, "kind": "delivered", "time": START + 30 * HOUR}
    apply(state, 0, [send], 0)
    labels = apply(state, 1, [machine, later], 0).labels

    assert labels["machine_opened"].tolist() == [1]
    assert labels["opened"].tolist() == [0]
    assert state.live(np.zeros(1, np.int32)).opens.sum() == 0


def test_a_send_alone_changes_its_recipient():
    """Readers are told how many were sent, whether or not an engagement follows."""
    state = RecipientPartition(0, SETTINGS)
    send = {"id": 1, "person": 1, "client": 11, "time": START}
    state.apply_sends(sends([send], 0))
    assert state.take_changed().tolist() == [0]
    state.apply_sends(sends([{**send, "id": 2, "time": START + HOUR}], 1))
    assert state.take_changed().tolist() == [0]
