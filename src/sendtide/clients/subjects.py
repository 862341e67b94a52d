"""What labelled sends with a subject teach, per client; codes in blocks, spelled once.

Rows carry the place of their subject in the block's list of spellings, as segments do; 0 is "".
The base rate is the client's running open rate, shrunk, or a recipient's propensity if given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.models.content_directory import subject_state
from sendtide.models.registry import ModelState
from sendtide.models.subject import SubjectBank

__all__ = ["Subjects"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


class Subjects:
    """Subject models of a partition's clients; row 0 .. n - 1 as in the roster."""

    def __init__(self) -> None:
        self.bank = SubjectBank()

    def learn(
        self,
        rows: I64,
        spellings: Sequence[str],
        codes: NDArray[np.integer[Any]],
        base_rates: F64,
        opened: NDArray[np.bool_],
    ) -> F64:
        """Learn the rows that have a subject; return (n,) predictions, NaN for the others.

        rows: (n,) client rows. codes: (n,) places in `spellings`, whose first is "" for none.
        base_rates: (n,) P(open) whatever the subject.
        """
        out: F64 = np.full(len(rows), np.nan)
        has = np.flatnonzero(codes)
        if len(has):
            self.bank.grow(int(rows[has].max()) + 1)
            subjects = [spellings[code] for code in codes[has].tolist()]
            out[has] = self.bank.learn(rows[has], subjects, base_rates[has], opened[has])
        return out

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The state of the clients that learned, as columns; arrays are copies."""
        rows = np.flatnonzero(self.bank.counts)
        return {
            "rows": rows.astype(np.int64),
            "weights": self.bank.weights[rows],
            "squares": self.bank.squares[rows],
            "counts": self.bank.counts[rows],
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of a snapshot.

        Raises:
            KeyError, ValueError: columns are missing or do not fit.
        """
        self.bank = SubjectBank(self.bank.learning_rate)
        rows = columns["rows"]
        self.bank.grow(int(rows.max(initial=-1)) + 1)
        self.bank.weights[rows] = columns["weights"]
        self.bank.squares[rows] = columns["squares"]
        self.bank.counts[rows] = columns["counts"]

    def state(self, row: int, client_id: str, newest_event_ms: int) -> ModelState:
        """What goes to `ml.models` for the client at `row`."""
        return subject_state(self.bank, row, client_id, newest_event_ms)
