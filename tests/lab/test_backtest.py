"""A log replayed: what is told of a send rests on nothing that came after it."""

from __future__ import annotations

import numpy as np
import pytest

import histories
from histories import DAY_MS
from sendtide import lab
from sendtide.connectors.history import read_history
from sendtide.connectors.history_events import client_hashes, hours_of
from sendtide.connectors.mapping import mapping_of
from sendtide.events.batch import Names
from sendtide.events.rhythm import BIN_HOURS
from sendtide.events.time import ZoneTable

HORIZON_MS = 3 * DAY_MS


def replayed(frame, path):
    """(History, Foreseen) of a frame in HackerRank's schema."""
    histories.write(frame, path)
    history = read_history(path, mapping_of("hackerrank", frame.columns, {}), HORIZON_MS)
    names = Names()
    for code, name in zip(client_hashes(history).tolist(), history.clients, strict=True):
        names.learn(code, name)
    hours, _ = ZoneTable().local_hours(history.sent_at_ms, history.zone)
    test = lab.Backtest(hours, HORIZON_MS, 60 * DAY_MS, names, history.segments)
    for part in hours_of(history, int(history.sent_at_ms[-1]) + HORIZON_MS):
        test.apply(part)
    return history, test.seen


@pytest.fixture(scope="module")
def log():
    """Sixty days; the later half behaves as the earlier one."""
    drawn = histories.sends(
        11,
        40,
        60,
        lambda rng, n: rng.integers(0, 24, n),
        lambda p, h: 0.1 + 0.7 * (h // 6 == p % 4),
    )
    order = np.lexsort([drawn["person"], drawn["sent"]])
    return {name: column[order] for name, column in drawn.items()}


def test_labels_are_the_files(log, tmp_path):
    """Every send is labelled, with what the file says became of it within the horizon."""
    history, seen = replayed(histories.hackerrank(log), tmp_path / "log.parquet")
    assert seen.labelled.all()
    for place, fact in ((0, "opened"), (1, "clicked")):
        delay = history.facts.at_ms[fact] - history.sent_at_ms
        assert np.array_equal(seen.facts[:, place], (delay >= 0) & (delay < HORIZON_MS))
    assert np.isfinite(seen.at_send).all()
    assert np.isfinite(seen.progressive).all()
    assert (seen.best >= seen.used).all()


def test_the_future_changes_nothing_of_what_was_told_before(log, tmp_path):
    """Other outcomes from a day on: what was told of sends until then is the same, bit by bit."""
    _, one = replayed(histories.hackerrank(log), tmp_path / "one.parquet")
    cut = histories.START_MS + 40 * DAY_MS
    later = log["sent"] >= cut
    other = {**log, "opened": log["opened"] ^ later, "clicked": log["clicked"] & ~later}
    other["opened_at"] = np.where(other["opened"], log["sent"] + 600_000, -1)
    other["opened_at"] = np.where(later, other["opened_at"], log["opened_at"])
    other["clicked_at"] = np.where(other["clicked"], log["clicked_at"], -1)
    _, two = replayed(histories.hackerrank(other), tmp_path / "two.parquet")
    before = ~later
    for name in ("at_send", "used", "best", "best_hour", "by_bin", "tier", "effective"):
        assert np.array_equal(getattr(one, name)[before], getattr(two, name)[before]), name
    assert not np.array_equal(one.used, two.used)


def test_who_opens_in_the_morning_is_told_the_morning(log, tmp_path):
    """After two months the hours told are those of each one's own quarter of the day."""
    history, seen = replayed(histories.hackerrank(log).drop("hacker_timezone").with_columns(
        hacker_timezone=0), tmp_path / "log.csv")  # fmt: skip
    last = history.sent_at_ms > histories.START_MS + 50 * DAY_MS
    person = log["person"][last]
    assert (seen.best_hour[last] // 6 == person % 4).mean() > 0.8


def test_a_known_effect_is_estimated_within_its_interval(log, tmp_path):
    """From the file to the estimate: the gain of the hours told, by the chances of the log."""
    frame = histories.hackerrank(log).with_columns(hacker_timezone=0)
    history, seen = replayed(frame, tmp_path / "log.parquet")
    hour = (history.sent_at_ms // histories.HOUR_MS + 72) % 168
    day = history.sent_at_ms // DAY_MS
    sent = lab.Sent(
        names=history.clients,
        client=history.client,
        recipient=history.recipient,
        day=day,
        hour_of_week=hour,
    )
    found = lab.by_log(seen, sent, lab.sender_hours(sent))
    person, best = log["person"], BIN_HOURS * seen.by_bin.argmax(axis=1)
    at_target = 0.1 + 0.7 * (best // 6 == person % 4)
    as_it_was = 0.1 + 0.7 * (hour % 24 // 6 == person % 4)
    gain = (at_target - as_it_was).mean()
    assert gain > 0.3
    assert found.reason is None
    low, high = found.value.lift_interval
    assert low <= gain <= high
    assert high - low < 0.2
