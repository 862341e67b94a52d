"""Off-policy estimates: the textbook's formulas, right where the truth is known; refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.lab import Decisions, evaluate, refusal
from sendtide.lab.off_policy import Overlap, clustered_interval
from sendtide.lab.reward_model import RewardModel, design, folds_of

ACTIONS = 4
LOGGING = np.array([0.55, 0.25, 0.15, 0.05])
TARGET = np.array([0.1, 0.2, 0.4, 0.3])
EFFECT = np.array([0.0, 0.05, 0.15, -0.05])
TRUTH = 0.4 + TARGET @ EFFECT
"""Of the target, in closed form: the context has mean zero."""


def log_of(seed, people=400, each=3):
    """People who differ, decisions by LOGGING, rewards that a linear model can say much of."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(people), each)
    n = len(cluster)
    action = rng.choice(ACTIONS, n, p=LOGGING)
    context = rng.normal(size=(n, 1))
    person = 0.05 * rng.normal(size=people)[cluster]
    reward = 0.4 + EFFECT[action] + 0.3 * context[:, 0] + person + 0.1 * rng.normal(size=n)
    return Decisions(
        action=action,
        actions=ACTIONS,
        propensity=LOGGING[action],
        reward=reward,
        cluster=cluster,
        context=context,
    )


@pytest.fixture(scope="module")
def draws():
    """The target judged on 800 logs."""
    return [evaluate(log, TARGET[log.action]) for log in map(log_of, range(800))]


def test_estimates_are_right_on_average(draws):
    """The mean over many logs is the closed form, within four Monte-Carlo errors."""
    for name in ("ips", "snips", "dr", "switch_dr"):
        found = np.array([getattr(value, name) for value in draws])
        allowed = 4 * found.std() / np.sqrt(len(found))
        assert abs(found.mean() - TRUTH) < allowed + (0.002 if name != "ips" else 0), name


def test_the_interval_covers_what_it_says(draws):
    """95 intervals of 100 hold the truth, though a recipient's rewards are alike."""
    covered = np.mean([low <= TRUTH <= high for low, high in (v.interval for v in draws)])
    assert 0.93 <= covered <= 0.97


def test_a_good_reward_model_pays(draws):
    """Where the model says much of the reward, dr varies far less than ips."""
    spread = {name: np.std([getattr(v, name) for v in draws]) for name in ("ips", "snips", "dr")}
    assert spread["dr"] < 0.6 * spread["ips"]
    assert spread["dr"] < spread["snips"]


def test_the_formulas_by_hand():
    """ips and snips are the sums of the textbook; dr is the mean of v + w (r - q)."""
    log = log_of(3)
    weight = TARGET[log.action] / LOGGING[log.action]
    value = evaluate(log, TARGET[log.action], seed=5)
    assert value.ips == pytest.approx(sum(weight * log.reward) / len(weight))
    assert value.snips == pytest.approx(sum(weight * log.reward) / sum(weight))
    assert value.overlap.effective == pytest.approx(sum(weight) ** 2 / sum(weight**2))
    x, fold = design(log.context), folds_of(log.cluster, np.random.default_rng(5))
    z = np.empty(len(weight))
    for mine in (fold == number for number in range(5)):
        ridge = np.vstack([x[~mine], [0, 1]])  # a ridge of one is a row more
        coefficients = np.linalg.lstsq(ridge, np.append(log.reward[~mine], 0), rcond=None)[0]
        q = x[mine] @ coefficients
        z[mine] = q + weight[mine] * (log.reward[mine] - q)
    assert value.dr == pytest.approx(z.mean(), rel=1e-9)


@given(st.floats(-50, 50))
def test_snips_follows_a_shift_and_ips_does_not(shift):
    """A constant added to all rewards moves snips by exactly that, ips by the mean weight of it."""
    log = log_of(1, people=60)
    moved = replace(log, reward=log.reward + shift)
    one, other = (evaluate(one, TARGET[log.action]) for one in (log, moved))
    assert other.snips - one.snips == pytest.approx(shift, abs=1e-9)
    assert other.ips - one.ips == pytest.approx(shift * one.overlap.mean_weight, abs=1e-9)


