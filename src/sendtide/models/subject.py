"""What a subject line does to opens: hashed tokens and form, learned against the expected rate.

Features of a subject: hashed words and character trigrams (`events.hashing`), each 1 / sqrt(number
of tokens), in `BUCKETS` places, then the form in `FORM`. The logistic regression has no intercept
of its own; its margin is added to the log-odds of the rate the client's recipients open at anyway
(an offset, as in a generalised linear model: McCullagh and Nelder, 2nd ed., 6.2.3)::

    P(open) = sigmoid(log-odds(base rate) + w . x)

so w holds the subject's effect and not the list's. Steps are AdaGrad's (Duchi, Hazan, Singer, JMLR
12, 2011), rare tokens learn fast; a token never seen has weight 0 and changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river import base

from sendtide.events.hashing import hash_text

__all__ = ["BUCKETS", "FORM", "MAX_CHARACTERS", "Subject", "SubjectBank", "explain"]
__all__ += ["subject_features", "tokens_of"]

BUCKETS: Final = 4_096
FORM: Final = ("length", "words", "emoji", "digits", "punctuation", "capitals", "personalised")
WIDTH: Final = BUCKETS + len(FORM)
MAX_CHARACTERS: Final = 500
LEARNING_RATE: Final = 0.1
_SMALLEST: Final = 1e-3
"""Base rates are kept this far from 0 and 1."""
_WORD: Final = re.compile(r"\w+", re.UNICODE)
_PLACEHOLDER: Final = re.compile(r"\{\{.*?\}\}|\*\|.*?\|\*|%%.*?%%|\[\[.*?\]\]")

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def tokens_of(subject: str) -> list[str]:
    """Words, and trigrams of letters inside them, after NFKC and case folding; sorted, each once.

    Raises:
        ValueError: longer than MAX_CHARACTERS, or with lone surrogates, which are no text.
    """
    if len(subject) > MAX_CHARACTERS:
        msg = f"subject of {len(subject)} characters; at most {MAX_CHARACTERS}"
        raise ValueError(msg)
    subject.encode()  # a lone surrogate is a UnicodeEncodeError, itself a ValueError
    folded = unicodedata.normalize("NFKC", _PLACEHOLDER.sub(" ", subject)).casefold()
    found = set()
    for word in _WORD.findall(folded):
        found.add(f"w:{word}")
        found.update(f"c:{word[k : k + 3]}" for k in range(len(word) - 2) if len(word) > 3)
    return sorted(found)


def _form(subject: str) -> list[float]:
    """Numbers of order one, in the order of FORM."""
    letters = sum(c.isalpha() for c in subject)
    n = max(len(subject), 1)
    return [
        min(len(subject), 200) / 60.0 - 1.0 if subject else 0.0,
        len(_WORD.findall(subject)) / 10.0,
        min(sum(unicodedata.category(c) == "So" for c in subject), 3) / 3.0,
        sum(c.isdigit() for c in subject) / n,
        min(sum(unicodedata.category(c).startswith("P") for c in subject), 10) / 10.0,
        sum(c.isupper() for c in subject) / max(letters, 1),
        float(bool(_PLACEHOLDER.search(subject))),
    ]


def subject_features(subject: str) -> tuple[I64, F64]:
    """Return (places, values): the features of one subject that are not 0, each place once.

    Raises:
        ValueError: no text, or too long.
    """
    tokens = tokens_of(subject)
    scale = 1.0 / np.sqrt(max(len(tokens), 1))
    at: dict[int, float] = {}
    for token in tokens:
        place = hash_text(token) % BUCKETS
        at[place] = at.get(place, 0.0) + scale
    at |= {BUCKETS + k: value for k, value in enumerate(_form(subject)) if value}
    return np.array(list(at), np.int64), np.array(list(at.values()), np.float64)


def _log_odds(rate: Any) -> Any:
    p = np.clip(rate, _SMALLEST, 1.0 - _SMALLEST)
    return np.log(p / (1.0 - p))


@njit(cache=True)
def _predict(weights: Any, places: Any, values: Any, begins: Any, offsets: Any, rows: Any) -> Any:
    out = np.empty(len(rows))
    for i in range(len(rows)):
        margin = 0.0
        for k in range(begins[i], begins[i + 1]):
            margin += weights[rows[i], places[k]] * values[k]
        out[i] = 1.0 / (1.0 + np.exp(-(offsets[i] + margin)))
    return out


@njit(cache=True)
def _learn(
    weights: Any,
    squares: Any,
    places: Any,
    values: Any,
    begins: Any,
    offsets: Any,
    rows: Any,
    opened: Any,
    rate: float,
) -> Any:
    """Predict, then learn, row after row; return the predictions."""
    out = np.empty(len(rows))
    for i in range(len(rows)):
        row, margin = rows[i], 0.0
        for k in range(begins[i], begins[i + 1]):
            margin += weights[row, places[k]] * values[k]
        out[i] = 1.0 / (1.0 + np.exp(-(offsets[i] + margin)))
        error = out[i] - opened[i]
        for k in range(begins[i], begins[i + 1]):
            step = error * values[k]
            squares[row, places[k]] += step * step
            weights[row, places[k]] -= rate * step / (np.sqrt(squares[row, places[k]]) + 1e-8)
    return out


class SubjectBank:
    """Subject models of many clients; rows by dense client index, as in `bank.LinearBank`."""

    def __init__(self, learning_rate: float = LEARNING_RATE) -> None:
        self.learning_rate = learning_rate
        self.weights: F64 = np.zeros((0, WIDTH))
        self.squares: F64 = np.zeros((0, WIDTH))
        self.counts: I64 = np.zeros(0, np.int64)

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        missing = clients - len(self.counts)
        if missing > 0:
            missing = max(missing, len(self.counts))
            wider = np.zeros((missing, WIDTH))
            self.weights = np.concatenate([self.weights, wider])
            self.squares = np.concatenate([self.squares, wider])
            self.counts = np.concatenate([self.counts, np.zeros(missing, np.int64)])

    def predict(self, rows: I64, subjects: Sequence[str], base_rates: F64) -> F64:
        """P(open) of n subjects, each by its client's weights; changes nothing."""
        found: F64 = _predict(self.weights, *_packed(subjects), _log_odds(base_rates), rows)
        return found

    def learn(
        self, rows: I64, subjects: Sequence[str], base_rates: F64, opened: NDArray[np.bool_]
    ) -> F64:
        """Predict each row, then learn it; return the predictions made before learning."""
        np.add.at(self.counts, rows, 1)
        found: F64 = _learn(
            self.weights,
            self.squares,
            *_packed(subjects),
            _log_odds(base_rates),
            rows,
            opened,
            self.learning_rate,
        )
        return found


