"""Example rows on their way to the clients' stage: one block per destination partition."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.creative import Creatives
from sendtide.events.examples import EXAMPLE_COLUMNS, ExampleBlock, ExampleKind

__all__ = ["MAX_ROWS", "blocks"]

MAX_ROWS: Final = 2_000
"""Of 171 bytes, at most 69 more for a subject that no other row has, and the names: a block stays
below the 1 MB that brokers and clients take by default."""


def blocks(
    columns: dict[str, NDArray[Any]],
    kind: ExampleKind,
    clients: Names,
    segments: Names,
    creatives: Creatives,
    partitions: int,
) -> Iterator[tuple[int, ExampleBlock]]:
    """Cut rows by `client hash % partitions`, keeping their order; hashes become table indexes.

    creatives: those of the rows, and maybe others.
    """
    destination = columns["client"] % np.uint64(partitions)
    order = np.argsort(destination, kind="stable")
    ordered = {name: column[order] for name, column in columns.items()}
    ends = np.searchsorted(destination[order], np.arange(1, partitions + 1, dtype=np.uint64))
    for number, (first, end) in enumerate(pairwise([0, *ends.tolist()])):
        for start in range(first, end, MAX_ROWS):
            rows = slice(start, min(start + MAX_ROWS, end))
            part = {name: column[rows] for name, column in ordered.items()}
            yield number, _block(part, kind, clients, segments, creatives)


def _block(
    part: dict[str, NDArray[Any]],
    kind: ExampleKind,
    clients: Names,
    segments: Names,
    creatives: Creatives,
) -> ExampleBlock:
    client_names, part["client"] = _coded(part["client"], clients)
    segment_names, part["segment"] = _coded(part["segment"], segments)
    made, part["creative"] = _placed(part["creative"], creatives)
    typed = {name: part[name].astype(dtype, copy=False) for name, dtype in EXAMPLE_COLUMNS.items()}
    typed["content"] = part["content"].astype("<f4", copy=False)
    typed["evidence"] = part["evidence"]
    return ExampleBlock(
        kind=kind, clients=client_names, segments=segment_names, creatives=made, columns=typed
    )


def _placed(
    codes: NDArray[np.uint64], creatives: Creatives
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """The creatives of some rows, and each row's place among them, from 1 on; 0 has none."""
    if not codes.any():
        return creatives.rows[:0], np.zeros(len(codes), np.int64)
    found = np.unique(codes[codes != 0])
    places = np.where(codes == 0, 0, 1 + np.searchsorted(found, codes))
    return creatives.rows[np.searchsorted(creatives.codes, found)], places


def _coded(hashes: NDArray[np.uint64], names: Names) -> tuple[list[str], NDArray[np.uint32]]:
    """Spellings of the distinct hashes (index 0 of segments is "", none), and each row's index."""
    codes, index = np.unique(hashes, return_inverse=True)
    spelled = [names[code] if code else "" for code in codes.tolist()]
    return spelled, index.reshape(-1).astype(np.uint32)
