"""Scores are exact, and the baseline is the one whose figures are published."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.connectors import Newsletters
from sendtide.lab import (
    auc,
    beta_binomial,
    by_period,
    calibration_curve,
    calibration_error,
    log_loss,
    month_names,
    score,
)

NEWSLETTERS = Path(
    os.environ.get("SENDTIDE_NEWSLETTERS")
    or Path(__file__).parents[3] / "shared" / "data" / "newsletters.parquet"
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_ordered_right(rows):
    """AUC equals the count over all pairs, ties half; NaN without both classes."""
    label, prediction = np.array([r[0] for r in rows]), np.array([r[1] / 7 for r in rows])
    pairs = [(p > n) + (p == n) / 2 for p in prediction[label] for n in prediction[~label]]

    assert auc(label, prediction) == pytest.approx(
        np.mean(pairs) if pairs else float("nan"), nan_ok=True
    )


def test_log_loss_is_the_mean_surprise_in_nats():
    """A known case by hand: -(ln .8 + ln .9) / 2."""
    found = log_loss(np.array([True, False]), np.array([0.8, 0.1]))

    assert found == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 2, rel=1e-15)


def test_certain_errors_cost_much_but_not_everything():
    """A prediction of 0 for what happened costs a finite 34.5 nats."""
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(34.54, abs=0.01)


@pytest.mark.parametrize("prediction", [[0.5], [0.5, np.nan], [0.5, np.inf]])
def test_unpaired_or_non_finite_predictions_are_refused(prediction):
    """A score never hides missing or broken predictions."""
    with pytest.raises(ValueError):
        score(np.array([True, False]), np.array(prediction))


def test_baseline_predicts_a_whole_issue_before_learning_any_of_it():
    """By hand: the prior of 0.2, then counts after each moment, never within it."""
    person = np.array([7, 9, 7, 9])
    sent = np.array([0, 0, 5, 5])
    opened = np.array([True, False, False, True])
    mean = 2 / 7  # one of five to begin with, then one of two

    assert beta_binomial(person, sent, opened) == pytest.approx(
        [0.2, 0.2, (1 + 4 * mean) / 5, (4 * mean) / 5]
    )


def test_baseline_refuses_rows_out_of_order():
    """Unsorted rows would let the future leak in."""
    with pytest.raises(ValueError, match="send order"):
        beta_binomial(np.array([1, 1]), np.array([5, 4]), np.array([True, False]))


@pytest.mark.skipif(not NEWSLETTERS.exists(), reason="no newsletters file at hand")
def test_baseline_reaches_its_published_figures_on_the_real_file():
    """AUC 0.8465 and log loss 0.3432 on 622,614 real deliveries."""
    file = Newsletters(NEWSLETTERS)
    found = score(file.opened, beta_binomial(file.subscriber, file.sent_at_ms, file.opened))

    assert found.rows == 622_614
    assert (round(found.auc, 4), round(found.log_loss, 4)) == (0.8465, 0.3432)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_the_curve_holds_all_rows_and_the_error_of_calibration(rows):
    """Distances of its points from the diagonal, weighed by rows, are the calibration error."""
    label, prediction = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    curve = calibration_curve(label, prediction)

    assert sum(n for n, _, _ in curve) == len(rows)
    apart = sum(n * abs(rate - told) for n, told, rate in curve) / len(rows)
    assert apart == pytest.approx(calibration_error(label, prediction), abs=1e-12)


def test_months_are_scored_by_themselves():
    """The last moment of a month and the first of the next are apart."""
    at_ms = np.array(["2020-02-29T23:59:59.999", "2020-03-01", "2020-03-31"], "datetime64[ms]")
    months = month_names(at_ms.astype(np.int64))
    found = by_period(months, np.array([1, 0, 1]), np.array([0.9, 0.2, 0.6]))

    assert {month: one["rows"] for month, one in found.items()} == {"2020-02": 1, "2020-03": 2}
    assert found["2020-03"]["auc"] == 1.0
    assert found["2020-02"]["predicted"] == pytest.approx(0.9)
