"""`sendtide schedule`, from a file of requests to a file of decisions."""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sendtide.commands import app
from sendtide.events.hashing import hash_text, in_control
from sendtide.events.records import RECIPIENT_LAYOUT, RECIPIENT_RECORD, encode_scores
from sendtide.sinks import Owner, RecipientRows, RedisSink

NOW_MS = 1_788_220_800_000  # 2026-09-01T00:00:00Z
HOUR_MS = 3_600_000


def _requests(path, n: int = 6) -> None:
    rows = [
        {
            "id": f"m{k}",
            "recipient_id": f"r{k % 3}",
            "provider": "gmail",
            "window_start_ms": NOW_MS,
            "window_end_ms": NOW_MS + 48 * HOUR_MS,
            "scores": [0.1 + 0.001 * h for h in range(168)],
        }
        for k in range(n)
    ]
    pl.DataFrame(rows).write_ndjson(path)


def test_every_request_comes_back_with_a_time(tmp_path):
    """Two messages each to three people, one a day, one an hour to the provider: all fit."""
    source, rules, out = tmp_path / "in.ndjson", tmp_path / "rules.toml", tmp_path / "out.csv"
    _requests(source)
    rules.write_text('per_day = 1\nquiet_hours = ["22:00", "07:00"]\n[rates]\ngmail = 1\n')
    arguments = ["schedule", str(source), "--rules", str(rules), "--out", str(out), "--json", "-"]
    shown = CliRunner().invoke(app, [*arguments, "--now", str(NOW_MS)])
    assert shown.exit_code == 0, shown.output
    result = json.loads(shown.stdout)
    assert (result["requests"], result["relaxed"]) == (6, {})
    decisions = pl.read_csv(out)
    assert decisions["id"].to_list() == [f"m{k}" for k in range(6)]
    assert len(set((decisions["send_at_ms"] // HOUR_MS).to_list())) == 6
    for recipient in ("r0", "r1", "r2"):
        times = decisions.filter(pl.col("recipient_id") == recipient)["send_at_ms"]
        assert times.max() - times.min() >= 24 * HOUR_MS


def test_a_mistake_in_the_rules_is_reported_with_its_line(tmp_path):
    """File, line, key and what is allowed; exit code 2."""
    source, rules = tmp_path / "in.ndjson", tmp_path / "rules.toml"
    _requests(source)
    rules.write_text("per_day = 1\nper_wek = 3\n[rates]\ngmail = -5\n")
    shown = CliRunner().invoke(app, ["schedule", str(source), "--rules", str(rules)])
    assert shown.exit_code == 2
    assert f"{rules}:2: per_wek" in shown.stderr.replace("\n", "")
    assert f"{rules}:4: rates.gmail" in shown.stderr.replace("\n", "")
    assert "per_week" in shown.stderr


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".ndjson"])
def test_every_kind_of_file_gives_the_same_decisions(program, tmp_path, ending):
    """Requests and decisions in one format are those in another."""
    table = pl.DataFrame(
        {
            "id": [f"m{k}" for k in range(8)],
            "recipient_id": [f"r{k % 4}" for k in range(8)],
            "timezone": ["Europe/Berlin", "Asia/Tokyo"] * 4,
            "window_start_ms": [NOW_MS + k * HOUR_MS for k in range(8)],
            "window_end_ms": [NOW_MS + (k + 30) * HOUR_MS for k in range(8)],
        }
    )
    source, out = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    writers = {".parquet": table.write_parquet, ".csv": table.write_csv}
    writers.get(ending, table.write_ndjson)(source)
    rules = tmp_path / "rules.toml"
    rules.write_text('per_day = 1\nquiet_hours = ["20:00", "09:00"]\n')

    shown = program("schedule", str(source), "--rules", str(rules), "--out", str(out), "--now", "0")

    assert shown.exit_code == 0, shown.stderr
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv}
    found = readers.get(ending, pl.read_ndjson)(out)
    assert found["id"].to_list() == table["id"].to_list()
    berlin = found.gather_every(2)["send_at_ms"] // HOUR_MS % 24
    tokyo = found.gather_every(2, 1)["send_at_ms"] // HOUR_MS % 24
    assert berlin.is_between(7, 17).all(), "09:00 to 20:00 is 7 to 18 UTC in summer"
    assert tokyo.is_between(0, 10).all(), "09:00 to 20:00 is 0 to 11 UTC"


