"""The subject model: what it learns on subjects of known effect, and that both forms agree."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.events.creative import MAX_SUBJECT, creative_of
from sendtide.models.subject import Subject, SubjectBank, explain

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


def _coded(subjects):
    """Rows of one client, distinct creatives, and each subject's place among them."""
    known = {subject: k for k, subject in enumerate(dict.fromkeys(subjects))}
    creatives = np.concatenate([creative_of(subject=subject) for subject in known])
    codes = np.array([known[subject] for subject in subjects])
    return np.zeros(len(codes), np.int64), creatives, codes


def _auc(scores, labels):
    ranks = np.argsort(np.argsort(scores)) + 1.0
    k = labels.sum()
    return (ranks[labels].sum() - k * (k + 1) / 2) / (k * (len(labels) - k))


def test_signs_are_recovered_and_ranking_beats_the_base_rate():
    """Words of known effect get weights of that sign; AUC well above that of the base rate."""
    subjects, base, opened = _sends(1, 20_000)
    bank = SubjectBank()
    bank.grow(1)
    predicted = bank.learn(*_coded(subjects), base, opened)
    late = slice(5_000, None)
    assert np.isfinite(predicted).all()
    assert _auc(predicted[late], opened[late]) > _auc(base[late], opened[late]) + 0.05
    for words, sign in ((GOOD, 1), (BAD, -1)):
        for word in words:
            same = np.array([0.2])
            known = bank.predict(*_coded([f"news {word}"]), same)[0]
            plain = bank.predict(*_coded(["news today"]), same)[0]
            assert sign * (known - plain) > 0.03
            assert word in " ".join(name for name, _ in explain(bank.weights[0], word, 3)) or (
                sign * explain(bank.weights[0], word, 1)[0][1] > 0
            )


def test_the_bank_gives_the_numbers_of_its_river_form():
    """Row by row and in columns: the same predictions."""
    subjects, base, opened = _sends(2, 300)
    bank, twin = SubjectBank(), Subject()
    bank.grow(1)
    fast = bank.learn(*_coded(subjects), base, opened)
    for i in range(300):
        x = {"subject": subjects[i], "base_rate": base[i]}
        assert twin.predict_proba_one(x)[True] == pytest.approx(fast[i], abs=1e-15)
        twin.learn_one(x, bool(opened[i]))


def test_what_was_never_seen_changes_nothing():
    """A fresh model answers the base rate, whatever the subject."""
    bank = SubjectBank()
    bank.grow(1)
    found = bank.predict(*_coded(["?", "שלום 👨‍👩‍👧 SALE!"]), np.array([0.1, 0.3]))
    assert found == pytest.approx([0.1, 0.3])


def test_half_a_character_is_refused():
    """A lone surrogate is no text; a subject has a length."""
    with pytest.raises(ValueError):
        Subject().predict_proba_one({"subject": "a\ud800", "base_rate": 0.2})
    with pytest.raises(ValueError, match=str(MAX_SUBJECT + 1)):
        Subject().predict_proba_one({"subject": "a" * (MAX_SUBJECT + 1), "base_rate": 0.2})
