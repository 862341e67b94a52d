"""The accumulator of subjects: cuts into blocks and restarts make no difference."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.clients.subjects import Subjects

SPELLINGS = ["", "Big sale", "Invoice 4711", "🎉 You are invited"]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 60))
def test_blocks_and_restarts_make_no_difference(seed, cut):
    """All at once, or cut in two with a snapshot between: the same weights and predictions."""
    rng = np.random.default_rng(seed)
    rows, codes = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    rates, opened = rng.uniform(0.1, 0.4, 60), rng.random(60) < 0.3
    whole, part = Subjects(), Subjects()
    expected = whole.learn(rows, SPELLINGS, codes, rates, opened)
    first = part.learn(rows[:cut], SPELLINGS, codes[:cut], rates[:cut], opened[:cut])
    again = Subjects()
    again.restore(part.snapshot())
    rest = again.learn(rows[cut:], SPELLINGS, codes[cut:], rates[cut:], opened[cut:])
    assert np.array_equal(np.concatenate([first, rest]), expected, equal_nan=True)
    assert np.isnan(expected[codes == 0]).all()
    for name, column in whole.snapshot().items():
        assert np.array_equal(column, again.snapshot()[name])
