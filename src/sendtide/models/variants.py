"""Which declared variant of a campaign to send: Thompson sampling over features and own counts.

A variant's expected log-odds are a Bayesian logistic regression on what it is made of (`FEATURES`:
images, size, angle, augmented or original), shared by all variants of a client, so
that a new variant with features known to be good begins well (Chapelle and Li, An Empirical
Evaluation of Thompson Sampling, NIPS 2011, algorithm 3: a diagonal Gaussian, updated online). Its
own Beta posterior, centred on that with `OWN_STRENGTH` pseudo-sends, takes over with its own data.

The propensity of a choice is counted over `DRAWS` seeded draws of which the decision is one more:
the decision is drawn from those counts, so it is the exact probability of what was done.
River 0.26's `bandit.ThompsonSampling` has one posterior per arm and none to begin with, its
`LinUCBDisjoint` is deterministic and so has no propensity; neither could do this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "Choice", "Variant", "VariantModel", "variant_features"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_ANGLES: Final = 8
FEATURES: Final = (
    "bias",
    "clickable_images",
    "unclickable_images",
    "megapixels",
    "augmented",
    *(f"angle_{k}" for k in range(_ANGLES)),
)
OWN_STRENGTH: Final = 20.0
DRAWS: Final = 400
_PRIOR_PRECISION: Final = 1.0
_PRIOR_MARGIN: Final = -1.4
"""Log-odds of 0.2, the open rate assumed before any is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a variant is made of. angle_code: hash of the angle tag, 0 for none."""

    name: str
    clickable_images: int = 0
    unclickable_images: int = 0
    image_width: int = 0
    image_height: int = 0
    augmented: bool = False
    angle_code: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant to send, and the probability with which it was chosen."""

    variant: str
    propensity: float


def variant_features(variant: Variant) -> F64:
    """(len(FEATURES),) numbers of order one."""
    out = np.zeros(len(FEATURES))
    out[0] = 1.0
    out[1] = min(variant.clickable_images, 10) / 5.0
    out[2] = min(variant.unclickable_images, 10) / 5.0
    out[3] = min(variant.image_width * variant.image_height / 1e6, 4.0) / 2.0
    out[4] = float(variant.augmented)
    if variant.angle_code:
        out[5 + variant.angle_code % _ANGLES] = 1.0
    return out


def _sigmoid(margin: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-margin))


class VariantModel:
    """One client's variants: shared weights (mean, precision), and sends and opens of each."""

    def __init__(self) -> None:
        self.mean: F64 = np.zeros(len(FEATURES))
        self.precision: F64 = np.full(len(FEATURES), _PRIOR_PRECISION)
        self.counts: dict[str, tuple[int, int]] = {}

    def learn(self, variant: Variant, sends: int, opens: int) -> None:
        """Take the labels of `sends` sends of a variant, `opens` of them opened.

        Raises:
            ValueError: more opens than sends, or negative counts.
        """
        if not 0 <= opens <= sends:
            msg = f"variant {variant.name!r}: {opens} opens of {sends} sends"
            raise ValueError(msg)
        x = variant_features(variant)
        p = float(_sigmoid(_PRIOR_MARGIN + self.mean @ x))
        # One Newton step of the diagonal posterior; exact enough for counts that come in parts.
        self.precision += sends * p * (1.0 - p) * x * x
        self.mean += (opens - sends * p) * x / self.precision / max(float(x @ x), 1.0)
        before = self.counts.get(variant.name, (0, 0))
        self.counts[variant.name] = (before[0] + sends, before[1] + opens)

    def scores(self, variants: Sequence[Variant]) -> F64:
        """(k,) expected P(open) of each, before anything is sent."""
        prior = self._prior(variants, np.zeros((1, len(FEATURES))))[0]
        a, b = self._posterior(variants, prior)
        return np.asarray(a / (a + b))

    def propensities(self, variants: Sequence[Variant], seed: int) -> F64:
        """(k,) probability of choosing each: how often it is best in seeded posterior draws."""
        rng = np.random.default_rng(seed)
        prior = self._prior(variants, rng.standard_normal((DRAWS, len(FEATURES))))
        a, b = self._posterior(variants, prior)
        best = rng.beta(a, b).argmax(axis=1)
        return np.bincount(best, minlength=len(variants)) / DRAWS

    def choose(self, variants: Sequence[Variant], seed: int) -> Choice:
        """Draw one variant with exactly its propensity; the same seed gives the same choice."""
        shares = self.propensities(variants, seed)
        drawn = np.random.default_rng((seed, 1)).choice(len(variants), p=shares)
        return Choice(variants[drawn].name, float(shares[drawn]))

    def _prior(self, variants: Sequence[Variant], noise: F64) -> F64:
        """(draws, k) P(open) by features alone."""
        x = np.array([variant_features(variant) for variant in variants])
        weights = self.mean + noise / np.sqrt(self.precision)
        return np.asarray(_sigmoid(_PRIOR_MARGIN + weights @ x.T))

    def _posterior(self, variants: Sequence[Variant], prior: F64) -> tuple[F64, F64]:
        own = np.array([self.counts.get(v.name, (0, 0)) for v in variants], np.float64)
        prior = np.clip(prior, 1e-3, 1 - 1e-3)
        a = OWN_STRENGTH * prior + own[:, 1]
        return a, OWN_STRENGTH * (1 - prior) + own[:, 0] - own[:, 1]
