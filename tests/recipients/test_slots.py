"""Slots of windows, beside a loop that says the same in plain Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.recipients.slots import best_slots, slot_times

HOUR = 3_600_000
START = 1_790_000_000_000


def times_of(start, end):
    """The window cut at whole hours, its first part from the window's start; at most a week."""
    hours = range(start - start % HOUR + HOUR, end, HOUR)
    return [start, *hours][:168]


@given(
    st.lists(st.tuples(st.integers(0, 5 * HOUR), st.integers(1, 200 * HOUR)), min_size=1),
    st.booleans(),
)
def test_windows_are_cut_at_whole_hours(windows, whole):
    """Windows that begin or end on the hour and those that do not, short ones and a fortnight."""
    unit = HOUR if whole else 1
    starts = [(START + a) // unit * unit for a, _ in windows]
    ends = [
        s + max(length // unit * unit, 1) for s, (_, length) in zip(starts, windows, strict=True)
    ]
    times, begins = slot_times(np.array(starts), np.array(ends))
    cut = [times[a:b].tolist() for a, b in pairwise(begins)]
    assert cut == [times_of(s, e) for s, e in zip(starts, ends, strict=True)]


@given(st.data())
def test_the_best_slots_come_first_and_the_earlier_of_equals(data):
    """As a stable sort has it, whatever the ties, and -1 where a window has fewer."""
    window = st.lists(st.integers(0, 167), min_size=1, max_size=40)
    windows = data.draw(st.lists(window, min_size=1))
    scores = data.draw(st.lists(st.integers(0, 4), min_size=168, max_size=168))
    table = np.tile(np.array(scores, np.float32), (len(windows), 1))
    begins = np.cumsum([0, *map(len, windows)])
    found = best_slots(np.concatenate(windows).astype(np.uint8), begins, table, 8)
    for row, window in zip(found.tolist(), windows, strict=True):
        order = sorted(range(len(window)), key=lambda s: (-scores[window[s]], s))[:8]
        assert row == order + [-1] * (8 - len(order))
