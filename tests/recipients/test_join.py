"""The join's state follows from what was read of each topic, never from the order between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.recipients import admitted
from oracle.recipients import labels as expected_labels
from sendtide.events.columns import pack, unpack
from sendtide.events.errors import CorruptData
from sendtide.events.examples import PERIOD_MS
from sendtide.events.rhythm import BIN_HOURS, BINS, EVIDENCE, FRESHNESS, REACH_H
from sendtide.recipients import RecipientPartition, digest, restore, snapshot
from sendtide.recipients.history import evidence_of
from sendtide.recipients.tables import RHYTHM_PERIODS

from .events import HOUR, SETTINGS, START, apply, sends

KINDS = ("delivered", "open", "open", "click", "bounce", "unsubscribe", "complaint", "conversion")
FACTS = ("opened", "clicked", "converted", "machine_opened")
FACTS += ("bounced", "unsubscribed", "complained")
people = st.integers(1, 4)
times = st.integers(0, 40).map(lambda h: START + h * HOUR // 2)
WITHIN = SETTINGS.machine_within_ms
moments = st.sampled_from([0, WITHIN // 20, WITHIN // 10, WITHIN - 1, WITHIN, WITHIN * 3, 9 * HOUR])


def _send(number):
    return st.fixed_dictionaries(
        {
            "id": st.integers(1, number),
            "person": people,
            "time": times,
            "client": st.just(11),
            "subject": st.sampled_from([None, "Big sale", "Your invoice"]),
        }
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


def run(topics, schedule, settings=SETTINGS):
    """Read every topic to its end by the schedule; return the state and all label rows."""
    state, at, made = RecipientPartition(3, settings), [0, 0, 0], []
    ending = [(topic, 1_000, False) for topic in range(3)]
    for topic, size, restart in [*schedule, *ending]:
        if restart:
            meta, columns = unpack(pack(*snapshot(state)))
            state = restore(3, settings, meta, columns)
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
                *(bool(columns[fact][i]) for fact in FACTS),
                int(columns["open_delay_s"][i]),
            )

    expected = expected_labels(sends, topics[1], SETTINGS)
    assert rows == {offset: row[:8] for offset, row in expected.items()}


SHORT = replace(SETTINGS, horizon_ms=4 * HOUR, engagements_lateness_ms=2 * HOUR)


@st.composite
def scanned(draw):
    """Few messages that persons and scanners open and click, soon and late, in any order."""
    sends = [
        {"id": i, "person": i % 2 + 1, "time": START + i, "client": 11, "subject": None}
        for i in range(1, draw(st.integers(1, 3)) + 1)
    ]
    heard = st.tuples(
        st.sampled_from(sends),
        st.sampled_from(("delivered", "open", "open", "click", "click", "click", "conversion")),
        moments,
        st.integers(0, 2),
    )
    engagements = [
        {**send, "id": 100 + i, "message": send["id"], "kind": kind, "machine": machine}
        | {"time": send["time"] + after}
        for i, (send, kind, after, machine) in enumerate(draw(st.lists(heard, max_size=16)))
    ]
    end = {"id": 99, "person": 1, "client": 11, "message": 99, "kind": "delivered", "machine": 0}
    return sends, [*engagements, {**end, "time": START + 99 * HOUR}], []


IN_ANY_ORDER = replace(SETTINGS, engagements_lateness_ms=20 * HOUR)


@settings(max_examples=300)
@given(topics=scanned(), one=schedules(), other=schedules(), shuffled=st.randoms())
def test_machines_are_told_from_persons_in_any_order_of_events(topics, one, other, shuffled):
    """Labels equal the recount, and events that come in another order leave the same state."""
    sends, engagements, requests = topics
    state, made = run(topics, one, IN_ANY_ORDER)
    expected = expected_labels(sends, engagements, IN_ANY_ORDER)
    found = {}
    for columns in made:
        for i, offset in enumerate(columns["send_offset"].tolist()):
            facts = (*(bool(columns[fact][i]) for fact in FACTS), int(columns["open_delay_s"][i]))
            found[offset] = facts
    assert found == {offset: row[:8] for offset, row in expected.items()}

    *again, end = engagements
    shuffled.shuffle(again)
    same, _ = run((sends, [*again, end], requests), other, IN_ANY_ORDER)
    for table in ("people", "rhythm", "waiting"):
        names = state.people.dtype.names if table == "people" else [...]
        for name in set(names) - {"pending", "changed"}:
            assert getattr(state, table)[name].tolist() == getattr(same, table)[name].tolist()


@settings(max_examples=300)
@given(topics=streams(), cuts=st.lists(st.tuples(st.just(1), st.integers(1, 4), st.booleans())))
def test_a_label_carries_the_history_as_of_its_send(topics, cuts):
    """However engagements are cut, and restarts between: nothing later than the send is in it."""
    sends = sorted((s for s in topics[0] if not s.get("erase")), key=lambda r: r["time"])
    engagements = sorted(topics[1], key=lambda r: r["time"])
    _, made = run((sends, engagements, []), [(0, len(sends) or 1, False), *cuts], SHORT)
    expected = expected_labels(sends, engagements, SHORT)

    for columns in made:
        for i, offset in enumerate(columns["send_offset"].tolist()):
            found = (columns["sends"][i], columns["opens"][i])
            assert found == expected[offset][8:]


def test_an_open_after_a_send_is_not_in_its_history_though_its_own_send_was_labelled_before():
    """Two sends an hour apart; the first is opened after the second was made.

    The first is labelled, and its recipient is looked at again, long before the second is.
    """
    state = RecipientPartition(0, replace(SHORT, engagements_lateness_ms=0))
    sent = [{"id": i, "client": 5, "person": 1, "time": START + i * HOUR} for i in (0, 1)]
    apply(state, 0, [{**row, "id": row["id"] + 1} for row in sent], 0)
    opens = {}
    for offset, (hours, message, kind) in enumerate(
        [(2, 1, "open"), (4.5, 99, "delivered"), (6, 99, "delivered"), (9, 99, "delivered")]
    ):
        row = {"id": 10 + offset, "client": 5, "person": 1, "message": message, "kind": kind}
        row |= {"time": START + int(hours * HOUR), "machine": 1}
        labels = apply(state, 1, [row], offset).labels
        if labels is not None:
            opens |= dict(
                zip(labels["send_offset"].tolist(), labels["opens"].tolist(), strict=True)
            )
    assert opens == {0: 0.0, 1: 0.0}
    assert state.people["opens"][0] == 1


def recounted(sends, engagements, settings):
    """Person to evidence of retired sends, by plain counting over the oracle's labels.

    A send somebody engaged with retires another horizon later.
    """
    found = {}
    _, watermark_ms = admitted(engagements, settings.engagements_lateness_ms)
    for offset, label in expected_labels(sends, engagements, settings).items():
        row = sends[offset]
        opened, clicked, converted, bounced, delay_s = *label[:3], label[4], label[7]
        proven = clicked or converted
        if bounced:  # it was no exposure
            continue
        if (opened or proven) and row["time"] + 2 * settings.horizon_ms > watermark_ms:
            continue
        evidence = found.setdefault(row["person"], [0] * EVIDENCE)
        hour, waited = row["time"] // HOUR % 24, REACH_H
        if delay_s >= 0 and delay_s < 3600 * REACH_H * (2 if proven else 1):
            waited = min(delay_s // 3600, REACH_H)
            evidence[BINS + (hour + delay_s // 3600) % 24 // BIN_HOURS] += 1
        for age in range(waited):
            evidence[(hour + age) % 24 // BIN_HOURS] += int(FRESHNESS[age])
        evidence[2 * BINS] += 1
    return found


@settings(max_examples=300)
@given(topics=streams(), schedule=schedules())
def test_hours_are_counted_as_an_independent_recount_has_them(topics, schedule):
    """Waiting and opens by bin, and sends, of retired sends, for any schedule."""
    sends = [s for s in topics[0] if not s.get("erase")]
    state, _ = run((sends, *topics[1:]), schedule, SHORT)
    expected = recounted(sends, topics[1], SHORT)
    for row in range(state.recipients):
        waiting = state.waiting[row].astype(int).reshape(2, BINS).sum(axis=0).tolist()
        counts = state.rhythm[row].astype(int).reshape(2, BINS + 1).sum(axis=0).tolist()
        assert waiting + counts == expected.get(int(state.people["low"][row]), [0] * EVIDENCE)


def test_old_halves_fade_in_any_order():
    """Sends half a year apart, merged in either order, leave the same, and the older one fades."""
    half_ms = RHYTHM_PERIODS * PERIOD_MS
    times = [START, START + half_ms, START + 3 * half_ms]
    ended = {"id": 9, "client": 5, "person": 2, "message": 99, "kind": "delivered", "machine": 0}
    tables = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        state = RecipientPartition(0, replace(SETTINGS, sends_lateness_ms=4 * half_ms))
        for offset, k in enumerate(order):
            apply(state, 0, [{"id": k + 1, "client": 5, "person": 1, "time": times[k]}], offset)
        apply(state, 1, [{**ended, "time": times[2] + 99 * HOUR}], 0)
        tables.append(state.rhythm[0].tolist() + state.waiting[0].tolist())
    assert tables[0] == tables[1] == tables[2]
    assert sum(tables[0]) == 1 + FRESHNESS.sum()

    state = RecipientPartition(0, SETTINGS)
    apply(state, 0, [{"id": 1, "client": 5, "person": 1, "time": START}], 0)
    apply(state, 1, [{**ended, "time": START + 99 * HOUR}], 0)
    ages = START // half_ms * half_ms + np.array([half_ms // 2, 3 * half_ms // 2, 2 * half_ms])
    rows = np.zeros(3, np.int32)
    known = rows, ages, np.zeros(3, bool), state.people, *state._base(), state.pending
    faded = evidence_of(*known, settled=False)
    assert faded[:, 2 * BINS].tolist() == [1, 0.5, 0]


def test_what_is_late_is_counted_and_changes_nothing():
    """An event behind the watermark of its own topic ends in the late bucket."""
    state = RecipientPartition(0, SETTINGS)
    fresh = {"id": 1, "client": 5, "person": 1, "time": START + 10 * HOUR}
    apply(state, 0, [fresh], 0)
    before = digest(state)
    outcome = apply(state, 0, [{**fresh, "id": 2, "time": START}], 1)

    assert (outcome.late, outcome.applied) == (1, 0)
    assert digest(state) == before


def test_a_late_repeat_is_a_duplicate_only_of_what_was_taken():
    """What was late itself was never taken: its repeat is late too."""
    state = RecipientPartition(0, SETTINGS)
    taken = {"id": 1, "client": 11, "person": 1, "time": START}
    newer = {"id": 2, "client": 11, "person": 1, "time": START + 9 * HOUR}
    late = {"id": 3, "client": 11, "person": 1, "time": START + HOUR}

    first = apply(state, 0, [taken, newer, late], 0)
    again = apply(state, 0, [taken, late], 3)

    assert (first.applied, first.late, first.duplicate) == (2, 1, 0)
    assert (again.applied, again.late, again.duplicate) == (0, 1, 1)


def test_what_waited_for_a_message_to_somebody_erased_waits_no_longer():
    """Whether the engagement came before the send or after it."""
    erase = {"id": 0, "client": 11, "person": 3, "time": START, "erase": True}
    send = {"id": 5, "client": 11, "person": 3, "time": START}
    opened = {"id": 9, "client": 11, "person": 1, "time": START + HOUR, "message": 5}
    opened |= {"kind": "open", "machine": 0}
    before, after = RecipientPartition(0, SETTINGS), RecipientPartition(0, SETTINGS)
    apply(before, 0, [erase], 0)
    apply(before, 1, [opened], 0)
    apply(before, 0, [send], 1)
    apply(after, 0, [erase, send], 0)
    apply(after, 1, [opened], 0)
    assert digest(before) == digest(after)


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
    assert live.evidence.sum() == 0
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
    assert state.live(np.zeros(1, np.int32)).evidence.tolist()[0][BINS : 2 * BINS] == [0] * BINS


def test_a_send_alone_changes_its_recipient():
    """Readers are told how many were sent, whether or not an engagement follows."""
    state = RecipientPartition(0, SETTINGS)
    send = {"id": 1, "person": 1, "client": 11, "time": START}
    state.apply_sends(sends([send], 0))
    assert [part.tolist() for part in state.take_changed()] == [[0], [True]]
    state.apply_sends(sends([{**send, "id": 2, "time": START + HOUR}], 1))
    assert [part.tolist() for part in state.take_changed()] == [[0], [True]]


def test_a_label_changes_a_record_without_news():
    """An event makes a record's age tell how late it is; a horizon that ends does not."""
    state = RecipientPartition(0, SETTINGS)
    send = {"id": 1, "person": 1, "client": 11, "time": START}
    apply(state, 0, [send], 0)
    rows, heard = state.take_changed()
    assert (rows.tolist(), heard.tolist()) == ([0], [True])
    state.mark_changed(rows, heard)
    assert state.take_changed()[1].tolist() == [True], "put back as it was"
    after = {**send, "id": 9, "message": 99, "kind": "delivered", "machine": 0}
    apply(state, 1, [{**after, "time": START + 30 * HOUR}], 0)
    assert [part.tolist() for part in state.take_changed()] == [[0], [False]]


