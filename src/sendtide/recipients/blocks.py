"""Example rows on their way to the clients' stage: one block per destination partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.examples import EXAMPLE_COLUMNS, ExampleBlock, ExampleKind
from sendtide.recipients.creatives import CreativeTable

__all__ = ["MAX_ROWS", "blocks"]

MAX_ROWS: Final = 4_000
"""About 100 bytes a row: a block stays well below the 1 MB that brokers take by default."""


def blocks(
    columns: dict[str, NDArray[Any]],
    kind: ExampleKind,
    origin: int,
    clients: Names,
    segments: Names,
    creatives: CreativeTable,
    partitions: int,
) -> Iterator[tuple[int, ExampleBlock]]:
    """Cut rows by `client hash % partitions`, keeping their order; hashes become table indexes.

    creatives: of the partition that made the rows, before anything else is applied to it.
    """
    destination = columns["client"] % np.uint64(partitions)
    for number in np.unique(destination).tolist():
        rows = np.flatnonzero(destination == number)
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            yield int(number), _block(columns, part, kind, origin, clients, segments, creatives)


def _block(
    columns: dict[str, NDArray[Any]],
    rows: NDArray[np.int64],
    kind: ExampleKind,
    origin: int,
    clients: Names,
    segments: Names,
    creatives: CreativeTable,
) -> ExampleBlock:
    part = {name: column[rows] for name, column in columns.items()}
    client_names, part["client"] = _coded(part["client"], clients)
    segment_names, part["segment"] = _coded(part["segment"], segments)
    made = creatives.of(part["creative"])
    places = 1 + np.searchsorted(made.codes, part["creative"])
    part["creative"] = np.where(part["creative"] == 0, 0, places)
    typed = {name: part[name].astype(dtype, copy=False) for name, dtype in EXAMPLE_COLUMNS.items()}
    typed["content"] = part["content"].astype("<f4", copy=False)
    typed["evidence"] = part["evidence"]
    return ExampleBlock(
        kind=kind,
        origin=origin,
        clients=client_names,
        segments=segment_names,
        creatives=made.rows,
        columns=typed,
    )


def _coded(hashes: NDArray[np.uint64], names: Names) -> tuple[list[str], NDArray[np.uint32]]:
    """Spellings of the distinct hashes (index 0 of segments is "", none), and each row's index."""
    codes, index = np.unique(hashes, return_inverse=True)
    spelled = [names[code] if code else "" for code in codes.tolist()]
    return spelled, index.reshape(-1).astype(np.uint32)
