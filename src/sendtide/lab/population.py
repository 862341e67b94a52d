"""Who gets mail and how they behave: the truth that a model of send times should find.

A recipient opens a message sent at local hour of week `w` with log-odds

    base + strength * cos(2 pi (hour(w) - peak) / 24) + weekend * [w is Saturday or Sunday]
         + content effect

Never-openers do not open at all, whatever machines do on their behalf.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.lab.scenario import PROVIDER_SHARES, SEGMENTS, ZONES, Scenario

__all__ = ["Population", "mixed"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_PEAK_HOURS: Final = np.array([7.5, 12.5, 20.5])  # commuters, lunch readers, evening readers
_PEAK_SHARES: Final = np.array([0.4, 0.2, 0.4])
_NEVER: Final = -1_000.0  # log-odds that round to probability 0


@njit(cache=True)
def _mix_all(values: Any) -> Any:
    out = np.empty_like(values)
    for i in range(len(values)):
        out[i] = mix(values[i])
    return out


def mixed(values: NDArray[Any], seed: int) -> U64:
    """Scramble every value; one to one for a fixed seed, so distinct values stay distinct."""
    offset = np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    mixture: U64 = _mix_all(values.astype(np.uint64) ^ offset)
    return mixture


class Population:
    """Arrays of length `recipients`, ordered by client; a recipient is a row."""

    def __init__(self, scenario: Scenario) -> None:
        rng = np.random.default_rng([scenario.seed, 1])
        n, clients = scenario.recipients, scenario.clients
        self.client = self._clients(scenario)
        self.zone_of_client = rng.integers(0, len(ZONES), clients)
        home = self.zone_of_client[self.client]
        away = rng.random(n) < 0.25
        self.zone = np.where(away, rng.integers(0, len(ZONES), n), home).astype(np.uint8)
        self.segment = rng.choice(len(SEGMENTS), n, p=[0.4, 0.2, 0.25, 0.15]).astype(np.uint8)
        peaks = rng.choice(_PEAK_HOURS, n, p=_PEAK_SHARES) + rng.normal(0, 1.0, n)
        self.peak = (peaks % 24).astype(np.float32)
        self.strength = rng.gamma(4.0, 0.3, n).astype(np.float32)
        self.weekend = rng.normal(-0.4, 0.6, n).astype(np.float32)
        lift = np.array([0.5, 0.3, -0.6, -1.4])[self.segment]
        tenant = rng.normal(-1.2, 0.5, clients)[self.client]
        base = tenant + lift + rng.normal(0, 0.8, n)
        base[rng.random(n) < scenario.never_opener_share] = _NEVER
        self.base = base.astype(np.float32)
        self.machine = rng.random(n) < scenario.machine_share
        self.slot_of_client = rng.integers(6, 22, clients)  # local hour the client likes to send at
        self.drifts = np.zeros(clients, np.bool_)
        if scenario.drift is not None:
            order = rng.permutation(clients)
            self.drifts[order[: round(clients * scenario.drift.client_share)]] = True
        dice = mixed(np.arange(n), scenario.seed * 4 + 6) % np.uint64(PROVIDER_SHARES[-1])
        self.provider = np.searchsorted(PROVIDER_SHARES, dice, side="right").astype(np.uint8)
        self.identifier = (
            mixed(np.arange(n), scenario.seed * 4 + 1),
            mixed(np.arange(n), scenario.seed * 4 + 2),
        )

    @staticmethod
    def _clients(scenario: Scenario) -> NDArray[np.uint32]:
        """Client of every recipient: Zipf sizes, at least one each, largest client first."""
        weight = np.arange(1, scenario.clients + 1, dtype=np.float64) ** -scenario.zipf_exponent
        spare = scenario.recipients - scenario.clients
        share = weight / weight.sum() * (1 - scenario.hot_share)
        share[0] += scenario.hot_share
        cuts = np.round(np.cumsum(share) * spare).astype(np.int64)
        sizes = 1 + np.diff(cuts, prepend=0)
        return np.repeat(np.arange(scenario.clients, dtype=np.uint32), sizes)

    def __len__(self) -> int:
        return len(self.client)

    def never_opens(self, recipients: I64) -> NDArray[np.bool_]:
        """Whether these recipients never open mail themselves."""
        never: NDArray[np.bool_] = self.base[recipients] <= _NEVER
        return never

    def open_probability(self, recipients: I64, hour_of_week: I64, log_odds: Any = 0.0) -> F64:
        """True probability of a human open if sent at this local hour of week (broadcasts).

        log_odds: what content or drift adds; 0 is an average message.
        """
        angle = (hour_of_week % 24 + 0.5 - self.peak[recipients]) * (2 * np.pi / 24)
        weekend = self.weekend[recipients] * (hour_of_week >= 120)
        total = self.base[recipients] + self.strength[recipients] * np.cos(angle) + weekend
        probability: F64 = 1 / (1 + np.exp(-np.maximum(total + log_odds, -700.0)))
        probability[np.broadcast_to(self.base[recipients] <= _NEVER, probability.shape)] = 0.0
        return probability

    def best_hour(self, recipients: I64) -> I64:
        """True best hour of the week, (n,) 0..167; meaningless for never-openers."""
        grid = self.open_probability(recipients[:, None], np.arange(168)[None, :])
        best: I64 = grid.argmax(axis=1)
        return best