@pytest.mark.parametrize("length", [0, 1, 5])
def test_columns_of_unequal_lengths_are_refused(length):
    """One that is too long is no better than one that is too short."""
    state = RecipientPartition(3, SETTINGS)
    person = {"id": 1, "time": START, "client": 11, "subject": None}
    apply(state, 0, [{**person, "id": i, "person": i} for i in range(1, 4)], 0)
    meta, columns = snapshot(state)
    columns["people.opens"] = np.resize(columns["people.opens"], length)
    with pytest.raises(CorruptData, match="does not fit"):
        restore(3, SETTINGS, meta, columns)


def test_the_first_new_recipient_after_a_restart_copies_nobody():
    """A restored state has room to spare: growing would copy all of it while records wait."""
    state = RecipientPartition(3, SETTINGS)
    person = {"time": START, "client": 11, "subject": None}
    apply(state, 0, [{**person, "id": i, "person": i} for i in range(1, 1_000)], 0)
    state = restore(3, SETTINGS, *snapshot(state))
    tables = state.people, state.pending, state.rhythm, state._index
    apply(state, 0, [{**person, "id": 1_000 + i, "person": 1_000 + i} for i in range(100)], 999)
    now = state.people, state.pending, state.rhythm, state._index
    assert state.recipients == 1_099
    assert all(table is before for table, before in zip(now, tables, strict=True))
