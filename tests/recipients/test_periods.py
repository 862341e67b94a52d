"""Counts by period: they commute, stay at their most, and forget what is too old."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.examples import PERIOD_BITS, PERIOD_MS, PERIODS
from sendtide.recipients import RecipientPartition, digest
from sendtide.recipients.periods import counted, newest_sum, shifted

from .events import HOUR, SETTINGS, START, apply

MOST = 2**PERIOD_BITS - 1
periods = st.lists(st.integers(0, 60), min_size=1, max_size=60)


def kept(arrivals):
    """Word and newest period after sends of these periods, in this order."""
    word, newest = np.uint64(0), 0
    for period in arrivals:
        if period > newest:
            word, newest = np.uint64(shifted(word, period - newest)), period
        word = np.uint64(counted(word, newest - period))
    return word, newest


def fields(word):
    """All counts, newest first."""
    return [(int(word) >> (PERIOD_BITS * age)) & MOST for age in range(PERIODS)]


@given(arrivals=periods, order=st.randoms())
def test_any_order_gives_the_counts(arrivals, order):
    """The word holds, for each of the newest periods, how many there were, at most seven."""
    mixed = list(arrivals)
    order.shuffle(mixed)
    word, newest = kept(mixed)
    expected = [min(arrivals.count(newest - age), MOST) for age in range(PERIODS)]
    assert newest == max(arrivals)
    assert fields(word) == [e if newest - age >= 0 else 0 for age, e in enumerate(expected)]
    assert newest_sum(word, PERIODS) == sum(expected)


@given(arrivals=periods, later=st.integers(-30, 30))
def test_seen_from_another_time(arrivals, later):
    """Later, counts are older by as much; earlier, those that are newer are not there."""
    word, _ = kept(arrivals)
    before = fields(word)
    moved = fields(shifted(word, later))
    for age in range(PERIODS):
        expected = before[age - later] if 0 <= age - later < PERIODS else 0
        assert moved[age] == expected


def test_a_recipients_history_reaches_over_periods():
    """Sends months apart, opened or not, are found in the words of the next send's history."""
    state = RecipientPartition(0, SETTINGS)
    ages = [12, 5, 5, 1]
    for number, age in enumerate(ages):
        at = START - age * PERIOD_MS
        send = {"id": number + 1, "client": 11, "person": 1, "time": at}
        opened = {**send, "id": 100 + number, "message": number + 1, "kind": "open", "machine": 1}
        apply(state, 0, [send], number)
        apply(state, 1, [{**opened, "time": at + HOUR}], number) if number % 2 else None
    last = {"id": 50, "client": 11, "person": 2, "time": START}
    apply(state, 1, [{**last, "message": 99, "kind": "delivered", "machine": 0}], 90)
    told = state.history_as_of(np.zeros(1, np.int32), np.array([START], np.int64))
    period = START // PERIOD_MS
    whole = [period - (START - age * PERIOD_MS) // PERIOD_MS for age in ages]
    sends, opens = fields(told["period_sends"][0]), fields(told["period_opens"][0])
    assert [sends[age] for age in sorted(set(whole))] == [1, 2, 1]
    assert sum(opens) == 2
    assert told["period"][0] == period
    assert state.people["pending"][0] == -1, "all are retired, so the words are the kept ones"
    assert digest(state)