def _packed(subjects: Sequence[str]) -> tuple[I64, F64, I64]:
    """Return (places, values, begins) of all subjects; each distinct one is read once."""
    known = {subject: subject_features(subject) for subject in dict.fromkeys(subjects)}
    parts = [known[subject] for subject in subjects]
    begins = np.concatenate([[0], np.cumsum([len(p) for p, _ in parts])]).astype(np.int64)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0), begins
    return np.concatenate([p for p, _ in parts]), np.concatenate([v for _, v in parts]), begins


def explain(weights: F64, subject: str, top: int = 5) -> list[tuple[str, float]]:
    """The tokens and marks of form that move the log-odds most, with by how much, largest first.

    weights: (WIDTH,) one client's. Tokens that share a place share its weight.
    """
    tokens = tokens_of(subject)
    scale = 1.0 / np.sqrt(max(len(tokens), 1))
    parts = [(token[2:], float(weights[hash_text(token) % BUCKETS] * scale)) for token in tokens]
    parts += [
        (name, float(weights[BUCKETS + k] * value))
        for k, (name, value) in enumerate(zip(FORM, _form(subject), strict=True))
    ]
    moved = [part for part in parts if part[1]]
    return sorted(moved, key=lambda part: (-abs(part[1]), part[0]))[:top]


class Subject(base.Classifier):
    """The same model behind River's interface: `x` holds `subject` and `base_rate`."""

    def __init__(self, learning_rate: float = LEARNING_RATE) -> None:
        self.learning_rate = learning_rate
        self._weights: dict[int, float] = {}
        self._squares: dict[int, float] = {}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Learn one labelled send."""
        places, values = subject_features(x["subject"])
        error = self.predict_proba_one(x)[True] - float(y)
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            step = error * value
            self._squares[place] = self._squares.get(place, 0.0) + step * step
            size = self.learning_rate * step / (self._squares[place] ** 0.5 + 1e-8)
            self._weights[place] = self._weights.get(place, 0.0) - size

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """P(open) of a send with this subject to recipients who open at the base rate."""
        places, values = subject_features(x["subject"])
        pairs = zip(places.tolist(), values.tolist(), strict=True)
        margin = sum(self._weights.get(place, 0.0) * value for place, value in pairs)
        p = float(1.0 / (1.0 + np.exp(-(_log_odds(x["base_rate"]) + margin))))
        return {True: p, False: 1.0 - p}
