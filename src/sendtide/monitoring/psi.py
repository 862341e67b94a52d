"""Population stability index on the reference's deciles, with a p-value that knows the counts.

Convention `psi.refdecile`: ten cells cut at the reference's deciles, outer edges at -inf and +inf,
and one more cell for missing values; shares p (reference) and q (current) of all cells::

    PSI = sum (q - p) ln(q / p)

Without drift PSI is about chi2(B - 1) * (1/n + 1/m) for n reference and m current values in B
cells (Yurdakul & Naranjo, "Statistical properties of the population stability index", Journal of
Risk Model Validation 14 (2020) 89-100). Empty cells count as half a value, so that PSI stays
finite; cells empty on both sides are no cells. Chi2 counts degrees of freedom by occupied cells.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import chdtrc

__all__ = ["BINS", "CELLS", "CONVENTION", "MISSING", "bin_rows", "psi", "psi_p_value"]
__all__ += ["reference_edges"]

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CONVENTION: Final = "psi.refdecile"
BINS: Final = 10
MISSING: Final = BINS
"""Cell of values that are NaN."""
CELLS: Final = BINS + 1
_EMPTY_CELL: Final = 0.5


def reference_edges(values: NDArray[np.floating[Any]]) -> F64:
    """Return the nine inner edges, (9, series), of the reference's deciles.

    Args:
        values: (n, series), NaN where missing. A series with no value at all has edges +inf.
    """
    edges = np.full((BINS - 1, values.shape[1]), np.inf)
    deciles = np.linspace(0, 1, BINS + 1)[1:-1]
    for j in range(values.shape[1]):
        present = values[:, j][~np.isnan(values[:, j])]
        if len(present):
            edges[:, j] = np.quantile(present.astype(np.float64), deciles)
    return edges


@njit(cache=True)
def bin_rows(values: Any, rows: Any, edges: Any, out: Any) -> None:
    """Write the cell of each value: the number of edges at or below it, or `MISSING` for NaN.

    values: (n, series) float64. rows: (n,) which client's edges. edges: (clients, 9, series).
    out: (n, series) uint8.
    """
    for i in range(len(rows)):
        for j in range(values.shape[1]):
            value = values[i, j]
            if np.isnan(value):
                out[i, j] = edges.shape[1] + 1
                continue
            cell = 0
            for k in range(edges.shape[1]):
                cell += edges[rows[i], k, j] <= value
            out[i, j] = cell


def psi(reference: NDArray[Any], current: NDArray[Any]) -> F64:
    """Index of count tables (..., cells); 0 where one side has no values."""
    occupied = (reference + current) > 0
    p = np.where(occupied, np.maximum(reference, _EMPTY_CELL), 0.0)
    q = np.where(occupied, np.maximum(current, _EMPTY_CELL), 0.0)
    p = p / np.maximum(p.sum(axis=-1, keepdims=True), 1.0)
    q = q / np.maximum(q.sum(axis=-1, keepdims=True), 1.0)
    ratio = np.divide(q, p, out=np.ones_like(q), where=occupied)
    total = ((q - p) * np.log(ratio)).sum(axis=-1)
    known = (reference.sum(axis=-1) > 0) & (current.sum(axis=-1) > 0)
    return np.asarray(np.where(known, total, 0.0))


def psi_p_value(reference: NDArray[Any], current: NDArray[Any], index: F64) -> F64:
    """Chance of an index at least this large without drift; 1 with one cell or no values."""
    n, m = reference.sum(axis=-1), current.sum(axis=-1)
    freedom = ((reference + current) > 0).sum(axis=-1) - 1
    testable = (n > 0) & (m > 0) & (freedom > 0)
    scale = np.where(testable, 1 / np.maximum(n, 1) + 1 / np.maximum(m, 1), 1.0)
    p = chdtrc(np.maximum(freedom, 1), index / scale)
    return np.asarray(np.where(testable, p, 1.0))
