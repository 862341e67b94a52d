"""The read side of the kinds "subject" and "variant" of `ml.models`: answers before sending."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.models.registry import ModelState
from sendtide.models.subject import WIDTH, SubjectBank
from sendtide.models.variants import FEATURES, Variant, VariantModel

__all__ = ["SUBJECT", "VARIANT", "ContentDirectory", "subject_state", "variant_state"]

F64 = NDArray[np.float64]

SUBJECT: Final = "subject"
VARIANT: Final = "variant"


def subject_state(bank: SubjectBank, row: int, client_id: str, newest_event_ms: int) -> ModelState:
    """One client's weights that are not 0, as they travel."""
    places = np.flatnonzero(bank.weights[row])
    learned = int(bank.counts[row])
    return ModelState(
        client_id=client_id,
        model=SUBJECT,
        kind=SUBJECT,
        model_version=learned,
        learned=learned,
        newest_event_ms=newest_event_ms,
        columns={"places": places.astype(np.int64), "weights": bank.weights[row, places]},
    )


def variant_state(model: VariantModel, client_id: str, newest_event_ms: int) -> ModelState:
    """One client's variants: shared weights, and names (UTF-8, one a line) with their counts."""
    counts = np.array(list(model.counts.values()), np.int64).reshape(-1, 2)
    learned = int(counts[:, 0].sum())
    names = "\n".join(model.counts).encode()
    return ModelState(
        client_id=client_id,
        model=VARIANT,
        kind=VARIANT,
        model_version=learned,
        learned=learned,
        newest_event_ms=newest_event_ms,
        columns={
            "mean": model.mean.copy(),
            "precision": model.precision.copy(),
            "counts": counts,
            "names": np.frombuffer(names, np.uint8),
        },
    )


class ContentDirectory:
    """Newest state by client; safe to feed from one thread and ask from another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bank = SubjectBank()
        self._row_of: dict[str, int] = {}
        self._variants: dict[str, VariantModel] = {}

    def apply(self, state: ModelState) -> None:
        """Take one state; other kinds are left alone.

        Raises:
            CorruptData: columns that do not fit the kind; what was known stays.
        """
        try:
            if state.kind == SUBJECT:
                self._take_subject(state)
            elif state.kind == VARIANT:
                self._take_variant(state)
        except (KeyError, ValueError, IndexError) as error:
            msg = f"state of {state.model} of {state.client_id} does not fit: {error!r}"
            raise CorruptData(msg) from error

    def subject_probability(
        self, clients: Sequence[str], subjects: Sequence[str], base_rates: F64
    ) -> F64:
        """(n,) P(open); a client without a model gets the base rate.

        Raises:
            ValueError: a subject is too long or no text.
        """
        with self._lock:
            self._bank.grow(1)
            rows = np.array([self._row_of.get(client, 0) for client in clients], np.int64)
            return self._bank.predict(rows, subjects, base_rates)

    def variant_scores(
        self, client: str, variants: Sequence[Variant], seed: int
    ) -> tuple[F64, F64]:
        """(k,) expected P(open) and (k,) propensity of each candidate."""
        with self._lock:
            model = self._variants.get(client, VariantModel())
            return model.scores(variants), model.propensities(variants, seed)

    def _take_subject(self, state: ModelState) -> None:
        weights = np.zeros(WIDTH)
        weights[state.columns["places"]] = state.columns["weights"]
        with self._lock:
            # Row 0 stays without weights: it answers for clients without a model.
            row = self._row_of.setdefault(state.client_id, len(self._row_of) + 1)
            self._bank.grow(row + 1)
            self._bank.weights[row] = weights

    def _take_variant(self, state: ModelState) -> None:
        model, columns = VariantModel(), state.columns
        model.mean, model.precision = columns["mean"].copy(), columns["precision"].copy()
        if model.mean.shape != (len(FEATURES),) or model.precision.shape != model.mean.shape:
            msg = f"weights of shape {model.mean.shape}; wanted ({len(FEATURES)},)"
            raise ValueError(msg)
        text = columns["names"].tobytes().decode()
        pairs = zip(text.split("\n") if text else [], columns["counts"].tolist(), strict=True)
        model.counts = {name: (sends, opens) for name, (sends, opens) in pairs}
        with self._lock:
            self._variants[state.client_id] = model
