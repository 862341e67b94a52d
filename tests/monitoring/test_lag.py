"""Burrow's rules, one by one, and in their order."""

from __future__ import annotations

import pytest

from sendtide.monitoring import LagSample, LagWindow


def judged(offsets, lags, now_s=None, samples=4):
    """Status of a window with a sample each ten seconds, asked at the last one's time."""
    window = LagWindow(samples)
    for number, (offset, lag) in enumerate(zip(offsets, lags, strict=True)):
        window.add(LagSample(10.0 * number, offset, lag))
    return window.status(10.0 * (len(offsets) - 1) if now_s is None else now_s)


@pytest.mark.parametrize("place", range(4))
def test_a_lag_of_zero_at_any_time_of_the_window_is_well(place):
    """Whoever caught up within the window is not slow, even if nothing moved since."""
    lags = [9, 9, 9, 9]
    lags[place] = 0
    assert judged([5, 5, 5, 5], lags) == "ok"


def test_what_happened_before_the_window_is_forgotten():
    """A zero that has left the window no longer excuses a stall."""
    assert judged([5, 5, 5, 5, 5], [0, 9, 9, 9, 9]) == "stall"


@pytest.mark.parametrize(
    ("offsets", "lags", "status"),
    [
        ([5, 6, 4, 7], [9, 9, 9, 9], "rewind"),
        ([5, 5, 5, 5], [1, 2, 3, 4], "stall"),
        ([5, 6, 7, 8], [3, 3, 4, 5], "warning"),
        ([5, 6, 7, 8], [3, 3, 3, 3], "warning"),
        ([5, 6, 7, 8], [5, 6, 4, 9], "ok"),
    ],
)
def test_each_rule_speaks_for_itself(offsets, lags, status):
    """Falling offsets, none moving, moving with a lag that never shrank, and a lag that did."""
    assert judged(offsets, lags) == status


def test_nobody_looking_for_longer_than_the_window_is_a_stop():
    """Three samples span twenty seconds: twenty more are patience, a moment longer is not."""
    assert judged([1, 2, 3], [9, 8, 7], now_s=40.0) == "ok"
    assert judged([1, 2, 3], [9, 8, 7], now_s=40.1) == "stop"


def test_a_window_that_is_not_full_convicts_nobody_of_slowness():
    """After an assignment a partition has its backlog and no history."""
    assert judged([5, 5, 5], [9, 9, 9]) == "ok"
    assert judged([5], [9]) == "ok"
    assert LagWindow().status(0.0) == "ok"


@pytest.mark.parametrize(
    ("offsets", "lags", "standing_s"),
    [
        ([5], [9], 0.0),
        ([5, 5, 5], [9, 9, 8], 20.0),
        ([4, 5, 5], [9, 9, 9], 10.0),
        ([5, 5, 5], [9, 0, 9], 0.0),
        ([5, 5, 5], [0, 0, 0], 0.0),
        ([5] * 9, [9] * 9, 80.0),
    ],
)
def test_standing_is_counted_from_the_first_sample_that_found_work_there(offsets, lags, standing_s):
    """However much longer than the window it lasts; who moves, or has nothing to do, stands not."""
    window = LagWindow(4)
    assert window.standing_s() == 0.0
    for number, (offset, lag) in enumerate(zip(offsets, lags, strict=True)):
        window.add(LagSample(10.0 * number, offset, lag))
    assert window.standing_s() == standing_s
