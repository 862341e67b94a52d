"""The read side of `ml.models`: newest state of every client's models, ready for whole columns."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.events.hashing import hash_text
from sendtide.models.propensity import ClientRates
from sendtide.models.propensity_bank import PropensityBank, PropensitySettings
from sendtide.models.registry import ALL_CLIENTS, ModelState
from sendtide.models.send_time import (
    HOURS,
    PRIOR_RATE,
    PRIOR_STRENGTH,
    RECIPIENT_STRENGTH,
    score_recipients,
    shrunk_rates,
)

__all__ = ["ModelDirectory"]

U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_RECIPIENT, _SEGMENT, _CLIENT, _ALL = range(4)
"""Codes of `events.records.TIERS`."""
_FIRST_ROWS: Final = 64
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # a bijection on 64-bit words


class ModelDirectory:
    """Curves and weights by client; safe to feed from one thread and ask from another.

    Row 0 of every table is what is known of nobody in particular: the counts over all clients.
    """

    def __init__(self, propensity: PropensitySettings | None = None) -> None:
        propensity = propensity or PropensitySettings()
        self._lock = threading.Lock()
        self._row_of: dict[tuple[int, int], int] = {}
        self._curves: F64 = np.full((_FIRST_ROWS, HOURS), PRIOR_RATE)
        self._tiers = np.full(_FIRST_ROWS, _ALL, np.uint8)
        self._versions = np.zeros(_FIRST_ROWS, np.uint32)
        self._client_of: dict[int, int] = {}
        self._bank = PropensityBank(propensity)
        self._rates = ClientRates(_FIRST_ROWS)
        self._totals: dict[int, NDArray[np.int64]] = {}

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
                self._take_curves(state)
            elif state.kind == "propensity":
                self._take_weights(state)

    def __len__(self) -> int:
        return len(self._client_of)

    def slots(
        self, clients: U64, segments: U64, exposures: NDArray[Any], opens: NDArray[Any]
    ) -> tuple[F32, NDArray[np.uint8], F32, NDArray[np.uint32]]:
        """Score n recipients.

        Returns:
            scores (n, 168), tier code (n,), effective sends (n,), model version (n,).
        """
        with self._lock:
            rows = self._rows(clients, segments)
            curves, tiers, versions = self._curves, self._tiers[rows], self._versions[rows]
            scores: F32 = score_recipients(exposures, opens, rows, curves, RECIPIENT_STRENGTH)
        sent = exposures.sum(axis=1, dtype=np.int64)
        tiers = np.where(sent > 0, np.uint8(_RECIPIENT), tiers)
        return scores, tiers, sent.astype(np.float32), versions

    def propensities(
        self,
        clients: U64,
        times_ms: NDArray[np.int64],
        content: F32,
        history: Mapping[str, NDArray[Any]],
    ) -> F32:
        """Probabilities of n messages sent at these times, (n, 5) in the order of TARGETS.

        A client without a model gets what a model says before any label: for opens and clicks the
        recipient's own rates, shrunk, else the usual ones.
        """
        with self._lock:
            rows = np.array([self._client_of.get(c, 0) for c in clients.tolist()], np.int32)
            x = self._rates.features(rows, history, content)
            return self._bank.predict(rows, x, times_ms).astype(np.float32)

    def _rows(self, clients: U64, segments: U64) -> NDArray[np.int64]:
        """Row of the finest level known for each: segment, client, or all (0)."""
        # One word for both: sorting pairs would take most of the time of scoring.
        words = clients ^ (segments * _ODD)
        _, first, inverse = np.unique(words, return_index=True, return_inverse=True)
        pairs = zip(clients[first].tolist(), segments[first].tolist(), strict=True)
        found = [
            self._row_of.get((client, segment)) or self._row_of.get((client, 0)) or 0
            for client, segment in pairs
        ]
        return np.asarray(np.array(found, np.int64)[inverse.reshape(-1)])

    def _take_totals(self, state: ModelState) -> None:
        self._totals[state.origin] = np.stack([state.columns["exposures"], state.columns["opens"]])
        exposures, opens = np.sum(list(self._totals.values()), axis=0)
        flat = np.full(HOURS, PRIOR_RATE)
        self._curves[0] = shrunk_rates(exposures, opens, flat, PRIOR_STRENGTH)

    def _take_curves(self, state: ModelState) -> None:
        client = hash_text(state.client_id)
        counts = state.columns
        parent = shrunk_rates(counts["exposures"], counts["opens"], self._curves[0])
        self._put_curve((client, 0), parent, _CLIENT, state.model_version)
        tables = zip(
            counts["segments"].tolist(),
            counts["segment_exposures"],
            counts["segment_opens"],
            strict=True,
        )
        for segment, exposures, opens in tables:
            if segment:
                curve = shrunk_rates(exposures, opens, parent)
                self._put_curve((client, segment), curve, _SEGMENT, state.model_version)

    def _put_curve(self, key: tuple[int, int], curve: F64, tier: int, version: int) -> None:
        row = self._row_of.setdefault(key, len(self._row_of) + 1)
        self._curves = _grown(self._curves, row, PRIOR_RATE)
        self._tiers = _grown(self._tiers, row, _ALL)
        self._versions = _grown(self._versions, row, 0)
        self._curves[row], self._tiers[row], self._versions[row] = curve, tier, version

    def _take_weights(self, state: ModelState) -> None:
        row = self._client_of.setdefault(hash_text(state.client_id), len(self._client_of) + 1)
        one = slice(row, row + 1)
        try:
            self._bank.put(one, state.columns)
            self._rates.put(one, state.columns)
        except (KeyError, ValueError) as error:
            msg = f"the propensities of {state.client_id!r} do not fit this build: {error!r}"
            raise CorruptData(msg) from error


def _grown(array: NDArray[Any], row: int, fill: float) -> NDArray[Any]:
    """`array` with room for `row`; a new array, since a reader may hold the old one."""
    if row < len(array):
        return array
    wider = np.full((2 * len(array), *array.shape[1:]), fill, array.dtype)
    wider[: len(array)] = array
    return wider
