"""The subject model: what it learns on subjects of known effect, and that both forms agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.models.subject import Subject, SubjectBank, explain, subject_features

GOOD, BAD, PLAIN = ("invitation", "yours"), ("invoice", "boring"), ("news", "today", "june", "list")


def _sends(seed: int, n: int):
    """Subjects whose good and bad words move the log-odds by 1, lists that open at 5 to 40%."""
    rng = np.random.default_rng(seed)
    subjects, effect = [], np.zeros(n)
    for i in range(n):
        words = list(rng.choice(PLAIN, 2))
        kind = rng.integers(3)
        if kind < 2:
            words.append(str(rng.choice((GOOD, BAD)[kind])))
            effect[i] = (1.0, -1.0)[kind]
        subjects.append(" ".join(rng.permutation(words)))
    base = rng.uniform(0.05, 0.4, n)
    p = 1 / (1 + np.exp(-(np.log(base / (1 - base)) + effect)))
    return subjects, base, rng.random(n) < p


def _auc(scores, labels):
    ranks = np.argsort(np.argsort(scores)) + 1.0
    k = labels.sum()
    return (ranks[labels].sum() - k * (k + 1) / 2) / (k * (len(labels) - k))


def test_signs_are_recovered_and_ranking_beats_the_base_rate():
    """Words of known effect get weights of that sign; AUC well above that of the base rate."""
    subjects, base, opened = _sends(1, 20_000)
    bank = SubjectBank()
    bank.grow(1)
    predicted = bank.learn(np.zeros(20_000, np.int64), subjects, base, opened)
    late = slice(5_000, None)
    assert np.isfinite(predicted).all()
    assert _auc(predicted[late], opened[late]) > _auc(base[late], opened[late]) + 0.05
    for words, sign in ((GOOD, 1), (BAD, -1)):
        for word in words:
            same = np.array([0.2])
            known = bank.predict(np.zeros(1, np.int64), [f"news {word}"], same)[0]
            plain = bank.predict(np.zeros(1, np.int64), ["news today"], same)[0]
            assert sign * (known - plain) > 0.03
            assert word in " ".join(name for name, _ in explain(bank.weights[0], word, 3)) or (
                sign * explain(bank.weights[0], word, 1)[0][1] > 0
            )


def test_the_bank_gives_the_numbers_of_its_river_twin():
    """Row by row and in columns: the same predictions to rounding."""
    subjects, base, opened = _sends(2, 300)
    bank, twin = SubjectBank(), Subject()
    bank.grow(1)
    fast = bank.learn(np.zeros(300, np.int64), subjects, base, opened)
    for i in range(300):
        x = {"subject": subjects[i], "base_rate": base[i]}
        assert twin.predict_proba_one(x)[True] == pytest.approx(fast[i], abs=1e-12)
        twin.learn_one(x, bool(opened[i]))


def test_what_was_never_seen_changes_nothing():
    """A fresh model answers the base rate, whatever the subject."""
    bank = SubjectBank()
    bank.grow(1)
    found = bank.predict(np.zeros(2, np.int64), ["", "שלום 👨‍👩‍👧 SALE!"], np.array([0.1, 0.3]))
    assert found == pytest.approx([0.1, 0.3])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_becomes_finite_numbers(subject):
    """Any Unicode: right-to-left, joined emoji, controls; places are distinct, values finite."""
    places, values = subject_features(subject)
    assert len(set(places.tolist())) == len(places)
    assert np.isfinite(values).all()


def test_half_a_character_is_refused():
    """A lone surrogate is no text; a subject has a length."""
    with pytest.raises(ValueError):
        subject_features("a\ud800")
    with pytest.raises(ValueError, match="501"):
        subject_features("a" * 501)
