"""What another policy would have brought, from decisions that were logged with their propensity.

For row i: p its propensity, e the target policy's probability of the action taken, w = e / p,
r its reward, q a cross-fitted reward model, v = sum over actions of e q::

    ips        mean(w r)                            Horvitz and Thompson 1952
    snips      sum(w r) / sum(w)                    Swaminathan and Joachims, NeurIPS 2015
    dr         mean(v + w (r - q))                  Dudik, Langford and Li, ICML 2011
    switch_dr  mean(v + w (r - q) [w <= tau])       Wang, Agarwal and Dudik, ICML 2017

ips and dr are unbiased when the propensities are right, dr whatever q is; snips is consistent and
does not move when a constant is added to all rewards. tau minimises the estimated squared error
among quantiles of w: the variance, plus the square of a bound of the bias, mean(w [w > tau]) times
the range of rewards.

The interval is of dr: a t interval over clusters (a recipient's decisions are not independent)::

    V = G / (G - 1) sum over clusters (sum of (z - dr) in it)^2 / n^2,   z = v + w (r - q)

Where overlap is too thin all this holds in theory and fails in practice, so it is refused: see
`refusal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sendtide.lab.reward_model import FOLDS, RewardModel, design, folds_of

__all__ = ["CONFIDENCE", "Decisions", "Overlap", "PolicyValue", "clustered_interval", "evaluate"]
__all__ += ["MAX_ROW_SHARE", "MIN_EFFECTIVE", "refusal"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CONFIDENCE: Final = 0.95
MIN_EFFECTIVE: Final = 100.0
"""Rows' worth of evidence below which a t interval no longer covers what it says."""
MAX_ROW_SHARE: Final = 0.05
"""Share of all weight on one row above which the estimate is that row's story."""
_WEIGHT_ERRORS: Final = 4.0
_WEIGHT_APART: Final = 0.05
"""The mean weight is 1 if the log reaches all the target does: so many standard errors and so far
from it, it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """n logged decisions.

    action: codes below `actions`. propensity: of the action taken, within (0, 1]. cluster: whose
    decisions belong together. context: (n, d) of the reward model, d may be 0.
    """

    action: I64
    actions: int
    propensity: F64
    reward: F64
    cluster: I64
    context: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much of the log speaks of the target.

    effective: (sum w)^2 / sum w^2 (Kish 1965). row_share: the largest weight over all weight.
    mean_weight: 1 where the log reaches all that the target does, within `weight_error`.
    unreached: share of rows whose target action was never logged.
    """

    effective: float
    row_share: float
    mean_weight: float
    weight_error: float
    unreached: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """Estimates of the target's mean reward; lift: dr less the mean reward of the log."""

    ips: float
    snips: float
    dr: float
    switch_dr: float
    switch_threshold: float
    interval: tuple[float, float]
    logged: float
    lift: float
    lift_interval: tuple[float, float]
    overlap: Overlap
    clusters: int


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of each row: the target's probability, q of the action taken, v."""

    target: F64
    predicted: F64
    expected: F64


def evaluate(decisions: Decisions, target: str | F64 | I64, seed: int = 1) -> PolicyValue:
    """Estimate the mean reward of a target policy.

    Args:
        decisions: the log; at least two clusters.
        target: "uniform" over the actions; "best", the action the reward model of the other folds
            predicts highest; (n,) floats, the probability of the action taken; (n,) integers, the
            action chosen, negative where the log never has it.
        seed: deals clusters to folds.
    """
    parts = _cross_fitted(decisions, target, np.random.default_rng(seed))
    weight = parts.target / decisions.propensity
    reward, cluster = decisions.reward, decisions.cluster
    correction = weight * (reward - parts.predicted)
    z = parts.expected + correction
    threshold = _switch_threshold(weight, parts.expected, correction, float(np.ptp(reward)))
    unreached = target < 0 if isinstance(target, np.ndarray) else np.zeros(1, bool)
    low, high = clustered_interval(z, cluster)
    return PolicyValue(
        ips=float((weight * reward).mean()),
        snips=float((weight * reward).sum() / weight.sum()) if weight.any() else float("nan"),
        dr=float(z.mean()),
        switch_dr=float((parts.expected + correction * (weight <= threshold)).mean()),
        switch_threshold=threshold,
        interval=(low, high),
        logged=float(reward.mean()),
        lift=float((z - reward).mean()),
        lift_interval=clustered_interval(z - reward, cluster),
        overlap=_overlap(weight, float(unreached.mean())),
        clusters=len(np.unique(cluster)),
    )


