"""Tumbling windows: exact counts, deterministic closing, late rows, bounded memory."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.windows import OPEN_WINDOWS, SKIP, ClosedWindow, TumblingCounts

SIZE, LATENESS, CLIENTS, SERIES, BINS = 10, 15, 3, 2, 4


def _rows(times: list[int], seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, BINS, (len(times), SERIES)).astype(np.uint8)
    bins[rng.random(bins.shape) < 0.1] = SKIP
    return rng.integers(0, CLIENTS, len(times)).astype(np.int32), np.array(times, np.int64), bins


def _windows() -> TumblingCounts:
    windows = TumblingCounts(SIZE, LATENESS, SERIES, BINS)
    windows.grow(CLIENTS)
    return windows


def _plain(rows: np.ndarray, times: np.ndarray, bins: np.ndarray) -> tuple[list, int]:
    """The definition, one row at a time, with dictionaries."""
    open_, closed, late, newest = {}, [], 0, None
    for row, time, cells in zip(rows.tolist(), times.tolist(), bins.tolist(), strict=True):
        start = time // SIZE * SIZE
        if newest is not None and start + SIZE <= newest - LATENESS:
            late += 1
            continue
        newest = time if newest is None else max(newest, time)
        table = open_.setdefault(start, Counter())
        table.update((row, j, cell) for j, cell in enumerate(cells) if cell != SKIP)
        due = sorted(s for s in open_ if s + SIZE <= newest - LATENESS)
        closed += [(s, open_.pop(s)) for s in due]
    return closed, late


def _as_plain(closed: list[ClosedWindow]) -> list:
    return [
        (
            w.start_ms,
            Counter({tuple(c): int(w.counts[tuple(c)]) for c in np.argwhere(w.counts).tolist()}),
        )
        for w in closed
    ]


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.one_of(st.integers(0, 300), st.integers(0, 5_000)), max_size=150),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_counts_equal_the_definition_whatever_the_blocks(times, cuts) -> None:
    """Closed windows and late rows are those of the plain definition, through restores too."""
    rows = _rows(times)
    windows, closed, start, turn = _windows(), [], 0, 0
    while start < len(times):
        end = start + cuts[turn % len(cuts)]
        closed += windows.add(*(column[start:end] for column in rows))
        again = _windows()
        again.restore(windows.snapshot(CLIENTS))
        windows, start, turn = again, end, turn + 1
    expected, late = _plain(*rows)
    assert _as_plain(closed) == expected
    assert windows.late == late


def test_windows_close_in_order_and_once() -> None:
    """A jump in time closes all older windows, oldest first, each with its own counts."""
    windows = _windows()
    rows, times, bins = _rows([5, 17, 3, 9_000, 9_001, 2])
    bins[:] = 0
    closed = windows.add(rows, times, bins)
    assert [(w.start_ms, int(w.counts[:, 0, 0].sum())) for w in closed] == [(0, 2), (10, 1)]
    assert windows.late == 1
    assert windows.add(*_rows([])) == []


def test_a_long_lateness_is_cut_to_the_ring() -> None:
    """However late rows may be, no more than the ring's windows are open at once."""
    windows = TumblingCounts(10, 10**9, 1, 1)
    windows.grow(1)
    closed = windows.add(
        np.zeros(1000, np.int32), np.arange(0, 10_000, 10), np.zeros((1000, 1), np.uint8)
    )
    assert len(windows.snapshot(1)["numbers"]) < OPEN_WINDOWS
    assert sum(int(w.counts.sum()) for w in closed) + windows.snapshot(1)["counts"].sum() == 1000


def test_a_window_without_length_is_refused() -> None:
    """Sizes and lateness that make no sense are an error, not a division by zero."""
    with pytest.raises(ValueError, match="window of 0 ms"):
        TumblingCounts(0, 0, 1, 1)
