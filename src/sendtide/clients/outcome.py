"""What comes out of a partition of clients."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sendtide.events.messages import AlertMessage, MetricMessage
from sendtide.models.propensity import TARGETS

__all__ = ["ClientOutcome", "ClientSummary", "LearnedRows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedRows:
    """Exposures learned, in order, each with what was predicted before it was learned.

    All (n,): prediction and label of the open; propensities, facts: (n, targets), in the order of
    `models.propensity.TARGETS`, NaN for what is not predicted.
    """

    origin: NDArray[np.int64]
    send_offset: NDArray[np.int64]
    prediction: NDArray[np.float64]
    label: NDArray[np.uint8]
    propensities: NDArray[np.float64]
    facts: NDArray[np.bool_]

    @classmethod
    def none(cls) -> LearnedRows:
        """No rows."""
        empty = np.zeros(0, np.int64)
        return cls(
            origin=empty,
            send_offset=empty,
            prediction=np.zeros(0, np.float64),
            label=np.zeros(0, np.uint8),
            propensities=np.zeros((0, len(TARGETS))),
            facts=np.zeros((0, len(TARGETS)), bool),
        )


@dataclass(slots=True)
class ClientOutcome:
    """What one block led to. accepted, repeated: its rows that were new, that were not."""

    accepted: int = 0
    repeated: int = 0
    learned: LearnedRows = field(default_factory=LearnedRows.none)
    metrics: list[MetricMessage] = field(default_factory=list)
    alerts: list[AlertMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSummary:
    """Newest numbers of one model of one client; the fields mean what `ModelSummary`'s mean."""

    client_id: str
    model: str
    as_of_ms: int
    newest_event_ms: int
    model_version: int
    events: int
    learned: int
    predictions: int = 0
    windows: int = 0
    drift: float | None = None
    drift_p_value: float | None = None
    drift_feature: str | None = None
    drift_convention: str | None = None
    drift_state: str | None = None
    log_loss: float | None = None
    auc: float | None = None
    brier: float | None = None
    ece: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    promotion: str | None = None
    open_rate: float | None = None
    best_hour: int | None = None
    hour_scores: list[float] | None = None
