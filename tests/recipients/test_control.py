"""Who is of the control group: the same in every label, and in the answers to requests."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sendtide.events.batch import Names
from sendtide.events.hashing import GROUPS, in_control
from sendtide.events.messages import PredictionMessage
from sendtide.events.records import CONTROL_FLAG
from sendtide.models import ModelDirectory
from sendtide.recipients import (
    PolicySettings,
    RecipientPartition,
    answers,
    records,
    restore,
    snapshot,
)
from sendtide.sinks.predictions import prediction_records
from sendtide.transport import BinaryColumn

from .events import HOUR, SETTINGS, START, apply, requests

CLIENT, PEOPLE = 5, 2_000
SLOTS = 25
"""A window of a day that begins within an hour has parts of 25."""
POLICY = PolicySettings(control_share=0.25, control_salt="autumn")


def drawn(people, policy=POLICY):
    """Membership by the one function that says so."""
    ids = np.stack([np.zeros(len(people), np.uint64), people.astype(np.uint64)], axis=1)
    clients = np.full(len(people), CLIENT, np.uint64)
    return in_control(clients, ids, policy.control_salt, policy.control_share)


def sent(count):
    return [{"id": i + 1, "client": CLIENT, "person": i, "time": START} for i in range(count)]


def ending(offset):
    """An engagement of nobody's, late enough to end all horizons."""
    row = {"id": 10**6 + offset, "client": CLIENT, "person": 0, "message": 10**7, "machine": 0}
    return [{**row, "kind": "delivered", "time": START + 40 * HOUR}]


def test_exposures_and_labels_tell_the_arm():
    """Both kinds of a send agree with the function; groups are of about one size in both arms."""
    state = RecipientPartition(0, SETTINGS, POLICY)
    exposures = apply(state, 0, sent(PEOPLE), 0).exposures
    labels = apply(state, 1, ending(0), 0).labels
    order = np.argsort(labels["send_offset"])
    assert exposures["arm"].tolist() == drawn(np.arange(PEOPLE)).astype(int).tolist()
    for name in ("arm", "group"):
        assert labels[name][order].tolist() == exposures[name].tolist()
    assert abs(exposures["arm"].mean() - POLICY.control_share) < 0.04
    for arm in (0, 1):
        sizes = np.bincount(exposures["group"][exposures["arm"] == arm], minlength=GROUPS)
        assert len(sizes) == GROUPS
        assert chisquare(sizes).pvalue > 1e-4


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=8), restart_every=st.integers(1, 4))
def test_batches_and_restarts_change_nobodys_arm_or_group(cuts, restart_every):
    """However sends are cut, and the state written down between, a person's labels agree."""
    rows = [{**row, "id": k * 20 + row["id"]} for k in range(3) for row in sent(20)]
    state, start, turn, made = RecipientPartition(0, SETTINGS, POLICY), 0, 0, []
    while start < len(rows):
        part = rows[start : start + cuts[turn % len(cuts)]]
        apply(state, 0, part, start)
        start, turn = start + len(part), turn + 1
        if turn % restart_every == 0:
            meta, columns = snapshot(state)
            state = restore(0, SETTINGS, meta, columns, POLICY)
    made = apply(state, 1, ending(0), 0).labels
    people = made["send_offset"] % 20
    assert made["arm"].tolist() == drawn(people).astype(int).tolist()
    assert len(set(zip(people.tolist(), made["group"].tolist(), strict=True))) == 20


def test_records_tell_who_is_of_the_control_group():
    """For those who read hours there and ask for none."""
    state = RecipientPartition(0, SETTINGS, POLICY)
    apply(state, 0, sent(500), 0)
    live = state.live(state.take_changed()[0])
    rows = records(live, state.policy, ModelDirectory(), 1, 0)
    assert (rows["flags"] == CONTROL_FLAG).tolist() == drawn(live.ids[:, 1]).tolist()
    assert set(rows["flags"].tolist()) == {0, CONTROL_FLAG}


def answered(policy, rows):
    """Answers to requests, as their readers find them."""
    state = RecipientPartition(0, SETTINGS, policy)
    names = Names()
    names.learn(CLIENT, "c"), names.learn(7, "esp")
    batch = requests(rows, 0)
    outcome = state.apply_requests(batch)
    told = answers(state, batch, outcome.people, ModelDirectory(), names, names)
    _, values = prediction_records(told)
    rows = BinaryColumn.full(*values)
    return [msgspec.json.decode(value, type=PredictionMessage) for value in rows]


def slots_of(told):
    """Place of each answer in its window."""
    return np.array([(answer.send_at_ms - START + START % HOUR) // HOUR for answer in told])


def test_the_control_groups_slots_are_drawn_uniformly_within_the_window():
    """The arm of every answer is its recipient's, and says so; every hour is as likely."""
    rng = np.random.default_rng(2)
    identities = rng.integers(1, 1 << 62, PEOPLE).tolist()
    rows = [{**row, "id": i} for row, i in zip(sent(PEOPLE), identities, strict=True)]
    told = answered(POLICY, rows)
    mine = drawn(np.arange(PEOPLE))
    assert [answer.arm == "control" for answer in told] == mine.tolist()
    chosen = [a for a in told if a.arm == "control"]
    assert all("control group" in answer.reason for answer in chosen)
    assert chisquare(np.bincount(slots_of(chosen), minlength=SLOTS)).pvalue > 1e-4


def test_what_is_logged_is_how_often_each_slot_is_taken():
    """Strangers are all alike, so a slot has one propensity, whatever the arm; they add up to 1."""
    rng = np.random.default_rng(3)
    identities = rng.integers(1, 1 << 62, 4 * PEOPLE).tolist()
    rows = [{**row, "id": i} for row, i in zip(sent(4 * PEOPLE), identities, strict=True)]
    told = answered(POLICY, rows)
    slots, propensity = slots_of(told), np.array([answer.propensity for answer in told])
    by_slot = np.array([np.unique(propensity[slots == slot]) for slot in range(SLOTS)]).ravel()
    assert by_slot.shape == (SLOTS,)
    assert by_slot.sum() == pytest.approx(1)
    assert by_slot.min() >= POLICY.control_share / SLOTS
    expected = by_slot / by_slot.sum() * len(told)
    assert chisquare(np.bincount(slots, minlength=SLOTS), expected).pvalue > 1e-4


@pytest.mark.parametrize(("share", "expected"), [(0.0, set()), (1.0, {"control"})])
def test_no_group_and_nothing_but_the_group(share, expected):
    """The ends of the share's range."""
    told = answered(PolicySettings(control_share=share), sent(200))
    assert {answer.arm for answer in told} & {"control"} == expected
