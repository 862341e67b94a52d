"""Example rows on their way to the clients' stage: one block per destination partition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.examples import EXAMPLE_COLUMNS, ExampleBlock, ExampleKind

__all__ = ["blocks"]


def blocks(
    columns: dict[str, NDArray[Any]],
    kind: ExampleKind,
    origin: int,
    clients: Names,
    segments: Names,
    partitions: int,
) -> dict[int, ExampleBlock]:
    """Cut rows by `client hash % partitions`, keeping their order; hashes become table indexes."""
    destination = columns["client"] % np.uint64(partitions)
    out = {}
    for number in np.unique(destination).tolist():
        rows = np.flatnonzero(destination == number)
        part = {name: column[rows] for name, column in columns.items()}
        client_names, part["client"] = _coded(part["client"], clients)
        segment_names, part["segment"] = _coded(part["segment"], segments)
        typed = {name: part[name].astype(dtype) for name, dtype in EXAMPLE_COLUMNS.items()}
        typed["content"] = part["content"].astype("<f4")
        out[int(number)] = ExampleBlock(
            kind=kind, origin=origin, clients=client_names, segments=segment_names, columns=typed
        )
    return out


def _coded(hashes: NDArray[np.uint64], names: Names) -> tuple[list[str], NDArray[np.uint32]]:
    """Spellings of the distinct hashes (index 0 of segments is "", none), and each row's index."""
    codes, index = np.unique(hashes, return_inverse=True)
    spelled = [names[code] if code else "" for code in codes.tolist()]
    return spelled, index.reshape(-1).astype(np.uint32)
