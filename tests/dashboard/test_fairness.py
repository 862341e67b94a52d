"""Fairness: groups that are alike are said to be, those that are not are named, few say so."""

import numpy as np
import pytest

from sendtide.dashboard.fairness import MIN_GROUP_LABELS, fairness
from sendtide.events.groups import BANDS, PLACES
from sendtide.models.propensity import TARGETS
from sendtide.models.registry import ModelState

NAMES = ("gmail.com", "outlook.com", "yahoo.com", "other")


def state(labels, seed, off=0.0, noise=0.0, lifts=None, names=NAMES):
    """A state of groups whose opens have random chances, predicted up to noise.

    off: added to the log-odds of the first group's opens alone. noise: of its predictions.
    """
    rng, k = np.random.default_rng(seed), len(names)
    rows, sums = np.zeros((len(TARGETS), k, 2), np.int64), np.zeros((len(TARGETS), k, 4))
    for i, n in enumerate(labels):
        logit = rng.normal(-1.0 - 0.4 * i, 1.0, n)
        chance = 1 / (1 + np.exp(-(logit + off * (i == 0))))
        p = 1 / (1 + np.exp(-(logit + noise * (i == 0) * rng.normal(0, 1, n))))
        y = rng.random(n) < chance
        losses = -np.log(np.where(y, p, 1 - p))
        rows[0, i] = n, y.sum()
        sums[0, i] = p.sum(), losses.sum(), (p * (1 - p)).sum(), (losses**2).sum()
    rows[1], sums[1] = rows[0], sums[0]
    columns = {
        "groups.places": np.array([PLACES.index(name) for name in names], np.uint8),
        "groups.rows": rows,
        "groups.sums": sums,
        "groups.lifts": np.full((k, 3), np.nan) if lifts is None else np.array(lifts),
    }
    return ModelState(
        client_id="c",
        model="propensity",
        kind="propensity",
        model_version=1,
        learned=1,
        newest_event_ms=1,
        origin=0,
        columns=columns,
    )


def told(*args, **options):
    return fairness(state(*args, **options), "open")


def outside(gap):
    return gap["low"] > 0 or gap["high"] < 0


def test_groups_that_are_alike_are_said_to_be():
    """Of 400 calibrated models 5% may name a group: the interval holds for all together."""
    gaps = [told([3_000] * 4, seed)["gaps"]["mailbox_providers"] for seed in range(400)]
    wrong = sum(outside(gap["calibration"]) for gap in gaps)
    assert wrong <= 34  # 99.9% of Binomial(400, 0.05)
    alike = told([3_000] * 4, 1)["says"]["mailbox_providers"]
    assert "between 4 groups by no more than chance would" in alike[0]


def test_a_group_that_is_predicted_too_low_is_named():
    """With the size of it, in points and in the right direction."""
    found = told([3_000] * 4, 1, off=0.4)
    gap = found["gaps"]["mailbox_providers"]["calibration"]
    assert gap["group"] == "gmail.com"
    assert 0 < gap["low"] < gap["difference"] < gap["high"]
    group = found["mailbox_providers"][0]
    assert gap["difference"] == pytest.approx(group["observed"] - group["predicted"], abs=0.01)
    says = found["says"]["mailbox_providers"][0]
    assert says.startswith("What happened minus what was predicted differs between groups: gmail")


def test_a_group_that_is_predicted_worse_has_less_skill():
    """Its calibration may be no worse."""
    gap = told([6_000] * 4, 1, noise=1.5)["gaps"]["mailbox_providers"]["skill"]
    assert gap["group"] == "gmail.com"
    assert gap["high"] < 0


def test_groups_too_small_say_so_and_are_not_compared():
    """However odd what they say."""
    found = told([3_000, 3_000, MIN_GROUP_LABELS - 1, 50], 1)
    says = found["says"]["mailbox_providers"][-1]
    assert says == "Too few labels for a judgement, 200 are needed: yahoo.com, other."
    assert found["gaps"]["mailbox_providers"]["calibration"]["groups"] == 2
    alone = told([3_000, 50, 50, 50], 1)
    assert alone["gaps"]["mailbox_providers"] is None
    assert "nothing can be compared" in alone["says"]["mailbox_providers"][-1]


def test_what_no_send_told_is_no_group_to_compare():
    """Rows of before are shown; the card says how to tell providers."""
    found = told([5_000], 1, names=("not told",))
    assert found["mailbox_providers"][0]["labels"] == 5_000
    assert "`sendtide produce`" in found["says"]["mailbox_providers"][0]
    both = told([5_000, 3_000, 3_000], 1, names=("not told", "gmail.com", "other"))
    assert both["gaps"]["mailbox_providers"]["calibration"]["groups"] == 2


def test_lifts_differ_where_their_intervals_are_apart():
    """And of other targets than the open none is told."""
    lifts = [[0.10, 0.08, 0.12], [0.01, -0.02, 0.04], [0.05, 0.01, 0.09], [np.nan] * 3]
    found = told([3_000] * 4, 1, lifts=lifts)
    says = found["says"]["mailbox_providers"][2]
    assert says.startswith("The lift over the control group differs between groups: gmail.com +10")
    assert "outlook.com +1.0 points (-2.0 to +4.0)" in says
    assert found["mailbox_providers"][3]["lift"] is None
    close = told([3_000] * 4, 1, lifts=[[0.1, 0.0, 0.2]] * 4)["says"]["mailbox_providers"][2]
    assert close == "No two of 4 groups' lifts over the control group are apart."
    clicks = fairness(state([3_000] * 4, 1, lifts=lifts), "click")["mailbox_providers"]
    assert [group["lift"] for group in clicks] == [None] * 4


def test_bands_and_providers_are_kept_apart():
    """A place is of the kind its number says."""
    found = told([500, 600, 700], 1, names=(BANDS[0], BANDS[4], "other"))
    assert [g["group"] for g in found["time_zones"]] == [BANDS[0], BANDS[4]]
    assert [g["group"] for g in found["mailbox_providers"]] == ["other"]
