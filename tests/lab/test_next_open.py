"""Hours of next opens: better where there is a rhythm, never worse where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.lab import machine_like, next_open_hours

HOUR_MS, DAY_MS, START_MS = 3_600_000, 86_400_000, 1_700_000_000_000 // 86_400_000 * 86_400_000


def opens(people, each, *, rhythm, seed=1):
    """User, time and hour of opens on random days, at own hours or at everybody's."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(people), each)
    own = rng.integers(0, 24, people)[user] if rhythm else np.full(len(user), 12)
    hour = (own + np.rint(rng.normal(0, 1.2 if rhythm else 4.0, len(user)))).astype(int) % 24
    day = rng.integers(0, 200, len(user))
    time_ms = START_MS + day * DAY_MS + hour * HOUR_MS + rng.integers(0, HOUR_MS, len(user))
    order = np.argsort(time_ms, kind="stable")
    return user[order], time_ms[order], hour[order]


def test_personal_rhythms_are_found():
    """Twice as many hits as one histogram of everybody, at a clearly lower loss."""
    found = next_open_hours(*opens(200, 40, rhythm=True))
    assert found.opens == 8_000
    assert found.personal.hit1 > 2 * found.everybody.hit1
    assert found.personal.hit3 > 2 * found.everybody.hit3
    assert found.personal.log_loss < found.everybody.log_loss - 0.5


def test_without_rhythms_nothing_is_lost():
    """The mixture's loss exceeds everybody's by no more than its bound, ln 9 in seven strata."""
    for each in (3, 40):
        found = next_open_hours(*opens(200, each, rhythm=False))
        lost = (found.personal.log_loss - found.everybody.log_loss) * found.opens
        assert lost <= 7 * np.log(9)
        assert found.personal.hit1 >= found.everybody.hit1 - 0.01
        assert found.personal.hit3 >= found.everybody.hit3 - 0.01


def test_everybody_equals_a_plain_count():
    """The histogram beside it, recounted open by open, ties predicted before any is learned."""
    user, time_ms, hour = opens(20, 30, rhythm=True)
    time_ms = time_ms // DAY_MS * DAY_MS
    loss, hits = 0.0, 0
    for i in range(len(user)):
        before = hour[time_ms < time_ms[i]]
        p = (np.bincount(before, minlength=24) + 1) / (len(before) + 24)
        loss -= np.log(p[hour[i]])
        hits += int(p.argmax() == hour[i])
    found = next_open_hours(user, time_ms, hour).everybody
    assert found.log_loss == pytest.approx(loss / len(user), abs=1e-12)
    assert found.hit1 == hits / len(user)


def test_opens_of_one_moment_do_not_tell_each_other():
    """In whatever order ties stand, all measures are the same."""
    user, time_ms, hour = opens(20, 30, rhythm=True)
    time_ms = time_ms // DAY_MS * DAY_MS
    order = np.lexsort([-user, time_ms])
    one = next_open_hours(user, time_ms, hour)
    other = next_open_hours(user[order], time_ms[order], hour[order])
    assert one.personal.log_loss == pytest.approx(other.personal.log_loss, abs=1e-9)
    with pytest.raises(ValueError, match="order of time"):
        next_open_hours(user, time_ms[::-1], hour)


def test_machines_are_told_from_people():
    """Bursts, volume, a fixed beat; people with tight rhythms and busy days are left alone."""
    rng = np.random.default_rng(2)
    people = [opens(30, 60, rhythm=True, seed=s)[:2] for s in (1, 2)]
    tight = START_MS + np.arange(120) * DAY_MS + 8 * HOUR_MS + rng.normal(0, 900_000, 120)
    bursts = np.repeat(START_MS + np.sort(rng.integers(0, 90 * DAY_MS, 15)), 3)
    bursts = bursts + np.tile([0, 200, 600], 15)
    volume = START_MS + rng.integers(0, 5 * DAY_MS, 300)
    beat = START_MS + np.arange(60) * HOUR_MS + rng.integers(-20_000, 20_000, 60)
    exact = START_MS + np.arange(30) * DAY_MS + 17_123 + rng.integers(-500, 500, 30)
    parts = [*(t for _, t in people), tight, bursts, volume, beat, exact]
    codes = [
        people[0][0],
        people[1][0] + 30,
        *(np.full(len(p), 60 + i) for i, p in enumerate(parts[2:])),
    ]
    user, time_ms = np.concatenate(codes), np.concatenate(parts).astype(np.int64)
    shuffled = rng.permutation(len(user))
    assert machine_like(user[shuffled], time_ms[shuffled]).tolist() == [61, 62, 63, 64]
    assert machine_like(user[:0], time_ms[:0]).tolist() == []
    few = np.arange(19) * 100 + START_MS
    assert machine_like(np.zeros(19, np.int64), few).tolist() == []