def test_what_was_sent_before_counts_towards_the_caps(program, tmp_path):
    """One a week, sent yesterday: the next is a week after that; who got nothing is not held up."""
    source, rules, out = tmp_path / "in.csv", tmp_path / "rules.toml", tmp_path / "out.csv"
    sent = tmp_path / "sent.csv"
    window = {"window_start_ms": [NOW_MS] * 2, "window_end_ms": [NOW_MS + 240 * HOUR_MS] * 2}
    pl.DataFrame({"recipient_id": ["r0", "r1"], **window}).write_csv(source)
    pl.DataFrame({"recipient_id": ["r0"], "sent_at_ms": [NOW_MS - 24 * HOUR_MS]}).write_csv(sent)
    rules.write_text("per_week = 1\n")

    arguments = ["schedule", str(source), "--rules", str(rules), "--out", str(out)]
    shown = program(*arguments, "--sent", str(sent), "--now", str(NOW_MS))

    assert shown.exit_code == 0, shown.stderr
    held, free = pl.read_csv(out)["send_at_ms"].to_list()
    assert held >= NOW_MS + 6 * 24 * HOUR_MS > free

    pl.DataFrame({"recipient": ["r0"]}).write_csv(sent)
    shown = program(*arguments, "--sent", str(sent))
    assert shown.exit_code == 2
    assert "sent_at_ms" in shown.stderr


def test_scores_come_from_redis(program, cluster, tmp_path):
    """Each known recipient's message goes out in the hour that recipient scores best."""
    hours = np.array([5, 77, 150])
    curves = np.full((3, 168), 0.1)
    curves[np.arange(3), hours] = 0.6
    records = np.zeros(3, RECIPIENT_RECORD)
    records["layout"] = RECIPIENT_LAYOUT
    records["score_scale"], records["scores"] = encode_scores(curves)
    people = np.array([[0, k + 1] for k in range(3)], np.uint64)
    rows = RecipientRows(clients=["planned"], client_index=np.zeros(3, int), recipients=people)
    with closing(RedisSink(cluster.redis)) as sink:
        sink.write_recipients(Owner("recipients", 0, 1), rows, records)
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table = pl.DataFrame({"recipient_id": [f"{k + 1:032x}" for k in range(4)]}).with_columns(
        client_id=pl.lit("planned"),
        timezone=pl.lit("UTC"),
        window_start_ms=pl.lit(NOW_MS),
        window_end_ms=pl.lit(NOW_MS + 168 * HOUR_MS),
    )
    table.write_csv(source)

    arguments = ["schedule", str(source), "--redis", cluster.redis, "--out", str(out)]
    shown = program(*arguments, "--now", str(NOW_MS))

    assert shown.exit_code == 0, shown.stderr
    assert "3 of 4 recipients are known" in shown.stderr
    planned = pl.read_csv(out)
    monday_ms = 4 * 24 * HOUR_MS  # 1970-01-05
    local = (planned["send_at_ms"] - monday_ms) // HOUR_MS % 168
    assert local[:3].to_list() == hours.tolist()
    assert planned["open_probability"][:3].to_numpy() == pytest.approx(0.6, abs=0.01)

    table.drop("client_id").write_csv(source)
    shown = program(*arguments)
    assert shown.exit_code == 2
    assert "client_id" in shown.stderr


def test_the_control_group_is_the_one_of_everywhere_else(tmp_path):
    """By client and recipient, drawn with a propensity; without clients there is none."""
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    ids = [f"{k:032x}" for k in range(400)]
    frame = pl.DataFrame(
        {
            "client_id": ["acme"] * 400,
            "recipient_id": ids,
            "window_start_ms": [NOW_MS] * 400,
            "window_end_ms": [NOW_MS + 24 * HOUR_MS] * 400,
        }
    )
    frame.write_parquet(source)
    arguments = ["schedule", str(source), "--out", str(out), "--now", str(NOW_MS), "--json", "-"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    halves = np.array([(0, k) for k in range(400)], np.uint64)
    expected = in_control(np.full(400, hash_text("acme"), np.uint64), halves, "", 0.05)
    decisions = pl.read_parquet(out)
    assert (decisions["arm"] == "control").to_list() == expected.tolist()
    assert json.loads(shown.stdout)["control"] == expected.sum() > 5
    told = decisions["propensity"].to_list()
    assert [p is not None for p in told] == expected.tolist()
    assert {round(p, 6) for p in told if p} == {round(1 / 24, 6)}
    frame.drop("client_id").write_parquet(source)
    shown = CliRunner().invoke(app, arguments)
    assert json.loads(shown.stdout)["control"] == 0
