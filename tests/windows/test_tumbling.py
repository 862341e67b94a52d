"""Tumbling windows: exact counts, deterministic closing, late rows, bounded memory."""

from collections import Counter
from itertools import cycle

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


def _added(windows: TumblingCounts, origin: int, rows: tuple) -> list[ClosedWindow]:
    return windows.add(*rows, np.full(len(rows[0]), origin))


def _plain(rows, times, bins, origins) -> tuple[list, int]:
    """The definition, one row at a time, with dictionaries."""
    open_, closed, late, newest, watermark = {}, [], 0, {}, -(10**9)
    columns = (rows.tolist(), times.tolist(), bins.tolist(), origins)
    for row, time, cells, origin in zip(*columns, strict=True):
        start = time // SIZE * SIZE
        newest[origin] = max(newest.get(origin, time), time)
        if start + SIZE <= watermark:
            late += 1
            continue
        slowest, fastest = min(newest.values()), max(newest.values())
        watermark = max(watermark, slowest - LATENESS, fastest - (OPEN_WINDOWS - 2) * SIZE)
        table = open_.setdefault(start, Counter())
        table.update((row, j, cell) for j, cell in enumerate(cells) if cell != SKIP)
        due = sorted(s for s in open_ if s + SIZE <= watermark)
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


@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(st.integers(0, 2_000), max_size=200),
    seed=st.integers(0, 1000),
    fewest=st.integers(1, 8),
    cut=st.integers(0, 200),
)
def test_only_windows_too_small_are_dropped(times, seed, fewest, cut):
    """Others come out whole and in order, also when a restart falls among them."""
    rows, stamps, bins = _rows(times, seed)
    plain, late = _plain(rows, stamps, bins, [0] * len(times))

    windows = TumblingCounts(SIZE, LATENESS, SERIES, BINS, fewest)
    windows.grow(CLIENTS)
    closed = windows.add(rows[:cut], stamps[:cut], bins[:cut])
    again = TumblingCounts(SIZE, LATENESS, SERIES, BINS, fewest)
    again.grow(CLIENTS)
    again.restore(windows.snapshot(CLIENTS))
    closed += again.add(rows[cut:], stamps[cut:], bins[cut:])

    found = _as_plain(closed)
    assert [w for w in plain if w in found] == found
    large = [
        (start, cells)
        for start, cells in plain
        if max(sum(n for (_, j, _), n in cells.items() if j == s) for s in range(SERIES)) >= fewest
    ]
    assert [w for w in found if w in large] == large
    assert again.late == late


@settings(max_examples=100, deadline=None)
@given(
    blocks=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.one_of(st.integers(0, 300), st.integers(0, 5_000)), max_size=30),
            st.integers(1, 12),
        ),
        max_size=12,
    )
)
def test_counts_equal_the_definition_whatever_the_blocks(blocks) -> None:
    """Closed windows and late rows are those of the plain definition, through restores too."""
    times = [time for _, block_times, _ in blocks for time in block_times]
    origins = [origin for origin, block_times, _ in blocks for _ in block_times]
    rows, windows, closed, first = _rows(times), _windows(), [], 0
    sizes = cycle([step for *_, step in blocks])
    while first < len(times):
        piece = slice(first, first := first + next(sizes))
        closed += windows.add(*(column[piece] for column in rows), np.array(origins[piece]))
        again = _windows()
        again.restore(windows.snapshot(CLIENTS))
        windows = again
    expected, late = _plain(*rows, origins)
    assert _as_plain(closed) == expected
    assert windows.late == late


def test_an_origin_that_catches_up_loses_nothing() -> None:
    """An origin far behind is not late; one that falls silent does not hold windows for ever."""
    windows = _windows()
    behind, ahead = _rows([5, 25, 45]), _rows([100, 200, 300])
    assert _added(windows, 0, tuple(c[:1] for c in behind)) == []
    assert _added(windows, 1, ahead) == []
    assert [w.start_ms for w in _added(windows, 0, tuple(c[1:] for c in behind))] == [0, 20]
    assert windows.late == 0
    assert [w.start_ms for w in _added(windows, 1, _rows([2_000]))][:2] == [40, 100]


def test_others_wait_for_an_origin_that_begins_late() -> None:
    """An origin whose first rows are late stops the watermark, so that its later rows count."""
    windows = _windows()
    _added(windows, 0, _rows([25, 45]))
    _added(windows, 1, _rows([0]))
    _added(windows, 0, _rows([150]))
    _added(windows, 1, _rows([31]))
    assert windows.late == 1


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
