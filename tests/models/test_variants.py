"""The variant bandit: regret on a seeded simulation, warm starts, propensities."""

from __future__ import annotations

import numpy as np

from sendtide.events.creative import creative_of
from sendtide.models.variants import VARIANTS_PER_CLIENT, VariantBank, VariantModel

VARIANTS = np.concatenate(
    [creative_of(variant=f"v{k}", clickable_images=k, angle=f"angle-{k}") for k in range(4)]
)
TRUE_RATES = np.array([0.10, 0.14, 0.12, 0.24])
ROUNDS, BATCH = 150, 40


def _bank() -> VariantBank:
    bank = VariantBank()
    bank.grow(1)
    return bank


def _teach(bank, creatives, sends, opens) -> None:
    """So many sends of one variant, opens spread evenly among them."""
    opened = np.diff(np.arange(sends + 1) * opens // sends) > 0
    bank.learn(np.zeros(sends, np.int64), creatives, np.zeros(sends, np.int64), opened)


def _regret(policy, seed: int) -> float:
    """Opens lost against always sending the best; `policy(model, rng)` gives a variant's index."""
    rng, bank, lost = np.random.default_rng(seed), _bank(), 0.0
    for _ in range(ROUNDS):
        k = policy(bank.model(0), rng)
        _teach(bank, VARIANTS[k : k + 1], BATCH, int(rng.binomial(BATCH, TRUE_RATES[k])))
        lost += BATCH * (TRUE_RATES.max() - TRUE_RATES[k])
    return lost


def _thompson(model, rng):
    return model.choose(VARIANTS, int(rng.integers(2**31))).place


def _greedy(model, rng):
    counts = [model.counts.get(key, (0, 0)) for key in VARIANTS["variant"].tolist()]
    sends, opens = np.array(counts).T
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
    bank = _bank()
    for k in range(3):
        _teach(bank, creative_of(variant=f"good{k}", angle="front"), 400, 120)
        _teach(bank, creative_of(variant=f"bad{k}", angle="back"), 400, 20)
    new = [creative_of(variant="new-bad", angle="back")]
    new.append(creative_of(variant="new-good", angle="front"))
    model = bank.model(0)
    scores = model.scores(np.concatenate(new))
    assert scores[1] > scores[0] + 0.05
    assert model.propensities(np.concatenate(new), 3)[1] > 0.8


def test_the_propensity_is_that_of_the_draw():
    """Over many seeds the shares of choices are the means of the propensities."""
    bank = _bank()
    for k, rate in enumerate(TRUE_RATES):
        _teach(bank, VARIANTS[k : k + 1], 50, round(50 * rate))
    model = bank.model(0)
    chosen, expected = np.zeros(4), np.zeros(4)
    for seed in range(400):
        shares = model.propensities(VARIANTS, seed)
        choice = model.choose(VARIANTS, seed)
        assert choice.propensity == shares[choice.place] > 0
        chosen[choice.place] += 1
        expected += shares
    assert np.abs(chosen - expected).max() / 400 < 0.07


def test_predictions_are_those_of_a_model_read_before_each_row():
    """What comes out of `learn` is `scores` of the model as it stood."""
    rng, bank = np.random.default_rng(4), _bank()
    for _ in range(60):
        code = rng.integers(0, 4, 1)
        before = bank.model(0).scores(VARIANTS)[code[0]]
        found = bank.learn(np.zeros(1, np.int64), VARIANTS, code, rng.random(1) < 0.3)
        assert abs(found[0] - before) < 1e-12


def test_own_counts_are_bounded_and_the_one_not_seen_for_longest_goes():
    """One variant more than there is room for; the first was sent again in between."""
    bank = _bank()
    made = [creative_of(variant=f"v{k}") for k in range(VARIANTS_PER_CLIENT + 1)]
    for creative in [*made[:-1], made[0], made[-1]]:
        _teach(bank, creative, 1, 1)
    kept = bank.model(0).counts
    assert len(kept) == VARIANTS_PER_CLIENT
    assert kept[int(made[0]["variant"][0])] == (2, 2)
    assert int(made[1]["variant"][0]) not in kept
    assert VariantModel().counts == {}
