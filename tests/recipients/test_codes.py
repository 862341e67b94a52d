"""Codes of hashes: dense, lasting, and nothing lost when a table grows."""

from __future__ import annotations

import numpy as np

from sendtide.recipients.codes import Codes
from sendtide.recipients.tables import NONE


def test_codes_stand_for_their_rows_whatever_comes_after():
    """Thousands of pairs in batches with repeats, against a dictionary."""
    rng, codes, known = np.random.default_rng(3), Codes(2), {(0, 0): 0}
    for _ in range(40):
        wanted = rng.integers(0, 60, (200, 2)).astype(np.uint64)
        unknown = (codes.found(wanted) == NONE).tolist()
        assert unknown == [tuple(row) not in known for row in wanted.tolist()]
        given = codes.added(wanted)
        for row, code in zip(wanted.tolist(), given.tolist(), strict=True):
            assert known.setdefault(tuple(row), code) == code
        assert codes.rows[given].tolist() == wanted.tolist()
    again = Codes.restored(codes.rows.copy())
    everything = np.array(list(known), np.uint64)
    assert again.found(everything).tolist() == list(known.values())
    assert sorted(known.values()) == list(range(len(codes.rows)))
