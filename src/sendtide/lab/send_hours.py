"""How a sender's own hours came about: the chance of each send's hour, estimated from the log.

Hours are taken three at a time, as the send-time model takes them, and weekdays each by itself: an
evening that only Fridays have is a Friday. A recipient's hours are seen as draws from shares of its
own, these as a draw from a Dirichlet around the client's shares on that weekday
(Dirichlet-multinomial, Minka, "Estimating a Dirichlet distribution", 2000). The chance of a send's
bin b, given all other sends u of its recipient, is that model's predictive probability::

    p(b) = (u(b) + concentration * share(b)) / (sum u + concentration)

A send never counts for its own chance. The concentration is, for each client, the one of a grid
under which the product of these chances is largest (pseudo-likelihood, Besag 1975): large where all
recipients are mailed alike, small where each one has hours of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.rhythm import BINS

__all__ = ["COVERED_DAYS", "SendHours", "send_hours"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

WEEK: Final = 7
COVERED_SHARE: Final = 0.02
"""Share of a client's sends of a weekday from which on a bin is one that the log can speak of."""
COVERED_DAYS: Final = 3
"""Days with such sends: what was sent on one day only is that day's message, not an hour."""
_SMOOTHING: Final = 20.0
"""Sends' worth of belief that a weekday is like all others."""
_GRID: Final = 2.0 ** np.arange(-3, 21)


@dataclass(frozen=True, slots=True)
class SendHours:
    """How sends got their hours.

    propensity: (n,) of each send's bin. share: (clients, 7, BINS), by weekday. covered: likewise,
    bins that the log can speak of. concentration: (clients,).
    """

    propensity: F64
    share: F64
    covered: NDArray[np.bool_]
    concentration: F64


def send_hours(
    bins: I64, weekday: I64, client: I64, recipient: I64, day: I64, clients: int
) -> SendHours:
    """Estimate how n sends got their hours.

    Args:
        bins: (n,) of the local day, below BINS.
        weekday: (n,) of the local week, 0 is Monday.
        client: (n,) codes below `clients`.
        recipient: (n,) codes; one belongs to one client.
        day: (n,) number of the day of each send.
        clients: how many there are.
    """
    share = _shares(bins, weekday, client, clients)
    mine = np.bincount(recipient * BINS + bins, minlength=(int(recipient.max()) + 1) * BINS)
    here = mine.astype(np.float64)[recipient * BINS + bins] - 1.0
    others = np.bincount(recipient).astype(np.float64)[recipient] - 1.0
    usual: F64 = share[client, weekday, bins]
    concentration = _concentration(here, others, usual, client, clients)
    own = concentration[client]
    cells = (client * WEEK + weekday) * BINS + bins
    met = np.unique(np.stack([cells, day]), axis=1)[0]
    days = np.bincount(met, minlength=share.size).reshape(share.shape)
    return SendHours(
        propensity=(here + own * usual) / (others + own),
        share=share,
        covered=(share >= COVERED_SHARE) & (days >= COVERED_DAYS),
        concentration=concentration,
    )


def _shares(bins: I64, weekday: I64, client: I64, clients: int) -> F64:
    """(clients, 7, BINS) shares of each weekday's sends, a little drawn to those of all days."""
    cells = (client * WEEK + weekday) * BINS + bins
    flat = np.bincount(cells, minlength=clients * WEEK * BINS).astype(np.float64)
    counts = flat.reshape(clients, WEEK, BINS)
    whole = counts.sum(axis=1, keepdims=True)
    usual: F64 = whole / np.maximum(whole.sum(axis=2, keepdims=True), 1.0)
    shares: F64 = (counts + _SMOOTHING * usual) / (counts.sum(axis=2, keepdims=True) + _SMOOTHING)
    return shares


def _concentration(here: F64, others: F64, usual: F64, client: I64, clients: int) -> F64:
    """(clients,) best of the grid; the larger of equals."""
    likelihood = np.array(
        [
            np.bincount(client, np.log((here + c * usual) / (others + c)), clients)
            for c in _GRID[::-1]
        ]
    )
    return np.asarray(_GRID[::-1][likelihood.argmax(axis=0)])
