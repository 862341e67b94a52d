"""PSI: the published numbers, the p-value's calibration, missing values."""

import numpy as np

from sendtide.monitoring.psi import CELLS, MISSING, bin_rows, psi, psi_p_value, reference_edges


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    out = np.empty((len(values), 1), np.uint8)
    bin_rows(values.reshape(-1, 1).astype(float), np.zeros(len(values), np.int32), edges[None], out)
    return np.bincount(out[:, 0], minlength=CELLS)


def _judged(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    edges = reference_edges(reference.reshape(-1, 1))
    a, b = _counts(reference, edges), _counts(current, edges)
    index = psi(a, b)
    return float(index), float(psi_p_value(a, b, index))


def test_published_numbers_of_the_reference_decile_convention():
    """Two stated pairs of samples have the index that the research measured for them."""
    rng = np.random.default_rng(20240601)
    a, b = rng.normal(0, 1, 5000), rng.normal(0.2, 1.1, 5000)
    la, lb = rng.lognormal(0, 1, 5000), rng.lognormal(0.2, 1, 5000)
    assert abs(_judged(a, b)[0] - 0.0417) < 5e-5
    assert abs(_judged(la, lb)[0] - 0.0391) < 5e-5
    assert _judged(a, b)[1] < 1e-12


def test_p_value_is_calibrated_without_drift():
    """At a nominal 5%, about 5% of samples from one distribution are called different."""
    rng = np.random.default_rng(7)
    called = [
        _judged(rng.normal(size=n), rng.normal(size=m))[1] < 0.05
        for n, m in [(10_000, 300), (2_000, 1_000), (5_000, 5_000)] * 400
    ]
    assert 0.035 < np.mean(called) < 0.07


def test_missing_values_are_a_cell_of_their_own():
    """A feed that stops to fill a field is drift, though the values left are the same."""
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=4000), rng.normal(size=4000)
    current[::3] = np.nan
    edges = reference_edges(reference.reshape(-1, 1))
    assert _counts(current, edges)[MISSING] == len(current[::3])
    index, p = _judged(reference, current)
    assert index > 0.25
    assert p < 1e-6


def test_one_value_and_no_value_are_no_drift():
    """A constant series, and a side without values, have index 0 and p 1."""
    assert _judged(np.full(1000, 3.0), np.full(500, 3.0)) == (0.0, 1.0)
    empty = np.zeros(CELLS, np.int64)
    assert psi(_counts(np.ones(9), np.full((9, 1), 0.0)), empty) == 0.0
