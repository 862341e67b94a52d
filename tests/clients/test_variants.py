"""The accumulator of variants: counts, snapshots, and what travels to the endpoint."""

from __future__ import annotations

import numpy as np

from sendtide.clients.subjects import Subjects
from sendtide.clients.variants import Variants
from sendtide.models.content_directory import ContentDirectory
from sendtide.models.registry import ModelState
from sendtide.models.variants import Variant

KNOWN = [None, Variant(name="hero", clickable_images=1), Variant(name="plain", angle_code=3)]


def _learned(seed: int) -> Variants:
    rng, found = np.random.default_rng(seed), Variants()
    rows, codes = rng.integers(0, 2, 500), rng.integers(0, 3, 500)
    found.learn(rows, KNOWN, codes, rng.random(500) < np.array([0.2, 0.5, 0.1])[codes])
    return found


def test_a_snapshot_gives_the_same_model_back():
    """Counts, weights and the next scores."""
    before, after = _learned(1), Variants()
    names, columns = before.snapshot()
    after.restore(names, columns)
    for row, model in before.models.items():
        assert after.models[row].counts == model.counts
        assert after.models[row].scores(KNOWN[1:]).tolist() == model.scores(KNOWN[1:]).tolist()


def test_own_counts_do_not_depend_on_the_blocks():
    """Rows in two blocks or one."""
    rng = np.random.default_rng(2)
    rows, codes, opened = rng.integers(0, 2, 99), rng.integers(0, 3, 99), rng.random(99) < 0.3
    whole, parts = Variants(), Variants()
    whole.learn(rows, KNOWN, codes, opened)
    for some in (slice(0, 40), slice(40, 99)):
        parts.learn(rows[some], KNOWN, codes[some], opened[some])
    assert {r: m.counts for r, m in whole.models.items()} == {
        r: m.counts for r, m in parts.models.items()
    }


def test_states_travel_as_bytes_and_answer_the_same():
    """Both kinds through `ModelState` into the directory; a stranger gets the base rate."""
    variants, subjects = _learned(3), Subjects()
    opened = np.arange(200) % 2 == 0
    codes = np.where(opened, 1, 2)
    spellings = ["", "gift for you", "terms of use"]
    rates = np.full(200, 0.3)
    subjects.learn(np.zeros(200, np.int64), spellings, codes, rates, opened)
    directory = ContentDirectory()
    for state in (variants.state(0, "acme", 7), subjects.state(0, "acme", 7)):
        directory.apply(ModelState.from_bytes(state.to_bytes()))
    scores, shares = directory.variant_scores("acme", KNOWN[1:], 5)
    assert scores.tolist() == variants.models[0].scores(KNOWN[1:]).tolist()
    assert shares[0] > 0.95
    asked = (["acme", "acme", "other"], ["gift for you", "terms of use", "gift for you"])
    gift, terms, stranger = directory.subject_probability(*asked, np.full(3, 0.3))
    assert gift > 0.3 > terms
    assert abs(stranger - 0.3) < 1e-12
