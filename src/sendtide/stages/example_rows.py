"""Example rows on their way out: those of all works of a round share blocks.

A chunk makes few rows for each destination, and a block costs the same however few it holds, here
and where it is read. So rows are cut into blocks only when they are sent, those of all partitions
that a worker holds together: exposures first, then labels, each partition's in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.creative import Creatives
from sendtide.events.examples import ExampleKind
from sendtide.recipients import blocks
from sendtide.transport import Mergeable, Record

__all__ = ["ExampleRows"]

_KINDS: Final[tuple[ExampleKind, ...]] = ("exposure", "label")


@dataclass(frozen=True, slots=True)
class ExampleRows(Mergeable):
    """Rows of one kind as a partition of recipients made them; none of its state is held.

    columns: `RecipientPartition`'s, hashes in the places of names. creatives: those of the rows.
    partitions: of `ml.examples`.
    """

    kind: ExampleKind
    columns: dict[str, NDArray[Any]]
    creatives: Creatives
    clients: Names
    segments: Names
    partitions: int

    def __len__(self) -> int:
        return len(self.columns["send_offset"])

    @property
    def size(self) -> int:
        """Bytes of the columns."""
        return sum(column.nbytes for column in self.columns.values())

    def records(self, others: Sequence[Self]) -> list[Record]:
        """Blocks of all rows, of one kind after the other."""
        together = self, *others
        return [
            record
            for kind in _KINDS
            for record in self._blocks(kind, [rows for rows in together if rows.kind == kind])
        ]

    def _blocks(self, kind: ExampleKind, parts: Sequence[Self]) -> list[Record]:
        if not parts:
            return []
        columns = {
            name: np.concatenate([part.columns[name] for part in parts])
            for name in parts[0].columns
        }
        creatives = Creatives.of(np.concatenate([part.creatives.rows for part in parts]))
        made = blocks(columns, kind, self.clients, self.segments, creatives, self.partitions)
        return [Record(block.to_bytes(), None, number) for number, block in made]