def refusal(overlap: Overlap) -> str | None:
    """Why no number should be acted on, with what to do; None where overlap is enough."""
    if overlap.effective == 0:
        return "the target never takes a logged action; log some decisions as the target makes them"
    if overlap.unreached > 0:
        return (
            f"in {overlap.unreached:.1%} of the rows the target takes an action that was never "
            "logged; explore it, or leave it out of the target"
        )
    apart = abs(overlap.mean_weight - 1)
    if apart > max(_WEIGHT_APART, _WEIGHT_ERRORS * overlap.weight_error):
        return (
            f"the mean weight is {overlap.mean_weight:.3f}, and 1 where propensities are right and "
            "the log reaches all that the target does; log the exact probability of the action "
            "taken, and explore every action of the target"
        )
    if overlap.effective < MIN_EFFECTIVE:
        return (
            f"the effective sample size is {overlap.effective:.1f} rows, {MIN_EFFECTIVE:.0f} are "
            "needed; log more decisions, or explore more where the target differs"
        )
    if overlap.row_share > MAX_ROW_SHARE:
        return (
            f"one row carries {overlap.row_share:.1%} of all weight, {MAX_ROW_SHARE:.0%} at most; "
            "raise the smallest propensities"
        )
    return None


def clustered_interval(z: F64, cluster: I64) -> tuple[float, float]:
    """Interval of the mean of n values in clusters (any codes of at least two clusters)."""
    _, rows = np.unique(cluster, return_inverse=True)
    sums = np.bincount(rows.reshape(-1), weights=z - z.mean())
    clusters = len(sums)
    error = float(np.sqrt(clusters / (clusters - 1) * (sums**2).sum())) / len(z)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, clusters - 1)) * error
    return float(z.mean()) - reach, float(z.mean()) + reach


def _overlap(weight: F64, unreached: float) -> Overlap:
    total, squares = float(weight.sum()), float((weight**2).sum())
    return Overlap(
        effective=total**2 / squares if squares else 0.0,
        row_share=float(weight.max()) / total if total else 1.0,
        mean_weight=float(weight.mean()),
        weight_error=float(weight.std() / np.sqrt(len(weight))),
        unreached=unreached,
    )


def _switch_threshold(weight: F64, expected: F64, correction: F64, span: float) -> float:
    """The quantile of the weights with the smallest estimated squared error."""
    candidates: Sequence[float] = np.unique(np.quantile(weight, np.linspace(0, 1, 21))).tolist()
    errors = []
    for threshold in candidates:
        kept = weight <= threshold
        variance = (expected + correction * kept).var() / len(weight)
        errors.append(variance + ((weight * ~kept).mean() * span) ** 2)
    return float(candidates[int(np.argmin(errors))])


def _cross_fitted(
    decisions: Decisions, target: str | F64 | I64, rng: np.random.Generator
) -> _Parts:
    """Predict each fold by a model of the others, and let named targets choose by it."""
    x, fold = design(decisions.context), folds_of(decisions.cluster, rng)
    n = len(fold)
    given = None if isinstance(target, str) else np.asarray(target)
    by_chance = given is not None and given.dtype.kind == "f"
    # Of other actions such a target says nothing: then q may only depend on the context.
    action = np.zeros(n, np.int64) if by_chance else decisions.action
    actions = 1 if by_chance else decisions.actions
    parts = _Parts(np.zeros(n), np.zeros(n), np.zeros(n))
    for number in range(FOLDS):
        mine = np.flatnonzero(fold == number)
        if not len(mine):
            continue
        others = fold != number
        model = RewardModel(x[others], action[others], decisions.reward[others], actions)
        parts.predicted[mine] = model.of(x[mine], action[mine])
        if given is not None and by_chance:
            parts.target[mine] = given[mine]
            parts.expected[mine] = parts.predicted[mine]
        elif given is None and target == "uniform":
            parts.target[mine] = 1 / actions
            parts.expected[mine] = model.uniform(x[mine])
        else:
            chosen = model.best(x[mine]) if given is None else given[mine]
            parts.target[mine] = chosen == action[mine]
            parts.expected[mine] = model.of(x[mine], np.maximum(chosen, 0))
    return parts
