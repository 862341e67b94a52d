"""`sendtide lab uplift`: fixed keys, which arm is the control, returns, refusals."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def trial(tmp_path):
    """Three arms, named as in Hillstrom's mail test; visits differ, spending follows them."""
    rng = np.random.default_rng(8)
    n = 9_000
    arm = rng.integers(0, 3, n)
    history = rng.normal(size=n)
    visit = rng.random(n) < np.array([0.10, 0.15, 0.18])[arm] + 0.03 * history
    path = tmp_path / "trial.csv"
    pl.DataFrame(
        {
            "segment": np.array(["No E-Mail", "Womens E-Mail", "Mens E-Mail"])[arm],
            "visit": visit.astype(int),
            "spend": visit * rng.exponential(20, n),
            "history": history,
        }
    ).write_csv(path)
    return path


def run_of(program, trial, *options):
    return program(
        *("lab", "uplift", str(trial), "--treatment", "segment", "--outcome", "visit"), *options
    )


def test_the_keys(program, trial):
    """Per arm mean, lift, interval and roi; the control is found by its name; no money, no roi."""
    run = run_of(program, trial, "--json", "-")
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["control"] == "No E-Mail"
    assert set(found["arms"]) == {"No E-Mail", "Womens E-Mail", "Mens E-Mail"}
    mens, control = found["arms"]["Mens E-Mail"], found["arms"]["No E-Mail"]
    assert mens["lift"] == pytest.approx(mens["mean"] - control["mean"])
    assert mens["interval"][0] < 0.08 < mens["interval"][1]
    assert mens["relative_lift"] == pytest.approx(mens["lift"] / control["mean"])
    assert mens["p_value"] < 0.001
    assert mens["roi"] is None
    assert control["lift"] is control["interval"] is None


def test_returns_and_covariates(program, trial):
    """Spending against what a mail costs; a covariate narrows the interval."""
    plain = json.loads(run_of(program, trial, "--json", "-").stdout)
    options = ("--revenue", "spend", "--cost", "0.1", "--covariate", "history", "--json", "-")
    found = json.loads(run_of(program, trial, *options).stdout)
    mens = found["arms"]["Mens E-Mail"]
    assert mens["roi_interval"][0] < (20 * 0.08 - 0.1) / 0.1 < mens["roi_interval"][1]
    assert np.ptp(mens["interval"]) < np.ptp(plain["arms"]["Mens E-Mail"]["interval"])
    by_value = json.loads(
        run_of(program, trial, "--value", "20", "--cost", "0.1", "--json", "-").stdout
    )
    assert by_value["arms"]["Mens E-Mail"]["roi"] == pytest.approx(
        (20 * plain["arms"]["Mens E-Mail"]["lift"] - 0.1) / 0.1
    )


def test_the_table_for_people(program, trial):
    """Arms with signs, and how many comparisons the intervals hold for."""
    shown = run_of(program, trial).stdout
    assert "Mens E-Mail" in shown
    assert "2 comparisons at once" in shown


def test_an_ambiguous_control_lists_the_arms(program, trial):
    """Nobody guesses: the arms are named and the option is."""
    renamed = pl.read_csv(trial).with_columns(
        pl.col("segment").replace({"No E-Mail": "early", "Mens E-Mail": "late"})
    )
    renamed.write_csv(trial)
    run = run_of(program, trial)
    assert run.exit_code == 2
    assert "'Womens E-Mail', 'early', 'late'; say --control ARM" in run.stderr
    run = run_of(program, trial, "--control", "early", "--json", "-")
    assert json.loads(run.stdout)["control"] == "early"
    run = run_of(program, trial, "--control", "soon")
    assert run.exit_code == 2
    assert "'soon' is no arm" in run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cost", "1"), "a return needs --cost and one of"),
        (("--value", "1"), "a return needs --cost and one of"),
        (("--value", "1", "--revenue", "spend", "--cost", "1"), "give one"),
        (("--value", "1", "--cost", "0"), "not above 0"),
        (("--covariate", "segment"), "column 'segment' holds"),
    ],
)
def test_refusals(program, trial, options, words):
    """Half of what a return needs, and a covariate of words, are usage errors."""
    run = run_of(program, trial, *options)
    assert run.exit_code == 2
    assert words in run.stderr


def test_arms_of_one_row_and_constant_outcomes(program, tmp_path):
    """Both are said in words, not in NaN."""
    path = tmp_path / "a.csv"
    path.write_text("arm,y\ncontrol,1\ncontrol,0\ncontrol,1\nx,1\n")
    run = program("lab", "uplift", str(path), "--treatment", "arm", "--outcome", "y")
    assert run.exit_code == 2
    assert "arm 'x'" in run.stderr
    path.write_text("arm,y\n" + "control,1\nx,1\n" * 5)
    run = program("lab", "uplift", str(path), "--treatment", "arm", "--outcome", "y")
    assert run.exit_code == 2
    assert "no difference" in run.stderr
