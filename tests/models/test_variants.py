"""The variant bandit: regret on a seeded simulation, warm starts, propensities."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.models.variants import Variant, VariantModel

VARIANTS = [Variant(name=f"v{k}", clickable_images=k, angle_code=k + 1) for k in range(4)]
TRUE_RATES = np.array([0.10, 0.14, 0.12, 0.24])
ROUNDS, BATCH = 150, 40


def _regret(policy, seed: int) -> float:
    """Opens lost against always sending the best; `policy(model, rng)` gives a variant's index."""
    rng, model, lost = np.random.default_rng(seed), VariantModel(), 0.0
    for _ in range(ROUNDS):
        k = policy(model, rng)
        model.learn(VARIANTS[k], BATCH, int(rng.binomial(BATCH, TRUE_RATES[k])))
        lost += BATCH * (TRUE_RATES.max() - TRUE_RATES[k])
    return lost


def _thompson(model, rng):
    name = model.choose(VARIANTS, int(rng.integers(2**31))).variant
    return next(k for k, v in enumerate(VARIANTS) if v.name == name)


def _greedy(model, rng):
    sends, opens = np.array([model.counts.get(v.name, (0, 0)) for v in VARIANTS]).T
    if rng.random() < 0.1:
        return int(rng.integers(4))
    return int(np.argmax(np.where(sends > 0, opens / np.maximum(sends, 1), 0.0)))


def test_regret_is_lower_than_at_random_and_than_epsilon_greedy():
    """Mean over ten seeds; and in the end the best variant is chosen nearly always."""
    ours = np.mean([_regret(_thompson, s) for s in range(10)])
    greedy = np.mean([_regret(_greedy, s) for s in range(10)])
    random = np.mean([_regret(lambda _, rng: int(rng.integers(4)), s) for s in range(10)])
    assert ours < greedy < random


def test_a_new_variant_of_known_good_make_is_preferred_before_its_first_send():
    """Three variants of one angle did well, three of another badly; two new ones, no own data."""
    model = VariantModel()
    for k in range(3):
        model.learn(Variant(name=f"good{k}", angle_code=1), 400, 120)
        model.learn(Variant(name=f"bad{k}", angle_code=2), 400, 20)
    new = [Variant(name="new-bad", angle_code=2), Variant(name="new-good", angle_code=1)]
    scores = model.scores(new)
    assert scores[1] > scores[0] + 0.05
    assert model.propensities(new, 3)[1] > 0.8


def test_the_propensity_is_that_of_the_draw():
    """Over many seeds the shares of choices are the means of the propensities."""
    model = VariantModel()
    for variant, rate in zip(VARIANTS, TRUE_RATES, strict=True):
        model.learn(variant, 50, round(50 * rate))
    names = [v.name for v in VARIANTS]
    chosen, expected = np.zeros(4), np.zeros(4)
    for seed in range(400):
        shares = model.propensities(VARIANTS, seed)
        choice = model.choose(VARIANTS, seed)
        assert choice.propensity == shares[names.index(choice.variant)] > 0
        chosen[names.index(choice.variant)] += 1
        expected += shares
    assert np.abs(chosen - expected).max() / 400 < 0.07


def test_impossible_counts_are_refused():
    """More opens than sends would make a negative posterior."""
    with pytest.raises(ValueError, match="2 opens of 1"):
        VariantModel().learn(VARIANTS[0], 1, 2)
