"""Alarms: discoveries against scipy, the effect floor, dwell, snapshots."""

import numpy as np
from scipy.stats import false_discovery_control

from sendtide.monitoring import Alarms, AlarmSettings, discoveries

NO, YES = np.array([[0.01, 0.5]]), np.array([[0.3, 0.5]])
P = np.array([[1e-9, 0.9]])
ALL = np.ones((1, 2), bool)


def _alarms(dwell: int = 3) -> Alarms:
    alarms = Alarms(2, AlarmSettings(0.05, 0.1, dwell))
    alarms.grow(1)
    return alarms


def test_discoveries_are_benjamini_and_hochbergs() -> None:
    """The same p-values pass as with scipy's adjusted p-values."""
    rng = np.random.default_rng(2)
    for share in (0.0, 0.1, 0.6):
        p = np.where(rng.random((40, 7)) < share, rng.random((40, 7)) * 0.001, rng.random((40, 7)))
        adjusted = false_discovery_control(p.ravel()).reshape(p.shape)
        assert (discoveries(p, 0.05) == (adjusted <= 0.05)).all()
    assert discoveries(np.zeros((0,)), 0.05).shape == (0,)


def test_noise_over_thousands_of_series_stays_silent() -> None:
    """At a false discovery rate of 5%, pure noise has no discovery in most windows."""
    rng = np.random.default_rng(5)
    windows = [discoveries(rng.random((100, 20)), 0.05).any() for _ in range(300)]
    assert np.mean(windows) < 0.09


def test_alarm_opens_and_closes_after_the_dwell() -> None:
    """Three windows out of line open it, one in between starts again, three in line close it."""
    alarms = _alarms()
    seen = [
        alarms.judge(e, P, ALL, t)
        for t, e in enumerate([YES, YES, NO, YES, YES, YES, YES, NO, NO, NO])
    ]
    assert [t for t, c in enumerate(seen) if len(c.firing)] == [5]
    assert [t for t, c in enumerate(seen) if len(c.resolved)] == [9]
    assert seen[5].firing.tolist() == [[0, 0]]
    assert seen[5].firing_since_ms.tolist() == [3]
    assert seen[9].resolved_since_ms.tolist() == [7]


def test_neither_small_effects_nor_chance_fire() -> None:
    """A significant effect below the floor, and a large one that may be chance, raise nothing."""
    alarms = _alarms(1)
    assert not len(alarms.judge(NO, P, ALL, 0).firing)
    assert not len(alarms.judge(YES, np.full((1, 2), 0.4), ALL, 1).firing)
    assert not alarms.warning().any()


def test_unjudged_windows_change_nothing_and_snapshots_go_on() -> None:
    """Windows with too few rows neither help nor end a dwell; a restored alarm goes on counting."""
    alarms = _alarms(2)
    alarms.judge(YES, P, ALL, 0)
    alarms.judge(NO, P, ~ALL, 1)
    assert alarms.warning().tolist() == [[True, False]]
    restored = _alarms(2)
    restored.restore(alarms.snapshot())
    assert len(restored.judge(YES, P, ALL, 2).firing) == 1
    assert not alarms.firing.any()