def test_the_logging_policy_is_worth_what_it_brought():
    """With weights of one every estimate is the mean reward."""
    log = log_of(2)
    value = evaluate(log, log.propensity)
    for name in ("ips", "snips", "dr", "switch_dr"):
        assert getattr(value, name) == pytest.approx(log.reward.mean())
    assert value.overlap.effective == pytest.approx(len(log.action))
    assert refusal(value.overlap) is None


def test_named_targets_have_their_closed_forms():
    """uniform is the mean over actions; best finds the best action, judged by other folds."""
    log = log_of(4, people=6_000)
    low, high = evaluate(log, "uniform").interval
    assert low <= 0.4 + EFFECT.mean() <= high
    best = evaluate(log, "best")
    assert best.dr == pytest.approx(0.4 + EFFECT.max(), abs=0.02)
    assert best.lift == pytest.approx(best.dr - log.reward.mean())


def test_best_does_not_flatter_itself():
    """Where no action is better than another, choosing by the model finds no lift."""
    lifts = []
    for seed in range(60):
        log = log_of(seed, people=150)
        rewards = np.random.default_rng(seed).normal(size=len(log.reward))
        lifts.append(evaluate(replace(log, reward=rewards), "best").lift)
    assert abs(np.mean(lifts)) < 3 * np.std(lifts) / np.sqrt(len(lifts))


def test_clusters_widen_the_interval():
    """Every row twice says no more than once; as rows of their own they would seem to."""
    z = np.random.default_rng(0).normal(size=200)
    twice, cluster = np.repeat(z, 2), np.repeat(np.arange(200), 2)
    assert clustered_interval(twice, cluster) == pytest.approx(
        clustered_interval(z, np.arange(200))
    )
    low, high = clustered_interval(twice, np.arange(400))
    assert high - low < 0.75 * np.diff(clustered_interval(twice, cluster))[0]


def test_folds_keep_clusters_whole_and_even():
    """A recipient's decisions are in one fold; folds have equal numbers of recipients."""
    cluster = np.repeat(np.arange(50), 7)
    fold = folds_of(cluster, np.random.default_rng(1))
    assert all(len(np.unique(fold[cluster == c])) == 1 for c in range(50))
    assert np.bincount(fold[::7]).tolist() == [10] * 5


def test_rare_actions_are_predicted_like_all():
    """An action seen once hardly leaves the pooled model."""
    x, action = np.ones((101, 1)), np.array([0] * 100 + [1])
    model = RewardModel(x, action, np.where(action == 1, 1.0, 0.2), 2)
    assert model.weights[1, 0] < 0.25


FINE = Overlap(effective=5_000, row_share=0.001, mean_weight=1.0, weight_error=0.01, unreached=0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"effective": 0.0}, "never takes a logged action"),
        ({"effective": 99.0}, "effective sample size is 99.0"),
        ({"row_share": 0.06}, "one row carries 6.0%"),
        ({"mean_weight": 0.8}, "mean weight is 0.800"),
        ({"unreached": 0.25}, "in 25.0% of the rows"),
    ],
)
def test_thin_overlap_is_refused(change, words):
    """Each way in which the log says too little has its sentence, and none where it is enough."""
    assert refusal(FINE) is None
    assert words in str(refusal(replace(FINE, **change)))


def test_a_log_that_does_not_reach_the_target_is_found_out():
    """Decisions that never take the target's favourite: the mean weight gives it away."""
    log = log_of(6, people=2_000)
    kept = log.action != 2
    seen = Decisions(
        action=log.action[kept],
        actions=ACTIONS,
        propensity=log.propensity[kept],
        reward=log.reward[kept],
        cluster=log.cluster[kept],
        context=log.context[kept],
    )
    value = evaluate(seen, TARGET[seen.action])
    assert "mean weight" in str(refusal(value.overlap))
