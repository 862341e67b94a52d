"""Dense rows for clients, and for segments within clients, in order of first appearance.

The order is that of the rows, not of a block's tables of names, so that it does not depend on how
rows were cut into blocks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import hash_text

__all__ = ["SEGMENTS_PER_CLIENT", "Roster", "by_first_appearance", "with_rows"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]

SEGMENTS_PER_CLIENT: Final = 256
"""A segment beyond is counted in its client only: a campaign id used as a segment has no end."""


def with_rows(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """`array` itself if it has `rows` rows, else a longer one, zero where new."""
    if rows <= len(array):
        return array
    longer = np.zeros((max(rows, 2 * len(array)), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@njit(cache=True)
def _ranks(codes: Any, rank_of: Any, distinct: Any, which: Any) -> int:
    """Number codes by first appearance; rank_of: -1 for each possible code. Return how many."""
    found = 0
    for i in range(len(codes)):
        rank = rank_of[codes[i]]
        if rank == -1:
            rank = rank_of[codes[i]] = found
            distinct[found] = codes[i]
            found += 1
        which[i] = rank
    return found


def by_first_appearance(codes: NDArray[Any], size: int) -> tuple[I64, I64]:
    """Distinct codes, all below `size`, in order of appearance; which of them each row is."""
    if size > 16 * len(codes):
        # A table of all possible codes would cost more than sorting the few there are.
        unique, small = np.unique(codes, return_inverse=True)
        order, which = by_first_appearance(small, len(unique))
        return unique[order].astype(np.int64), which
    distinct, which = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
    found = _ranks(codes, np.full(size, -1, np.int64), distinct, which)
    return distinct[:found], which


class Roster:
    """Names of a partition's clients and the segments they have."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.segment_client: list[int] = []
        self.segment_hash: list[int] = []
        self._row_of: dict[str, int] = {}
        self._segment_row_of: dict[tuple[int, int], int] = {}
        self._segments_of: dict[int, int] = {}

    def client_rows(self, clients: list[str], codes: U32) -> I32:
        """Rows of n clients given as indices into a block's table."""
        distinct, which = by_first_appearance(codes, len(clients))
        rows = [self._client_row(clients[code]) for code in distinct.tolist()]
        return np.array(rows, np.int32)[which]

    def segment_rows(self, client_rows: I32, segments: list[str], codes: U32) -> I32:
        """Rows of n segments; -1 for none and for segments beyond the limit."""
        pairs = client_rows.astype(np.int64) * len(segments) + codes
        size = len(self.names) * len(segments)
        distinct, which = by_first_appearance(pairs, size)
        hashes = [hash_text(segment) if segment else 0 for segment in segments]
        rows = [
            self._segment_row(pair // len(segments), hashes[pair % len(segments)])
            for pair in distinct.tolist()
        ]
        return np.array(rows, np.int32)[which]

    def _client_row(self, name: str) -> int:
        row = self._row_of.get(name)
        if row is None:
            row = self._row_of[name] = len(self.names)
            self.names.append(name)
        return row

    def _segment_row(self, client_row: int, code: int) -> int:
        if code == 0:
            return -1
        key = client_row, code
        row = self._segment_row_of.get(key)
        if row is None:
            if self._segments_of.get(client_row, 0) >= SEGMENTS_PER_CLIENT:
                return -1
            row = self._add_segment(*key)
        return row

    def _add_segment(self, client_row: int, code: int) -> int:
        row = self._segment_row_of[client_row, code] = len(self.segment_client)
        self._segments_of[client_row] = self._segments_of.get(client_row, 0) + 1
        self.segment_client.append(client_row)
        self.segment_hash.append(code)
        return row

    def snapshot(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Names as JSON-able meta, segments as columns."""
        columns = {
            "segment_client": np.array(self.segment_client, np.int64),
            "segment_hash": np.array(self.segment_hash, np.uint64),
        }
        return {"clients": list(self.names)}, columns

    def restore(self, names: list[str], columns: dict[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        self.__init__()  # type: ignore[misc]
        for name in names:
            self._client_row(name)
        pairs = zip(
            columns["segment_client"].tolist(), columns["segment_hash"].tolist(), strict=True
        )
        for client_row, code in pairs:
            self._add_segment(client_row, code)
