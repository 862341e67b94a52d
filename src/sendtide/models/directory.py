"""The read side of `ml.models`: newest state of every client's models, ready for whole columns."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.events.hashing import hash_text
from sendtide.events.records import SlotScores
from sendtide.events.rhythm import BINS
from sendtide.models.curves import TABLES
from sendtide.models.policy import ODDS, choose
from sendtide.models.propensity import TARGETS, ClientRates
from sendtide.models.propensity_bank import PropensityBank, PropensitySettings
from sendtide.models.registry import ALL_CLIENTS, ModelState
from sendtide.models.rhythm import PRIOR
from sendtide.models.row_index import RowIndex, distinct
from sendtide.models.send_time import (
    DAYS,
    PRIOR_STRENGTH,
    day_factors,
    population_shares,
    score_recipients,
)

__all__ = ["ModelDirectory"]

U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_RECIPIENT, _SEGMENT, _CLIENT, _ALL, _PRIOR = range(5)
"""Codes of `events.records.TIERS`."""
_COLUMNS: Final = ("exposures", "opens", "rhythms", "correction")
_SEGMENT_COLUMNS: Final = (
    *("segments", "segment_exposures", "segment_opens", "segment_rhythms", "segment_corrections"),
)
_FIRST_ROWS: Final = 64


class ModelDirectory:
    """Populations and weights by client; safe to feed from one thread and ask from another.

    Row 0 of every table is what is known of nobody in particular: with pool_clients the counts
    over all clients, else what is assumed before any data.

    Args:
        pool_clients: whether a client may profit from what others' recipients did.
        strength: recipients' worth of belief in the population above.
    """

    def __init__(
        self,
        propensity: PropensitySettings | None = None,
        *,
        pool_clients: bool = False,
        strength: float = PRIOR_STRENGTH,
    ) -> None:
        propensity = propensity or PropensitySettings()
        self._lock = threading.Lock()
        self._pool_clients = pool_clients
        self._strength = strength
        self._populations = RowIndex()
        self._shares: F64 = np.tile(PRIOR, (_FIRST_ROWS, 1))
        self._log_shares: F32 = np.log(self._shares).astype(np.float32)
        self._factors: F32 = np.ones((_FIRST_ROWS, DAYS), np.float32)
        self._tiers = np.full(_FIRST_ROWS, _PRIOR, np.uint8)
        self._versions = np.zeros(_FIRST_ROWS, np.uint32)
        self._clients = RowIndex()
        self._bank = PropensityBank(propensity)
        self._rates = ClientRates(_FIRST_ROWS)
        self._totals: dict[int, dict[str, NDArray[Any]]] = {}

    def apply(self, data: bytes) -> None:
        """Take one record of `ml.models`.

        Raises:
            CorruptData: it is not a model state; what was known stays.
        """
        state = ModelState.from_bytes(data)
        with self._lock:
            if state.client_id == ALL_CLIENTS:
                self._take_totals(state)
            elif state.kind == "send_time":
                self._take_rhythms(state)
            elif state.kind == "propensity":
                self._take_weights(state)

    def __len__(self) -> int:
        return len(self._clients)

    def slots(self, clients: U64, segments: U64, evidence: F32) -> SlotScores:
        """Score n recipients; evidence: (n, EVIDENCE)."""
        with self._lock:
            used, rows = self._rows(clients, segments)
            shares, factors = self._log_shares[used], self._factors[used]
            tiers, versions = self._tiers[used][rows], self._versions[used][rows]
        scores, deviations = score_recipients(evidence, rows, shares, factors, TABLES)
        sent = evidence[:, 2 * BINS]
        return SlotScores(
            scores=scores,
            deviations=deviations,
            tiers=np.where(sent > 0, np.uint8(_RECIPIENT), tiers),
            effective=sent,
            versions=versions,
        )

    def choose(
        self,
        clients: U64,
        segments: U64,
        evidence: F32,
        scores: F32,
        windows: tuple[NDArray[np.uint8], NDArray[np.int64]],
        controlled: NDArray[np.bool_],
        shares: tuple[float, float],
        keys: U64,
    ) -> tuple[NDArray[np.int64], F64, NDArray[np.uint8]]:
        """Decide n requests by `models.policy`.

        windows: hour of the week of all slots, one request's after another's, and (n + 1,) where
        each one's begin. shares: of control and of exploring. keys: a hash of each request, which
        draws for it.

        Returns:
            (n,) positions in their windows, probabilities of those, codes of the arms.
        """
        with self._lock:
            used, rows = self._rows(clients, segments)
            populations = self._log_shares[used], self._factors[used]
        slots, told, arms = choose(
            evidence, scores, rows, populations, windows, TABLES, ODDS, controlled, shares, keys
        )
        return slots, told, arms

    def propensities(
        self,
        clients: U64,
        times_ms: NDArray[np.int64],
        content: F32,
        history: Mapping[str, NDArray[Any]],
        targets: int = len(TARGETS),
    ) -> F32:
        """Probabilities of n messages sent at these times: (n, targets), the first of TARGETS.

        A client without a model gets what a model says before any label: for opens and clicks the
        recipient's own rates, shrunk, else the usual ones.
        """
        with self._lock:
            rows = self._clients.find(clients).astype(np.int32)
            x = self._rates.features(rows, history, content)
            return self._bank.predict(rows, x, times_ms, targets).astype(np.float32)

    def _rows(self, clients: U64, segments: U64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The finest level known for each: segment, client, or all (0).

        Returns:
            the m rows of these, and (n,) which of them is each one's. Whoever computes without the
            lock takes copies of the m: the feed writes into the tables meanwhile.
        """
        rows = self._populations.find(clients, segments)
        unknown = rows == 0
        rows[unknown] = self._populations.find(clients[unknown])
        found: tuple[NDArray[np.int64], NDArray[np.int64]] = distinct(rows, len(self._tiers))
        return found

    def _take_totals(self, state: ModelState) -> None:
        if not self._pool_clients:
            return
        self._totals[state.origin] = state.columns
        parts = list(self._totals.values())
        counts = {name: np.sum([part[name] for part in parts], axis=0) for name in state.columns}
        self._put((0, 0), 0, PRIOR, counts, state.model_version)
        self._tiers[0] = _ALL

    def _take_rhythms(self, state: ModelState) -> None:
        client = hash_text(state.client_id)
        row = self._put((client, 0), _CLIENT, self._shares[0], state.columns, state.model_version)
        parent = self._shares[row].copy()
        # A state of before corrections has none; another worker may still be of an older build.
        none = np.zeros(len(state.columns["segments"]))
        found = {"segment_corrections": none, **state.columns}
        tables = zip(*(found[name] for name in _SEGMENT_COLUMNS), strict=True)
        for segment, *columns in tables:
            if segment:
                counts = dict(zip(_COLUMNS, columns, strict=True))
                key = (client, int(segment))
                self._put(key, _SEGMENT, parent, counts, state.model_version)

    def _put(
        self,
        key: tuple[int, int],
        tier: int,
        parent: F64,
        counts: Mapping[str, NDArray[Any]],
        version: int,
    ) -> int:
        """Keep a population's numbers; return its row, 0 for the key (0, 0)."""
        row = self._populations.add(*key) if key[0] else 0
        self._shares = _grown(self._shares, row, 0.0)
        self._log_shares = _grown(self._log_shares, row, 0.0)
        self._factors = _grown(self._factors, row, 1.0)
        self._tiers = _grown(self._tiers, row, _PRIOR)
        self._versions = _grown(self._versions, row, 0)
        shares = population_shares(counts["rhythms"], parent, self._strength)
        self._shares[row], self._log_shares[row] = shares, np.log(shares)
        correction = float(np.sum(counts.get("correction", 0.0)))
        self._factors[row] = day_factors(counts["exposures"], counts["opens"], correction)
        self._tiers[row], self._versions[row] = tier, version
        return row

    def _take_weights(self, state: ModelState) -> None:
        row = self._clients.add(hash_text(state.client_id))
        one = slice(row, row + 1)
        try:
            self._bank.put(one, state.columns)
            self._rates.put(one, state.columns)
        except (KeyError, ValueError) as error:
            msg = f"the propensities of {state.client_id!r} do not fit this build: {error!r}"
            raise CorruptData(msg) from error


def _grown(array: NDArray[Any], row: int, fill: float) -> NDArray[Any]:
    """`array` with room for `row`."""
    if row < len(array):
        return array
    wider = np.full((2 * len(array), *array.shape[1:]), fill, array.dtype)
    wider[: len(array)] = array
    return wider
