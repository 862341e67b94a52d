"""What labelled sends of declared variants teach, per client.

A variant's own counts do not depend on how rows were cut into blocks. The shared weights do: each
block is one update per variant, taken at the weights before it, in the order of client and code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.models.content_directory import variant_state
from sendtide.models.registry import ModelState
from sendtide.models.variants import Variant, VariantModel

__all__ = ["Variants"]

I64 = NDArray[np.int64]


class Variants:
    """Variant models of a partition's clients, by client row."""

    def __init__(self) -> None:
        self.models: dict[int, VariantModel] = {}

    def learn(
        self,
        rows: I64,
        variants: Sequence[Variant | None],
        codes: NDArray[np.integer[Any]],
        opened: NDArray[np.bool_],
    ) -> None:
        """Learn the rows that have a variant.

        rows: (n,) client rows. codes: (n,) places in `variants`, whose first is None.
        """
        has = np.flatnonzero(codes)
        pairs = np.stack([rows[has], codes[has].astype(np.int64)], axis=1)
        found, inverse = np.unique(pairs, axis=0, return_inverse=True)
        sends = np.bincount(inverse.reshape(-1), minlength=len(found))
        opens = np.bincount(inverse.reshape(-1), weights=opened[has], minlength=len(found))
        for (row, code), sent, hits in zip(
            found.tolist(), sends.tolist(), opens.tolist(), strict=True
        ):
            variant = variants[code]
            assert variant is not None
            self.models.setdefault(row, VariantModel()).learn(variant, sent, int(hits))

    def snapshot(self) -> tuple[dict[str, list[str]], dict[str, NDArray[Any]]]:
        """Names by client row as JSON-able meta, and columns; arrays are copies."""
        rows = sorted(self.models)
        models = [self.models[row] for row in rows]
        names = {str(r): list(m.counts) for r, m in zip(rows, models, strict=True)}
        counts = [pair for model in models for pair in model.counts.values()]
        return names, {
            "rows": np.array(rows, np.int64),
            "mean": np.array([m.mean for m in models], np.float64),
            "precision": np.array([m.precision for m in models], np.float64),
            "counts": np.array(counts, np.int64).reshape(-1, 2),
        }

    def restore(self, names: Mapping[str, list[str]], columns: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of a snapshot.

        Raises:
            KeyError, ValueError: names and columns do not fit together.
        """
        self.models, at = {}, 0
        for k, row in enumerate(columns["rows"].tolist()):
            model = VariantModel()
            model.mean, model.precision = columns["mean"][k].copy(), columns["precision"][k].copy()
            for name in names[str(row)]:
                sends, opens = columns["counts"][at].tolist()
                model.counts[name] = (sends, opens)
                at += 1
            self.models[row] = model

    def state(self, row: int, client_id: str, newest_event_ms: int) -> ModelState:
        """What goes to `ml.models` for the client at `row`.

        Raises:
            KeyError: the client has learned no variant.
        """
        return variant_state(self.models[row], client_id, newest_event_ms)
