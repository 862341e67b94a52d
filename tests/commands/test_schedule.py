"""`sendtide schedule`, from a file of requests to a file of decisions."""

from __future__ import annotations

import json

import polars as pl
from typer.testing import CliRunner

from sendtide.commands import app

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
