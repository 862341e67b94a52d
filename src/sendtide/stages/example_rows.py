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
from sendtide.recipients import Outcome, RecipientPartition, blocks
from sendtide.transport import Mergeable, Record

__all__ = ["ExampleRows", "RowsOfOneKind"]

_KINDS: Final[tuple[ExampleKind, ...]] = ("exposure", "label")


@dataclass(frozen=True, slots=True)
class RowsOfOneKind:
    """columns: `RecipientPartition`'s, hashes in the places of names. creatives: of the rows."""

    kind: ExampleKind
    columns: dict[str, NDArray[Any]]
    creatives: Creatives

    def __len__(self) -> int:
        return len(self.columns["send_offset"])


@dataclass(frozen=True, slots=True)
class ExampleRows(Mergeable):
    """Rows as a partition of recipients made them; none of its state is held.

    partitions: of `ml.examples`.
    """

    parts: Sequence[RowsOfOneKind]
    clients: Names
    segments: Names
    partitions: int

    @classmethod
    def of(
        cls,
        state: RecipientPartition,
        outcome: Outcome,
        clients: Names,
        segments: Names,
        partitions: int,
    ) -> Self:
        """What a chunk made, before anything else is applied. Sends that are due make labels too.

        Columns may be views of wider rows, which would be kept with them: they are copied.
        """
        made = zip(_KINDS, (outcome.exposures, outcome.labels), strict=True)
        parts = [
            RowsOfOneKind(
                kind,
                {name: np.ascontiguousarray(column) for name, column in columns.items()},
                state.creatives.of(columns["creative"]),
            )
            for kind, columns in made
            if columns is not None and len(columns["send_offset"])
        ]
        return cls(parts, clients, segments, partitions)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def size(self) -> int:
        """Bytes of the columns."""
        return sum(column.nbytes for part in self.parts for column in part.columns.values())

    def records(self, others: Sequence[Self]) -> list[Record]:
        """Blocks of all rows, of one kind after the other."""
        parts = [part for rows in (self, *others) for part in rows.parts]
        return [
            record
            for kind in _KINDS
            for record in self._blocks(kind, [part for part in parts if part.kind == kind])
        ]

    def _blocks(self, kind: ExampleKind, parts: Sequence[RowsOfOneKind]) -> list[Record]:
        if not parts:
            return []
        columns = {
            name: np.concatenate([part.columns[name] for part in parts])
            for name in parts[0].columns
        }
        creatives = Creatives.of(np.concatenate([part.creatives.rows for part in parts]))
        made = blocks(columns, kind, self.clients, self.segments, creatives, self.partitions)
        return [Record(block.to_bytes(), None, number) for number, block in made]
