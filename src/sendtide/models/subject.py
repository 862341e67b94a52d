"""What a subject line does to opens: hashed tokens and form, learned against the expected rate.

Features of a subject (`events.creative`): the places of its tokens among `BUCKETS`, each
1 / sqrt(number of places), then its form, each at most 1. The logistic regression has no intercept
of its own; its margin is added to the log-odds of the rate at which the recipient opens anyway
(an offset, as in a generalised linear model: McCullagh and Nelder, 2nd ed., 6.2.3)::

    P(open) = sigmoid(log-odds(base rate) + w . x)

so w holds the subject's effect and not the list's. Steps are AdaGrad's (Duchi, Hazan, Singer, JMLR
12, 2011), rare tokens learn fast; a token never seen has weight 0 and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river import base

from sendtide.events.creative import (
    BUCKETS,
    FORM,
    NO_PLACE,
    TOKENS,
    creative_of,
    subject_tokens,
    subject_traits,
)

__all__ = ["WIDTH", "Subject", "SubjectBank", "explain", "has_subject"]

WIDTH: Final = BUCKETS + len(FORM)
LEARNING_RATE: Final = 0.1
_SMALLEST: Final = 1e-3
"""Base rates are kept this far from 0 and 1."""
_FORM_SCALE: Final = 1 / 255

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Codes = NDArray[np.integer[Any]]


def has_subject(creatives: NDArray[np.void]) -> NDArray[np.bool_]:
    """(m,) which of the CREATIVE rows tell a subject."""
    return np.asarray((creatives["places"][:, 0] != NO_PLACE) | creatives["form"].any(axis=1))


def _log_odds(rate: Any) -> Any:
    p = np.clip(rate, _SMALLEST, 1.0 - _SMALLEST)
    return np.log(p / (1.0 - p))


@njit(cache=True)
def _probability(weights: Any, places: Any, count: int, form: Any, offset: float) -> float:
    margin = 0.0
    for k in range(count):
        margin += weights[places[k]]
    margin /= np.sqrt(max(count, 1))
    for k in range(len(form)):
        margin += weights[BUCKETS + k] * form[k] * _FORM_SCALE
    return float(1.0 / (1.0 + np.exp(-(offset + margin))))


@njit(cache=True)
def _step(weights: Any, squares: Any, place: int, gradient: float, rate: float) -> None:
    squares[place] += gradient * gradient
    weights[place] -= rate * gradient / (np.sqrt(squares[place]) + 1e-8)


@njit(cache=True)
def _run(
    weights: Any,
    squares: Any,
    rows: Any,
    places: Any,
    form: Any,
    codes: Any,
    offsets: Any,
    opened: Any,
    rate: float,
) -> Any:
    """Predict n rows in order and, with a rate above 0, learn each before the next.

    codes: (n,) of each row's subject among places and form, -1 for none: NaN comes out.
    """
    out = np.full(len(rows), np.nan)
    for i in range(len(rows)):
        code = codes[i]
        if code < 0:
            continue
        mine, count = weights[rows[i]], 0
        while count < TOKENS and places[code, count] != NO_PLACE:
            count += 1
        out[i] = _probability(mine, places[code], count, form[code], offsets[i])
        if rate <= 0.0:
            continue
        error, sums = out[i] - opened[i], squares[rows[i]]
        for k in range(count):
            _step(mine, sums, places[code, k], error / np.sqrt(count), rate)
        for k in range(form.shape[1]):
            if form[code, k]:
                _step(mine, sums, BUCKETS + k, error * form[code, k] * _FORM_SCALE, rate)
    return out


class SubjectBank:
    """Subject models of many clients; rows by dense index, as in `bank.LinearBank`.

    weights, squares: (rows, WIDTH), 66 KB a client.
    """

    def __init__(self, learning_rate: float = LEARNING_RATE) -> None:
        self.learning_rate = learning_rate
        self.weights: F64 = np.zeros((0, WIDTH))
        self.squares: F64 = np.zeros((0, WIDTH))

    def grow(self, rows: int) -> None:
        """Have room for `rows` models."""
        missing = rows - len(self.weights)
        if missing > 0:
            wider = np.zeros((max(missing, len(self.weights)), WIDTH))
            self.weights = np.concatenate([self.weights, wider])
            self.squares = np.concatenate([self.squares, wider])

    def predict(self, rows: I64, creatives: NDArray[np.void], codes: Codes, base_rates: F64) -> F64:
        """P(open) of n sends, each by its client's weights; changes nothing.

        codes: (n,) of each one's subject among the CREATIVE rows, -1 for none: NaN comes out.
        """
        return self._run(rows, creatives, codes, base_rates, np.zeros(len(rows), np.bool_), 0.0)

    def learn(
        self,
        rows: I64,
        creatives: NDArray[np.void],
        codes: Codes,
        base_rates: F64,
        opened: NDArray[np.bool_],
    ) -> F64:
        """Predict each row as `predict` does, then learn it, in order; return the predictions."""
        return self._run(rows, creatives, codes, base_rates, opened, self.learning_rate)

    def _run(
        self,
        rows: I64,
        creatives: NDArray[np.void],
        codes: Codes,
        base_rates: F64,
        opened: NDArray[np.bool_],
        rate: float,
    ) -> F64:
        told = has_subject(creatives)
        codes = np.where((codes >= 0) & np.append(told, False)[codes], codes, -1)
        places, form = creatives["places"].copy(), creatives["form"].copy()
        tables = self.weights, self.squares
        offsets = _log_odds(base_rates)
        found: F64 = _run(*tables, rows, places, form, codes, offsets, opened, rate)
        return found


def explain(weights: F64, subject: str, top: int = 5) -> list[tuple[str, float]]:
    """The tokens and marks of form that move the log-odds most, with by how much, largest first.

    weights: (WIDTH,) one client's. Tokens that share a place share its weight.
    """
    places, form = subject_traits(subject)
    kept = set(places[places != NO_PLACE].tolist())
    scale = 1.0 / np.sqrt(max(len(kept), 1))
    parts = [
        (token, float(weights[place] * scale))
        for token, place in subject_tokens(subject)
        if place in kept
    ]
    parts += [
        (name, float(weights[BUCKETS + k] * form[k] * _FORM_SCALE)) for k, name in enumerate(FORM)
    ]
    moved = [part for part in parts if part[1]]
    return sorted(moved, key=lambda part: (-abs(part[1]), part[0]))[:top]


class Subject(base.Classifier):
    """The same model behind River's interface: `x` holds `subject` and `base_rate`."""

    def __init__(self, learning_rate: float = LEARNING_RATE) -> None:
        self.learning_rate = learning_rate
        self._bank = SubjectBank(learning_rate)
        self._bank.grow(1)

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Learn one labelled send."""
        self._bank.learn(*self._row(x), np.array([bool(y)]))

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """P(open) of a send with this subject to recipients who open at the base rate."""
        p = self._bank.predict(*self._row(x))[0]
        p = float(x["base_rate"]) if np.isnan(p) else float(p)
        return {True: p, False: 1.0 - p}

    @staticmethod
    def _row(x: dict[str, Any]) -> tuple[I64, NDArray[np.void], I64, F64]:
        one = np.zeros(1, np.int64)
        return one, creative_of(subject=x["subject"]), one, np.array([float(x["base_rate"])])
