"""What randomised arms brought over a control: lift, simultaneous intervals, return on cost.

Means may be adjusted for what was known before (Lin, "Agnostic notes on regression adjustments to
experimental data", Annals of Applied Statistics 2013): in each arm a regression on the covariates,
centred over all arms, whose constant is the arm's mean. That is right whatever the regression is,
and with one pre-period covariate it is CUPED (Deng, Xu, Kohavi and Walker, WSDM 2013)::

    lift_j = m_j - m_0      V_j = s_j^2 / n_j + s_0^2 / n_0 + (b_j - b_0)' S (b_j - b_0) / n

s^2: variance of the residuals; S: covariance of the covariates. Without covariates it is Welch's.

All arms share one control, so their lifts hang together, and several are looked at. The intervals
hold for all of them at once (Dunnett 1955, unequal variances as in Hothorn, Bretz and Westfall
2008): with z_j = (u_j sqrt(v_j) - u_0 sqrt(v_0)) / sqrt(v_j + v_0) and u independent normals, c is
such that P(max |z_j| <= c) = 0.95, given u_0 a product over the arms. c is then moved to the t
distribution of each arm's Welch-Satterthwaite degrees of freedom at the same tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr, stdtrit
from scipy.stats import norm

__all__ = ["ArmEffect", "Money", "critical_value", "uplift"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Interval = tuple[float, float]

_CONFIDENCE: Final = 0.95
_NODES, _WEIGHTS = leggauss(200)
_LEAST_VARIANCE: Final = 1e-9
_REACH: Final = 9.0
"""Standard deviations of the shared control that the integral spans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What a row brought, (n,) or a worth per unit of outcome, and what a treated row costs."""

    revenue: F64
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEffect:
    """One arm. Of the control, all but n and mean are None; so are roi's without money.

    mean: adjusted where there are covariates. interval: of lift, all arms at once. relative_lift:
    lift over the control's mean, its interval by the delta method; None if that mean is not above
    0, its interval if that is not certain: then no ratio to it is bounded (Fieller 1954). p_value:
    of lift, adjusted likewise. roi: (revenue over the control's - cost) / cost, a row.
    """

    n: int
    mean: float
    lift: float | None = None
    interval: Interval | None = None
    relative_lift: float | None = None
    relative_interval: Interval | None = None
    p_value: float | None = None
    roi: float | None = None
    roi_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class _Fit:
    """Of each arm: rows, mean, variance of the mean given the covariates, slopes."""

    n: I64
    mean: F64
    variance: F64
    slopes: F64


def uplift(
    arm: I64,
    outcome: F64,
    control: int,
    covariates: F64 | None = None,
    money: Money | None = None,
) -> dict[int, ArmEffect]:
    """Effects of all arms.

    Args:
        arm: (n,) codes from 0 on, each with at least two rows more than covariates.
        outcome: (n,), not all the same.
        control: the code of the control.
        covariates: (n, d) known before the treatment.
        money: for the return; its revenue is adjusted for the same covariates.
    """
    x = np.zeros((len(arm), 0)) if covariates is None else covariates - covariates.mean(axis=0)
    fit = _fit(arm, outcome, x)
    treated = [code for code in range(len(fit.n)) if code != control]
    lifts, errors, freedom = _lifts(fit, x, treated, control)
    own = fit.variance[treated]
    quantiles = _student(critical_value(own, float(fit.variance[control])), freedom)
    reach = quantiles * errors
    effects = {control: ArmEffect(n=int(fit.n[control]), mean=float(fit.mean[control]))}
    returns = _returns(arm, x, money, treated, control)
    for k, code in enumerate(treated):
        z = -float(norm.ppf(stdtr(freedom[k], -abs(lifts[k] / errors[k]))))
        effects[code] = ArmEffect(
            n=int(fit.n[code]),
            mean=float(fit.mean[code]),
            lift=float(lifts[k]),
            interval=(float(lifts[k] - reach[k]), float(lifts[k] + reach[k])),
            p_value=max(0.0, 1 - _within(z, own, float(fit.variance[control]))),
            **_relative(fit, code, control, float(quantiles[k])),
            **returns.get(code, {}),
        )
    return effects


def critical_value(own: F64, shared: float) -> float:
    """Solve P(max |z_j| <= c) = 0.95 for c.

    own, shared: variances of the arms' means, and of the control's.
    """
    return float(brentq(lambda c: _within(c, own, shared) - _CONFIDENCE, 0.5, 9.0, xtol=1e-10))


def _within(c: float, own: F64, shared: float) -> float:
    """P(all |z_j| <= c), by the shared control's normal."""
    u = _NODES[:, None] * _REACH
    both, mine = np.sqrt(own + shared), np.sqrt(np.maximum(own, 1e-300))
    middle = u * np.sqrt(shared)
    inside = ndtr((c * both + middle) / mine) - ndtr((-c * both + middle) / mine)
    density = np.exp(-(u[:, 0] ** 2) / 2) / np.sqrt(2 * np.pi)
    return float((_WEIGHTS * _REACH * density * inside.prod(axis=1)).sum())


def _student(critical: float, freedom: F64) -> F64:
    """The t quantile at the tail of a normal's `critical`."""
    return np.asarray(-stdtrit(freedom, ndtr(-critical)))


def _fit(arm: I64, outcome: F64, x: F64) -> _Fit:
    arms, d = int(arm.max()) + 1, x.shape[1]
    n, mean, variance = np.bincount(arm), np.zeros(arms), np.zeros(arms)
    slopes = np.zeros((arms, d))
    for code in range(arms):
        rows = arm == code
        design = np.column_stack([np.ones(n[code]), x[rows]])
        inverse = np.linalg.pinv(design.T @ design)
        found = inverse @ (design.T @ outcome[rows])
        left = outcome[rows] - design @ found
        mean[code], slopes[code] = found[0], found[1:]
        # Of the constant: exact given the covariates, equal to s^2 / n without any.
        variance[code] = (left**2).sum() / (n[code] - d - 1) * inverse[0, 0]
    # An arm in which nothing varies is certain only as far as its rows go; 0 / 0 is no ratio.
    variance = np.maximum(variance, _LEAST_VARIANCE * outcome.var() / n)
    return _Fit(n, mean, variance, slopes)


def _lifts(fit: _Fit, x: F64, treated: list[int], control: int) -> tuple[F64, F64, F64]:
    """Lifts, their standard errors and degrees of freedom, in the order of `treated`."""
    apart = fit.slopes[treated] - fit.slopes[control]
    spread = (x.T @ x) / len(x)
    between = np.einsum("ai,ij,aj->a", apart, spread, apart) / len(x)
    own, shared = fit.variance[treated], fit.variance[control]
    whole = own + shared
    less = x.shape[1] + 1
    parts = own**2 / (fit.n[treated] - less) + shared**2 / (fit.n[control] - less)
    freedom = np.where(parts > 0, whole**2 / np.maximum(parts, 1e-300), 1e9)
    lifts = fit.mean[treated] - fit.mean[control]
    return lifts, np.sqrt(whole + between), freedom


def _relative(fit: _Fit, code: int, control: int, quantile: float) -> Mapping[str, Any]:
    """Lift over the control's mean, with an interval by the delta method on the logarithm."""
    mean, base = float(fit.mean[code]), float(fit.mean[control])
    if base <= 0 or mean <= 0:
        return {}
    if base <= quantile * np.sqrt(fit.variance[control]):
        return {"relative_lift": mean / base - 1}
    error = np.sqrt(fit.variance[code] / mean**2 + fit.variance[control] / base**2)
    ratio = mean / base
    ends = ratio * np.exp(np.array([-1, 1]) * quantile * error) - 1
    return {
        "relative_lift": ratio - 1,
        "relative_interval": (float(ends[0]), float(ends[1])),
    }


def _returns(
    arm: I64, x: F64, money: Money | None, treated: list[int], control: int
) -> Mapping[int, Mapping[str, Any]]:
    """Return on cost by arm, with simultaneous intervals."""
    if money is None:
        return {}
    fit = _fit(arm, money.revenue, x)
    lifts, errors, freedom = _lifts(fit, x, treated, control)
    reach = _student(critical_value(fit.variance[treated], float(fit.variance[control])), freedom)
    roi = (lifts - money.cost) / money.cost
    ends = reach * errors / money.cost
    return {
        code: {"roi": float(r), "roi_interval": (float(r - e), float(r + e))}
        for code, r, e in zip(treated, roi, ends, strict=True)
    }
