"""`sendtide lab policy`: its keys, its columns, its refusals."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

N = 6_000


@pytest.fixture
def rows():
    """Decisions of 1,500 recipients over three slots, two clients."""
    rng = np.random.default_rng(5)
    slot = rng.choice(3, N, p=[0.5, 0.3, 0.2])
    keen = rng.normal(size=N)
    return pl.DataFrame(
        {
            "client": rng.choice(["shop", "news"], N),
            "recipient": rng.integers(0, 1_500, N),
            "slot": np.array(["morning", "noon", "night"])[slot],
            "propensity": np.array([0.5, 0.3, 0.2])[slot],
            "reward": (rng.random(N) < np.array([0.2, 0.3, 0.5])[slot] + 0.02 * keen),
            "keen": keen,
            "target_probability": np.array([0.1, 0.1, 0.8])[slot],
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_the_keys_are_the_same_from_every_kind_of_file(program, rows, tmp_path, ending):
    """CSV, Parquet and JSON lines give the fixed keys and the closed form within the interval."""
    path = tmp_path / f"log.{ending}"
    write = {"csv": rows.write_csv, "parquet": rows.write_parquet, "jsonl": rows.write_ndjson}
    write[ending](path)
    run = program("lab", "policy", str(path), "--context", "keen", "--json", "-")
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert set(found["estimates"]) == {"ips", "snips", "dr", "switch_dr"}
    assert (found["refused"], found["reason"], found["recommended"]) == (False, None, "dr")
    assert (found["target"], found["rows"], found["actions"]) == ("target_probability", N, 3)
    low, high = found["interval"]
    assert low <= 0.1 * 0.2 + 0.1 * 0.3 + 0.8 * 0.5 <= high
    assert 100 < found["effective_sample_size"] < N


def test_named_targets_and_mapped_columns(program, rows, tmp_path):
    """Other column names are told by options; best is the night, uniform the mean."""
    path = tmp_path / "log.csv"
    rows.rename({"slot": "hour_bin", "propensity": "p", "reward": "bought"}).write_csv(path)
    options = ("--action", "hour_bin", "--propensity", "p", "--reward", "bought", "--json", "-")
    best, uniform = (
        json.loads(program("lab", "policy", str(path), "--target", name, *options).stdout)
        for name in ("best", "uniform")
    )
    assert best["estimates"]["dr"] == pytest.approx(0.5, abs=0.05)
    assert best["lift_interval"][0] > 0
    assert uniform["estimates"]["dr"] == pytest.approx(1 / 3, abs=0.03)


def test_the_target_may_be_an_action_a_row(program, rows, tmp_path):
    """A column of actions is a policy that takes them; one never logged is refused."""
    path = tmp_path / "log.parquet"
    rows.with_columns(target_action=pl.lit("noon")).write_parquet(path)
    found = json.loads(program("lab", "policy", str(path), "--json", "-").stdout)
    assert found["estimates"]["dr"] == pytest.approx(0.3, abs=0.05)
    rows.with_columns(mine=pl.lit("dawn")).write_parquet(path)
    run = program("lab", "policy", str(path), "--target-action", "mine", "--json", "-")
    found = json.loads(run.stdout)
    assert found["refused"] is True
    assert found["estimates"] == {"ips": None, "snips": None, "dr": None, "switch_dr": None}
    assert found["interval"] is None
    assert "refused" in run.stderr


def test_thin_logs_are_refused_with_what_to_do(program, rows, tmp_path):
    """Fifty decisions are no evidence; the reason says so, and that is an answer, not a failure."""
    path = tmp_path / "log.csv"
    rows.head(50).write_csv(path)
    run = program("lab", "policy", str(path), "--json", "-")
    found = json.loads(run.stdout)
    assert run.exit_code == 0
    assert found["refused"] is True
    assert "100 are needed" in found["reason"]


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "", "nan", "often"])
def test_a_propensity_that_is_none_is_named(program, rows, tmp_path, value):
    """Row, column, what was seen and the cure; a usage error."""
    path = tmp_path / "log.csv"
    text = rows.with_columns(pl.col("propensity").cast(pl.String))
    text[6, "propensity"] = value
    text.write_csv(path)
    run = program("lab", "policy", str(path))
    assert run.exit_code == 2
    assert "row 7" in run.stderr
    assert "'propensity'" in run.stderr
    assert "Log it with the decision" in " ".join(run.stderr.split())


def test_missing_columns_and_two_targets(program, rows, tmp_path):
    """The message lists the columns there are and the option that maps one."""
    path = tmp_path / "log.csv"
    rows.drop("propensity").write_csv(path)
    run = program("lab", "policy", str(path))
    assert run.exit_code == 2
    assert "--propensity COLUMN" in run.stderr
    rows.write_csv(path)
    run = program("lab", "policy", str(path), "--target", "best", "--target-action", "slot")
    assert run.exit_code == 2
    assert "give one" in run.stderr
