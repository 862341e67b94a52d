"""Subjects and variants of a partition: no cut matters, and what travels answers the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.blocks import CREATIVES, block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.content import Content
from sendtide.clients.learning import OPEN
from sendtide.events.creative import creative_of
from sendtide.models.content_directory import ContentDirectory
from sendtide.models.registry import ModelState


def _rows(seed, n=80):
    rng = np.random.default_rng(seed)
    rates = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0.1, 0.4, n))
    codes = rng.integers(0, len(CREATIVES) + 1, n)
    return rng.integers(0, 4, n).astype(np.int32), codes, rates, rng.random(n) < 0.3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 80))
def test_blocks_and_restarts_make_no_difference(seed, cut):
    """All at once, or cut in two with a snapshot between: the same tables, weights and counts."""
    rows, codes, rates, opened = _rows(seed)
    whole, part, again = Content(), Content(), Content()
    whole.learn(rows, CREATIVES, codes, rates, opened)
    turned = (codes - 2) % len(CREATIVES) + 1
    turned[codes == 0] = 0
    some, rest = slice(0, cut), slice(cut, None)
    part.learn(rows[some], CREATIVES, codes[some], rates[some], opened[some])
    again.restore(part.snapshot(4))
    again.learn(rows[rest], np.roll(CREATIVES, -1), turned[rest], rates[rest], opened[rest])
    expected, found = whole.snapshot(4), again.snapshot(4)
    assert expected.keys() == found.keys()
    for name, column in expected.items():
        assert np.array_equal(column, found[name]), name


def test_only_what_is_told_is_learned():
    """Rows without a creative, and a subject without a base rate, teach nothing."""
    content = Content()
    codes, rates = np.array([0, 1, 1, 4]), np.array([0.2, np.nan, 0.2, np.nan])
    content.learn(np.zeros(4, np.int32), CREATIVES, codes, rates, np.ones(4, bool))
    assert [(name, learned) for name, learned, _ in content.known(0)] == [
        ("subject", 1),
        ("variant", 1),
    ]
    assert list(content.known(1)) == []


def test_states_travel_as_bytes_and_answer_the_same():
    """Through `ml.models` into the directory: the partition's own numbers; strangers the base."""
    partition, directory = ClientPartition(0, ClientSettings()), ContentDirectory()
    rows = example_rows(3_000, clients=2)
    invited, sale = rows["creative"] == 3, rows["creative"] == 1
    rows["opened"][invited] = 1
    rows["opened"][sale] = 0
    partition.apply(block(rows, "label"))
    for state in partition.take_models():
        directory.apply(state.to_bytes())
    names, content = ["client-0", "client-1", "other"], partition.content
    subjects = ["🎉 You are invited", "Big sale today", "🎉 You are invited"]
    told = directory.subject_probability(names, subjects, np.full(3, 0.3))
    assert told[0] > 0.4 > 0.2 > told[1]
    assert told[2] == pytest.approx(0.3)
    row = partition.roster.names.index("client-0")
    place, one = content.place[row : row + 1, 0], np.zeros(1, np.int64)
    own = content.subjects.predict(place, creative_of(subject=subjects[0]), one, np.full(1, 0.3))
    assert told[0] == own[0]
    versions, newest = directory.newest(names, "subject")
    assert versions[2] == newest[2] == 0 < versions[0]
    variants = CREATIVES[2:4]
    scores, shares, place = directory.variant_choice("client-0", variants, 5)
    model = content.variants.model(int(content.place[row, 1]))
    assert scores.tolist() == model.scores(variants).tolist()
    assert shares[0] > 0.95
    assert shares[place] > 0


def test_progressive_log_loss_is_better_than_that_of_the_propensity():
    """Where a word decides, the subject's predictions before learning beat their base rate."""
    partition, rows = ClientPartition(0, ClientSettings()), example_rows(6_000, clients=1)
    rng = np.random.default_rng(5)
    told = np.flatnonzero((rows["creative"] == 1) | (rows["creative"] == 2))
    rows["opened"][told] = rng.random(len(told)) < np.where(rows["creative"][told] == 1, 0.6, 0.1)
    learned = partition.apply(block(rows, "label")).learned
    p = learned.propensities[np.isin(rows["creative"], (1, 2, 3)), OPEN]
    y = learned.label[np.isin(rows["creative"], (1, 2, 3))]
    base = -np.where(y, np.log(p), np.log1p(-p)).mean()
    shown = {s.model: s for s in partition.summaries()}["subject"]
    assert shown.learned == len(y)
    assert shown.log_loss < base - 0.05
    assert ModelState.from_bytes(partition.take_models()[2].to_bytes()).model == "subject"
