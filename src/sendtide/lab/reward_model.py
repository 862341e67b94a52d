"""What a decision would have brought: a ridge regression of the reward, cross-fitted.

Two stages: one regression on the context over all actions, then for each action one of what that
leaves over, with a stronger ridge, so that a rare action is predicted like all of them::

    q(x, a) = x b + x c[a]      b: over all rows;  c[a]: over the rows of a, of reward - x b

A row is always predicted by the model of the other folds (Chernozhukov et al., "Double/debiased
machine learning", 2018), and a cluster is never in two folds: otherwise its own reward would leak
into its prediction, and the interval of a doubly robust estimate would be too short.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "RewardModel", "design", "folds_of"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

FOLDS: Final = 5
_RIDGE: Final = 1.0
_ACTION_RIDGE: Final = 20.0
"""Rows' worth of belief that an action is like all others."""


def design(context: F64) -> F64:
    """(n, 1 + d): ones and the context's columns, standardised; those that never vary left out."""
    spread = context.std(axis=0)
    varies = spread > 0
    scaled = (context[:, varies] - context[:, varies].mean(axis=0)) / spread[varies]
    return np.column_stack([np.ones(len(context)), scaled])


def folds_of(cluster: I64, rng: np.random.Generator) -> I64:
    """(n,) fold of each row: clusters are dealt to the folds at random, as evenly as can be."""
    number = int(cluster.max()) + 1
    dealt = rng.permutation(np.arange(number) % FOLDS)
    return np.asarray(dealt[cluster])


class RewardModel:
    """q(x, a) of `actions` actions.

    Attributes:
        weights: (actions, d), so that q(x, a) = x weights[a].
    """

    def __init__(self, x: F64, action: I64, reward: F64, actions: int) -> None:
        pooled = _ridge(x, reward, _RIDGE)
        left = reward - x @ pooled
        self.weights: F64 = np.tile(pooled, (actions, 1))
        if actions == 1:
            return
        for code, rows in _rows_of(action, actions):
            self.weights[code] += _ridge(x[rows], left[rows], _ACTION_RIDGE, whole=True)

    def of(self, x: F64, action: I64) -> F64:
        """(n,) predicted reward of each row's action."""
        return np.asarray(np.einsum("nd,nd->n", x, self.weights[action]))

    def uniform(self, x: F64) -> F64:
        """(n,) predicted reward of an action drawn with equal chances."""
        return np.asarray(x @ self.weights.mean(axis=0))

    def best(self, x: F64) -> I64:
        """(n,) the action with the highest prediction."""
        chunks = np.array_split(x, max(1, len(x) * len(self.weights) // 10_000_000))
        return np.concatenate([(part @ self.weights.T).argmax(axis=1) for part in chunks])


def _rows_of(action: I64, actions: int) -> Iterator[tuple[int, I64]]:
    order = np.argsort(action, kind="stable")
    ends = np.cumsum(np.bincount(action, minlength=actions))
    for code, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            yield code, rows


def _ridge(x: F64, y: F64, strength: float, *, whole: bool = False) -> F64:
    """Coefficients; the first, of the ones, is shrunk only where `whole`."""
    penalty = np.full(x.shape[1], strength)
    if not whole:
        penalty[0] = 0.0
    return np.asarray(np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ y))
