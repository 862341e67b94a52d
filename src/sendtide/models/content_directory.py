"""The read side of the kinds "subject" and "variant" of `ml.models`: answers before sending."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.creative import creative_of
from sendtide.events.errors import CorruptData
from sendtide.models.registry import ModelState
from sendtide.models.subject import WIDTH, SubjectBank, explain
from sendtide.models.variants import FEATURES, VariantModel

__all__ = ["SUBJECT", "VARIANT", "ContentDirectory", "subject_columns", "variant_columns"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SUBJECT: Final = "subject"
VARIANT: Final = "variant"
"""Names and kinds of both models."""


def subject_columns(weights: F64) -> dict[str, NDArray[Any]]:
    """One client's weights that are not 0, as they travel."""
    places = np.flatnonzero(weights)
    return {"places": places.astype(np.int64), "weights": weights[places]}


def variant_columns(model: VariantModel) -> dict[str, NDArray[Any]]:
    """One client's variants: shared weights, and hashes of variants with sends and opens."""
    return {
        "mean": model.mean.copy(),
        "precision": model.precision.copy(),
        "keys": np.array(list(model.counts), np.uint64),
        "counts": np.array(list(model.counts.values()), np.int64).reshape(-1, 2),
    }


class ContentDirectory:
    """Newest state by client; safe to feed from one thread and ask from another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bank = SubjectBank()
        self._row_of: dict[str, int] = {}
        self._variants: dict[str, VariantModel] = {}
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}

    def apply(self, data: bytes) -> None:
        """Take one record of `ml.models`; other kinds are left alone.

        Raises:
            CorruptData: no model state, or columns that do not fit; what was known stays.
        """
        state = ModelState.from_bytes(data)
        if state.kind not in (SUBJECT, VARIANT):
            return
        try:
            if state.kind == SUBJECT:
                self._take_subject(state)
            else:
                self._take_variant(state)
        except (KeyError, ValueError, IndexError) as error:
            msg = f"state of {state.model} of {state.client_id} does not fit: {error!r}"
            raise CorruptData(msg) from error
        self._newest[state.client_id, state.kind] = state.model_version, state.newest_event_ms

    def newest(self, clients: Sequence[str], kind: str) -> tuple[I64, I64]:
        """(n,) versions and (n,) newest event times of the clients' models; 0 without one."""
        found = [self._newest.get((client, kind), (0, 0)) for client in clients]
        versions, times = np.array(found, np.int64).reshape(-1, 2).T
        return versions, times

    def subject_probability(
        self, clients: Sequence[str], subjects: Sequence[str], base_rates: F64
    ) -> F64:
        """(n,) P(open); a client without a model gets the base rate, as does an empty subject.

        Raises:
            ValueError: a subject is too long or no text.
        """
        known = {subject: k for k, subject in enumerate(dict.fromkeys(subjects))}
        rows = [creative_of(subject=subject) for subject in known]
        codes = np.array([known[subject] for subject in subjects], np.int64)
        with self._lock:
            self._bank.grow(1)
            at = np.array([self._row_of.get(client, 0) for client in clients], np.int64)
            found = self._bank.predict(at, np.concatenate(rows), codes, base_rates)
        return np.where(np.isnan(found), base_rates, found)

    def explain(self, client: str, subject: str) -> list[tuple[str, float]]:
        """What moves this subject's log-odds most; see `subject.explain`."""
        with self._lock:
            self._bank.grow(1)
            return explain(self._bank.weights[self._row_of.get(client, 0)], subject)

    def variant_choice(
        self, client: str, variants: NDArray[np.void], seed: int
    ) -> tuple[F64, F64, int]:
        """(k,) P(open) and (k,) propensities of CREATIVE rows, and the place of the one drawn."""
        model = self._variants.get(client, VariantModel())
        choice = model.choose(variants, seed)
        return model.scores(variants), choice.shares, choice.place

    def _take_subject(self, state: ModelState) -> None:
        weights = np.zeros(WIDTH)
        weights[state.columns["places"]] = state.columns["weights"]
        with self._lock:
            # Row 0 stays without weights: it answers for clients without a model.
            row = self._row_of.setdefault(state.client_id, len(self._row_of) + 1)
            self._bank.grow(row + 1)
            self._bank.weights[row] = weights

    def _take_variant(self, state: ModelState) -> None:
        columns = state.columns
        mean, precision = columns["mean"].copy(), columns["precision"].copy()
        if mean.shape != (len(FEATURES),) or precision.shape != mean.shape:
            msg = f"weights of shape {mean.shape}; wanted ({len(FEATURES)},)"
            raise ValueError(msg)
        pairs = zip(columns["keys"].tolist(), columns["counts"].tolist(), strict=True)
        counts = {key: (sends, opens) for key, (sends, opens) in pairs}
        self._variants[state.client_id] = VariantModel(mean, precision, counts)
