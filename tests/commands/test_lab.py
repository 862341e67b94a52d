"""`sendtide lab`: the fixed keys, honest figures, and clear refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sendtide.events.messages import CONTENT_FIELDS

NEWSLETTERS = Path(
    os.environ.get("SENDTIDE_NEWSLETTERS")
    or Path(__file__).parents[3] / "shared" / "data" / "newsletters.parquet"
)
DAY_S = 86_400


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Twelve weekly issues to 400 people who differ in how much they open."""
    rng = np.random.default_rng(3)
    people, issues = 400, 12
    keen = rng.beta(0.5, 2.0, people)
    opened = rng.random((issues, people)) < keen
    table = {
        "sent_at_s": np.repeat(1_577_900_000 + 7 * DAY_S * np.arange(issues), people),
        "subscriber": np.tile(np.arange(people), issues),
        "opened_within_week": opened.ravel(),
        "clicks": (opened & (rng.random((issues, people)) < 0.2)).ravel().astype(np.int16),
        **{name: np.full(people * issues, i + 1) for i, name in enumerate(CONTENT_FIELDS)},
    }
    path = tmp_path_factory.mktemp("lab") / "newsletters.parquet"
    pl.DataFrame(table).write_parquet(path)
    return path


def test_newsletters_has_its_keys_and_repeats(program, archive):
    """Scores by target, at the send and by quarter; twice the same numbers."""
    runs = [program("lab", "newsletters", str(archive), "--json", "-") for _ in range(2)]
    assert [run.exit_code for run in runs] == [0, 0], runs[0].stderr
    one, other = (json.loads(run.stdout) for run in runs)
    assert one["rows"] == 4_800
    for scores in (one["open"], one["click"], one["baseline"]["open"], one["at_send"]["open"]):
        assert set(scores) == {"auc", "log_loss"}
    assert one["open"]["auc"] > 0.7
    assert one["open"]["log_loss"] < one["baseline"]["open"]["log_loss"] + 0.02
    assert [quarter["quarter"] for quarter in one["quarters"]] == ["2020-Q1"]
    assert one["quarters"][0]["open"]["rows"] == 4_800
    placebo = one["control_group"]["open"]
    assert placebo["verdict"] == "no lift yet"
    assert placebo["rest_sends"] + placebo["control_sends"] == 4_800
    del one["seconds"], other["seconds"]
    assert one == other


@pytest.mark.skipif(not NEWSLETTERS.exists(), reason="no newsletters file at hand")
def test_the_real_log(program):
    """The goals, the change of March 2020 among that spring's alarms, and no lift of a placebo."""
    run = program("lab", "newsletters", str(NEWSLETTERS), "--json", "-")
    found = json.loads(run.stdout)
    assert found["open"]["auc"] >= 0.870
    assert found["open"]["log_loss"] <= 0.330
    assert found["at_send"]["open"]["log_loss"] <= 0.330
    assert found["open"]["auc"] > found["baseline"]["open"]["auc"]
    assert found["click"]["auc"] > found["baseline"]["click"]["auc"]
    assert {part["verdict"] for part in found["control_group"].values()} == {"no lift yet"}
    spring = [q for q in found["quarters"] if q["quarter"] in {"2020-Q1", "2020-Q2"}]
    assert any(alarm["metric"] == "log_loss" for quarter in spring for alarm in quarter["alarms"])


def opens_file(path, seed=1):
    """Forty people with hours of their own, and a machine, in no order."""
    rng = np.random.default_rng(seed)
    lines = ["user,opened_at"]
    for person in range(40):
        hour = rng.integers(0, 24)
        for day in rng.permutation(60)[:30]:
            at = np.datetime64("2024-01-08") + np.timedelta64(int(day), "D")
            minute = int(hour * 60 + rng.integers(0, 60))
            lines.append(f"person-{person},{at + np.timedelta64(minute, 'm')}")
    start = np.datetime64("2024-01-08T00:00:07")
    for beat in range(100):
        lines.append(f"robot,{start + np.timedelta64(900 * beat, 's')}")
    body = lines[1:]
    rng.shuffle(body)
    path.write_text("\n".join([lines[0], *body]) + "\n")


def test_opens_beat_one_histogram_and_leave_machines_out(program, tmp_path):
    """Personal rhythms are found in unsorted rows, the machine is named and not counted."""
    opens_file(tmp_path / "opens.csv")
    run = program("lab", "opens", str(tmp_path / "opens.csv"), "--json", "-")
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["machines"] == ["robot"]
    assert found["opens_used"] == 1_200
    assert set(found["global"]) == {"hit1", "hit3", "log_loss"}
    assert found["hit1"] > 3 * found["global"]["hit1"]
    assert found["hit3"] > 3 * found["global"]["hit3"]
    assert found["log_loss"] < found["global"]["log_loss"] - 0.5


def test_the_clock_of_a_zone(program, tmp_path):
    """At a fixed local hour across the change to summer time, only the zone's clock is steady."""
    days = pl.datetime_range(
        pl.datetime(2024, 2, 1, 8, time_zone="Europe/Paris"),
        pl.datetime(2024, 5, 30, 8, time_zone="Europe/Paris"),
        "1d",
        eager=True,
    )
    jitter = np.random.default_rng(1).integers(0, 3_500, len(days))
    times = days + pl.Series(jitter).cast(pl.Duration("us")) * 1_000_000
    path = tmp_path / "opens.parquet"
    pl.DataFrame({"user": ["anna"] * len(days), "opened_at": times}).write_parquet(path)
    hits = [
        json.loads(program("lab", "opens", str(path), "--timezone", zone, "--json", "-").stdout)
        for zone in ("Europe/Paris", "UTC")
    ]
    assert hits[0]["hit1"] > 0.98
    assert hits[1]["hit1"] < hits[0]["hit1"]
    assert hits[0]["log_loss"] < hits[1]["log_loss"]


def test_refusals(program, tmp_path):
    """A wrong row is named with its column, a wrong zone with an example; both are usage errors."""
    bad = tmp_path / "bad.csv"
    bad.write_text("user,opened_at\nanna,2024-01-01 10:00\nbert,noon\n")
    run = program("lab", "opens", str(bad))
    assert run.exit_code == 2
    assert "row 2" in run.stderr
    assert "'opened_at' holds 'noon'" in run.stderr
    run = program("lab", "opens", str(bad), "--timezone", "Paris")
    assert run.exit_code == 2
    assert "Europe/Paris" in run.stderr
