"""Why a send time is what it is: what each level of belief adds to one hour over others.

Hours of a recipient come out of an assumed population, which the client's recipients change, then
the segment's, then the recipient's own evidence (`send_time`). Between two neighbouring levels
nothing but that level's evidence differs, so the difference of their log-odds is what it adds: a
path of four steps, whose sum is the recipient's own log-odds. With `pool_clients` what other
clients' recipients do is part of the client's step.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.models.registry import ModelState
from sendtide.models.rhythm import PRIOR
from sendtide.models.send_time import DAYS, day_factors, population_curve, population_shares

__all__ = ["LEVELS", "level_contributions", "level_curves"]

F64 = NDArray[np.float64]

LEVELS: Final = ("prior", "client", "segment", "recipient")


def level_curves(state: ModelState, segment: int) -> F64:
    """(3, 168) chances by hour of the week of somebody unknown: prior, client, segment.

    segment: hash of its name; one the client has not is answered by the client.

    Raises:
        CorruptData: the state is no client's hours.
    """
    columns = state.columns
    try:
        strength = float(columns["strength"][0])
        shares = population_shares(columns["rhythms"], PRIOR, strength)
        correction = float(columns.get("correction", np.zeros(1))[0])
        factors = day_factors(columns["exposures"], columns["opens"], correction)
        curves = [population_curve(PRIOR, np.ones(DAYS)), population_curve(shares, factors)]
        found = np.flatnonzero(columns["segments"] == np.uint64(segment))
        if segment and len(found):
            own = int(found[0])
            shares = population_shares(columns["segment_rhythms"][own], shares, strength)
            counts = columns["segment_exposures"][own], columns["segment_opens"][own]
            corrections = columns.get("segment_corrections", np.zeros(own + 1))
            factors = day_factors(*counts, float(corrections[own]))
            curves.append(population_curve(shares, factors))
    except (KeyError, ValueError, IndexError) as error:
        msg = f"the hours of {state.client_id!r} do not fit this build: {error!r}"
        raise CorruptData(msg) from error
    return np.array([*curves, curves[-1]][:3])


def level_contributions(curves: F64, scores: F64, best: int, hours: NDArray[np.int64]) -> F64:
    """(4,) what each of LEVELS adds to the log-odds of hour `best` over the mean of `hours`.

    curves: (3, 168) of the levels above the recipient, whose own (168,) are `scores`.
    """
    p = np.clip(np.vstack([curves, scores]), 1e-6, 1 - 1e-6)
    log_odds = np.log(p / (1 - p))
    ahead = log_odds[:, best] - log_odds[:, hours].mean(axis=1)
    return np.diff(ahead, prepend=0.0)
