"""What comes out of a partition: of a batch, and of recipients asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "Live", "Outcome"]

Columns = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Outcome:
    """Rows of a batch by bucket, and the example rows it made; accepted: (n,) mask of applied."""

    applied: int
    duplicate: int
    late: int
    erased: int
    accepted: NDArray[np.bool_]
    exposures: Columns | None = None
    labels: Columns | None = None
    people: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(slots=True)
class Live:
    """What is known now of n recipients: ids, profile, evidence of their hours (n, EVIDENCE)."""

    client: NDArray[np.uint64]
    ids: NDArray[np.uint64]
    segment: NDArray[np.uint64]
    zone: NDArray[np.uint64]
    newest_ms: NDArray[np.int64]
    evidence: NDArray[np.float32]
    history: Columns
