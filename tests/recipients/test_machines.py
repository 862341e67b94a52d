"""Machines that nothing marks: by haste, by bursts of clicks, by volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sendtide.events.rhythm import BINS
from sendtide.recipients import RecipientPartition
from sendtide.recipients.machines import MANY_PROMPT

from .events import HOUR, SETTINGS, START, apply

SECOND = 1_000
TEN_SECONDS = replace(SETTINGS, machine_within_ms=10 * SECOND)


def label_of(*heard, settings=TEN_SECONDS):
    """What is told of a message after these (kind, seconds after the send)."""
    state = RecipientPartition(0, settings)
    send = {"id": 1, "client": 5, "person": 1, "time": START}
    apply(state, 0, [send], 0)
    rows = [
        {**send, "id": 9 + i, "message": 1, "kind": kind, "machine": 0}
        | {"time": START + int(after * SECOND)}
        for i, (kind, after) in enumerate([*heard, ("delivered", 30 * 3600)])
    ]
    rows[-1]["message"] = 99
    labels = apply(state, 1, rows, 0).labels
    names = ("opened", "clicked", "machine_opened", "open_delay_s")
    return tuple(int(labels[name][0]) for name in names)


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        ([("open", 9)], (0, 0, 1, -1)),
        ([("open", 10)], (1, 0, 0, 10)),
        ([("delivered", 600), ("open", 609)], (0, 0, 1, -1)),
        ([("open", 609), ("delivered", 600)], (0, 0, 1, -1)),
        ([("open", 60), ("delivered", 600)], (0, 0, 1, -1)),
        ([("delivered", 600), ("open", 611)], (1, 0, 0, 611)),
        ([("open", 3), ("open", 5), ("open", 4_000)], (1, 0, 1, 4_000)),
        ([("open", s) for s in (1, 2, 3, 4, 5, 6, 900)], (1, 0, 1, 900)),
        ([("open", 3), ("click", 4)], (0, 0, 1, -1)),
        ([("open", 3), ("click", 5_000)], (0, 1, 1, 5_000)),
        ([("open", 900), ("click", 940), ("click", 940.3)], (1, 1, 0, 900)),
        ([("open", 899.5)] + [("click", 900 + k / 4) for k in range(9)], (0, 0, 1, -1)),
        ([("click", 900), ("click", 900), ("click", 900), ("click", 990)], (0, 1, 1, 990)),
    ],
)
def test_a_message_is_opened_and_clicked_by_persons_only(heard, told):
    """Whoever was there after the machine counts, at that time."""
    assert label_of(*heard) == told


def test_without_a_time_only_marks_tell_machines():
    """`machine_within = "0s"` switches it all off."""
    settings = replace(TEN_SECONDS, machine_within_ms=0)
    heard = [("open", 0.1), *[("click", 1)] * 5]
    assert label_of(*heard, settings=settings) == (1, 1, 0, 0)


def test_a_conversion_without_a_click_speaks_for_its_hour_and_reaches_as_far_as_a_click():
    """A purchase 30 hours after the send counts for the hours, where an open as late does not."""
    found = {}
    for kind in ("open", "click", "conversion"):
        state = RecipientPartition(0, replace(TEN_SECONDS, horizon_ms=50 * HOUR))
        send = {"id": 1, "client": 5, "person": 1, "time": START}
        later = {**send, "id": 9, "message": 1, "kind": kind, "machine": 0}
        apply(state, 0, [send], 0)
        apply(state, 1, [{**later, "time": START + 30 * HOUR}], 0)
        evidence = state.live(np.zeros(1, np.int32)).evidence[0]
        found[kind] = evidence[BINS : 2 * BINS].nonzero()[0].tolist()
    hour = (START // HOUR + 30) % 24
    assert found["open"] == []
    assert found["click"] == found["conversion"] == [hour // 2]


def prompt_reader(opens, after_s, every=1):
    """One recipient after `opens` daily messages, of which one in `every` is opened; last label."""
    state = RecipientPartition(0, TEN_SECONDS)
    row = {"client": 5, "person": 1, "machine": 0, "kind": "open"}
    told = []
    for day in range(opens * every):
        at = START + day * 24 * HOUR
        apply(state, 0, [{**row, "id": day + 1, "time": at}], day)
        opened = {**row, "id": 10_000 + day, "message": day + 1, "time": at + after_s * SECOND}
        end = {**opened, "id": 20_000 + day, "message": 99_999, "time": at + 23 * HOUR}
        heard = [opened, end] if day % every == 0 else [end]
        labels = apply(state, 1, heard, 2 * day).labels
        told.append(int(labels["opened"][0]))
    return state, told


def test_nobody_is_always_there_when_mail_comes():
    """Whose messages are all opened within a minute is a machine once there are enough of them."""
    state, told = prompt_reader(MANY_PROMPT + 5, 30)
    live = state.live(np.zeros(1, np.int32))

    assert told == [1] * MANY_PROMPT + [0] * 5
    assert live.evidence.sum() == 0
    assert (live.history["opens"][0], live.history["period_opens"][0]) == (0, 0)
    assert np.isnan(live.history["hours_since_open"][0])
    assert live.history["sends"][0] == MANY_PROMPT + 5


@pytest.mark.parametrize(("after_s", "every"), [(61, 1), (30, 3)])
def test_a_keen_reader_is_no_machine(after_s, every):
    """Not one who opens all but takes a minute, nor one who is often quick but misses most."""
    state, told = prompt_reader(MANY_PROMPT + 5, after_s, every)
    live = state.live(np.zeros(1, np.int32))

    assert sum(told) == MANY_PROMPT + 5
    assert live.history["opens"][0] == MANY_PROMPT + 5
