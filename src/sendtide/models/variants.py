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

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.creative import ANGLES

__all__ = ["FEATURES", "VARIANTS_PER_CLIENT", "Choice", "VariantBank", "VariantModel"]
__all__ += ["variant_features"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Codes = NDArray[np.integer[Any]]

FEATURES: Final = (
    "bias",
    "clickable_images",
    "unclickable_images",
    "megapixels",
    "original",
    "augmented",
    *(f"angle_{k}" for k in range(ANGLES)),
)
_ORIGINAL, _ANGLE = FEATURES.index("original"), FEATURES.index("angle_0")
VARIANTS_PER_CLIENT: Final = 256
"""Own counts kept; a further variant takes the place of the one not learned for longest."""
OWN_STRENGTH: Final = 20.0
DRAWS: Final = 400
_PRIOR_PRECISION: Final = 1.0
_PRIOR_MARGIN: Final = -1.4
"""Log-odds of 0.2, the open rate assumed before any is seen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Place of the variant to send; shares: (k,) probabilities with which each was to be chosen."""

    place: int
    shares: F64

    @property
    def propensity(self) -> float:
        """Probability of what was chosen."""
        return float(self.shares[self.place])


def variant_features(creatives: NDArray[np.void]) -> F64:
    """(m, len(FEATURES)) numbers of order one, of CREATIVE rows."""
    out = np.zeros((len(creatives), len(FEATURES)))
    out[:, 0] = 1.0
    out[:, 1] = np.minimum(creatives["clickable_images"], 10) / 5.0
    out[:, 2] = np.minimum(creatives["unclickable_images"], 10) / 5.0
    out[:, 3] = np.minimum(creatives["kilopixels"], 4_000) / 2_000.0
    for column, names in ((_ORIGINAL, "augmented"), (_ANGLE, "angle")):
        known = np.flatnonzero(creatives[names])
        out[known, column + creatives[names][known].astype(np.int64) - 1] = 1.0
    return out


@njit(cache=True)
def _place_of(key: Any, keys: Any, newest: Any) -> int:
    """Place of a variant in its client's table: its own, else a free one, else the oldest's."""
    oldest = 0
    for k in range(len(keys)):
        if keys[k] == key or keys[k] == 0:
            return k
        if newest[k] < newest[oldest]:
            oldest = k
    return oldest


@njit(cache=True)
def _learn(
    rows: Any,
    codes: Any,
    variants: Any,
    features: Any,
    opened: Any,
    mean: Any,
    precision: Any,
    keys: Any,
    counts: Any,
    newest: Any,
    learned: Any,
) -> Any:
    """Predict n rows and learn each before the next; codes: among variants, -1 for none."""
    out = np.full(len(rows), np.nan)
    for i in range(len(rows)):
        if codes[i] < 0 or variants[codes[i]] == 0:
            continue
        row, x = rows[i], features[codes[i]]
        margin, size = _PRIOR_MARGIN, 0.0
        for j in range(len(x)):
            margin += mean[row, j] * x[j]
            size += x[j] * x[j]
        p = 1.0 / (1.0 + np.exp(-margin))
        place = _place_of(variants[codes[i]], keys[row], newest[row])
        if keys[row, place] != variants[codes[i]]:
            keys[row, place], counts[row, place] = variants[codes[i]], 0
        sends, opens = counts[row, place]
        out[i] = (OWN_STRENGTH * p + opens) / (OWN_STRENGTH + sends)
        # One Newton step of the diagonal posterior.
        for j in range(len(x)):
            precision[row, j] += p * (1.0 - p) * x[j] * x[j]
            mean[row, j] += (opened[i] - p) * x[j] / precision[row, j] / max(size, 1.0)
        counts[row, place, 0] += 1
        counts[row, place, 1] += opened[i]
        learned[row] += 1
        newest[row, place] = learned[row]
    return out


class VariantBank:
    """Variants of many clients; rows by dense index.

    mean, precision: (rows, FEATURES) of the shared weights. keys: (rows, VARIANTS_PER_CLIENT)
    hashes of variants, 0 where free. counts: (rows, VARIANTS_PER_CLIENT, 2) sends and opens of
    each. newest: which of its client's lessons was each one's last. learned: (rows,) lessons.
    """

    def __init__(self) -> None:
        self.mean: F64 = np.zeros((0, len(FEATURES)))
        self.precision: F64 = np.zeros((0, len(FEATURES)))
        self.keys: U64 = np.zeros((0, VARIANTS_PER_CLIENT), np.uint64)
        self.counts: I64 = np.zeros((0, VARIANTS_PER_CLIENT, 2), np.int64)
        self.newest: I64 = np.zeros((0, VARIANTS_PER_CLIENT), np.int64)
        self.learned: I64 = np.zeros(0, np.int64)

    def grow(self, rows: int) -> None:
        """Have room for `rows` models."""
        missing = rows - len(self.learned)
        if missing <= 0:
            return
        missing = max(missing, len(self.learned))
        for name in ("mean", "precision", "keys", "counts", "newest", "learned"):
            table = getattr(self, name)
            wider = np.zeros((missing, *table.shape[1:]), table.dtype)
            setattr(self, name, np.concatenate([table, wider]))
        self.precision[-missing:] = _PRIOR_PRECISION

    def learn(
        self, rows: I64, creatives: NDArray[np.void], codes: Codes, opened: NDArray[np.bool_]
    ) -> F64:
        """Learn n labelled sends in order; return P(open) of each as it was just before.

        codes: (n,) of each one's variant among the CREATIVE rows, -1 for none: NaN comes out.
        """
        variants, features = creatives["variant"].copy(), variant_features(creatives)
        tables = self.mean, self.precision, self.keys, self.counts, self.newest, self.learned
        found: F64 = _learn(rows, codes, variants, features, opened, *tables)
        return found

    def model(self, row: int) -> VariantModel:
        """What one client's variants taught; a copy."""
        used = np.flatnonzero(self.keys[row])
        pairs = zip(self.keys[row, used].tolist(), self.counts[row, used].tolist(), strict=True)
        counts = {key: (sends, opens) for key, (sends, opens) in pairs}
        return VariantModel(self.mean[row].copy(), self.precision[row].copy(), counts)


@dataclass(slots=True)
class VariantModel:
    """One client's variants: shared weights, and sends and opens of each by its hash."""

    mean: F64 = field(default_factory=lambda: np.zeros(len(FEATURES)))
    precision: F64 = field(default_factory=lambda: np.full(len(FEATURES), _PRIOR_PRECISION))
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)

    def scores(self, variants: NDArray[np.void]) -> F64:
        """(k,) expected P(open) of CREATIVE rows, before anything is sent."""
        prior = self._prior(variants, np.zeros((1, len(FEATURES))))[0]
        a, b = self._posterior(variants, prior)
        return np.asarray(a / (a + b))

    def propensities(self, variants: NDArray[np.void], seed: int) -> F64:
        """(k,) probability of choosing each: how often it is best in seeded posterior draws."""
        rng = np.random.default_rng(seed)
        prior = self._prior(variants, rng.standard_normal((DRAWS, len(FEATURES))))
        a, b = self._posterior(variants, prior)
        best = rng.beta(a, b).argmax(axis=1)
        return np.bincount(best, minlength=len(variants)) / DRAWS

    def choose(self, variants: NDArray[np.void], seed: int) -> Choice:
        """Draw one variant with exactly its propensity; the same seed gives the same choice."""
        shares = self.propensities(variants, seed)
        drawn = int(np.random.default_rng((seed, 1)).choice(len(variants), p=shares))
        return Choice(drawn, shares)

    def _prior(self, variants: NDArray[np.void], noise: F64) -> F64:
        """(draws, k) P(open) by features alone."""
        weights = self.mean + noise / np.sqrt(self.precision)
        margin = _PRIOR_MARGIN + weights @ variant_features(variants).T
        return np.asarray(1.0 / (1.0 + np.exp(-margin)))

    def _posterior(self, variants: NDArray[np.void], prior: F64) -> tuple[F64, F64]:
        keys = variants["variant"].tolist()
        own = np.array([self.counts.get(key, (0, 0)) for key in keys], np.float64)
        prior = np.clip(prior, 1e-3, 1 - 1e-3)
        a = OWN_STRENGTH * prior + own[:, 1]
        return a, OWN_STRENGTH * (1 - prior) + own[:, 0] - own[:, 1]
