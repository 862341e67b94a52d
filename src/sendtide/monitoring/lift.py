"""Has the control group done worse? An interval that may be looked at after every event.

Recipients are randomised, so recipients are what varies: a rate's variance comes from sums over
groups of them (a recipient's group is a hash of it, the same in every batch). With sends S_b and
hits H_b of group b, and B groups that have sends::

    p = sum H / sum S      V = B / (B - 1) sum_b (H_b - p S_b)^2 / (sum S)^2

the linearised variance of a ratio of random groups (Wolter, "Introduction to Variance Estimation",
2007, ch. 2), and never below the binomial p (1 - p) / sum S. Counts are integers that merge by
addition, in any order.

The difference d = p_rest - p_control has variance V_d = V_rest + V_control and information
I = 1 / V_d; d I behaves as a Brownian motion with drift over information (Jennison and Turnbull,
"Group-sequential analysis incorporating covariate information", JASA 1997), so that Robbins' normal
mixture bounds it at all times at once, here as the asymptotic confidence sequence of Waudby-Smith,
Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 2024)::

    |d - lift| < sqrt(V_d (1 + eta V_d) (2 ln(1 / alpha) + ln(1 + 1 / (eta V_d)))),  eta = 1/scale^2

`scale` is the lift one expects to see: the interval is tightest for lifts of that size. Variances
are of few groups, so the bound, as a number of standard errors, is moved to the t distribution of
the smaller arm's degrees of freedom at the same tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

__all__ = ["CONTROL", "MIN_GROUPS", "MIN_HITS", "REST", "Lift", "Verdict"]
__all__ += ["confidence_reach", "judge_lift"]

F64 = NDArray[np.float64]
Verdict = Literal["no lift yet", "lift", "harm"]

REST: Final = 0
CONTROL: Final = 1
MIN_GROUPS: Final = 20
MIN_HITS: Final = 20
"""Of each arm, groups with sends, and both hits and misses; with fewer no limit theorem holds."""
_ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Lift:
    """Of k judgements: rates, (k, 2) by arm; difference, low, high: (k,), NaN where too few data.

    low and high hold at all k times at once with 95%.
    """

    rates: F64
    difference: F64
    low: F64
    high: F64

    def verdict(self, k: int) -> Verdict:
        """What one says of the rest against the control group."""
        return "lift" if self.low[k] > 0 else "harm" if self.high[k] < 0 else "no lift yet"

    def verdicts(self) -> list[Verdict]:
        """What each says."""
        return [self.verdict(k) for k in range(len(self.low))]


def confidence_reach(variance: F64, scale: float, alpha: float = _ALPHA) -> F64:
    """Half the width of the confidence sequence for estimates of these variances."""
    relative = variance / scale**2
    bound = 2 * np.log(1 / alpha) + np.log1p(1 / relative)
    return np.asarray(np.sqrt(variance * (1 + relative) * bound))


def judge_lift(
    sends: NDArray[np.integer[Any]], hits: NDArray[np.integer[Any]], scale: float
) -> Lift:
    """Judge counts (k, 2, groups): arms are REST and CONTROL, groups are of recipients.

    scale: the absolute lift of the rate that one expects, fixed before the first look.
    """
    total = np.maximum(sends.sum(axis=-1), 1)
    rates = hits.sum(axis=-1) / total
    groups = (sends > 0).sum(axis=-1)
    apart = ((hits - rates[..., None] * sends) ** 2).sum(axis=-1)
    variance = groups / np.maximum(groups - 1, 1) * apart / total**2
    variance = np.maximum(variance, rates * (1 - rates) / total)
    fewest = np.minimum(hits.sum(axis=-1), (sends - hits).sum(axis=-1))
    enough = ((groups >= MIN_GROUPS) & (fewest >= MIN_HITS)).all(axis=-1)
    both = np.where(enough, variance.sum(axis=-1), np.nan)
    errors = confidence_reach(both, scale) / np.sqrt(both)
    freedom = np.maximum(groups.min(axis=-1) - 1, 1).astype(np.float64)
    # The upper tail by symmetry: 1 - p would lose the digits that matter.
    reach = -stdtrit(freedom, ndtr(-errors)) * np.sqrt(both)
    difference = np.where(enough, rates[..., REST] - rates[..., CONTROL], np.nan)
    return Lift(rates, difference, difference - reach, difference + reach)
