"""The repeat filter: exact within what it remembers, never wrong about new rows ahead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.clients.repeats import REMEMBERED, RepeatFilter


@settings(max_examples=60, deadline=None)
@given(
    offsets=st.lists(
        st.one_of(
            st.integers(0, 200),
            st.integers(REMEMBERED - 100, REMEMBERED + 100),
            st.integers(0, 2**40),
        ),
        max_size=80,
    ),
    cut=st.integers(0, 80),
)
def test_each_offset_passes_once(offsets, cut) -> None:
    """Against a set: new ones pass, repeats do not, those too far behind do not; restores too."""
    newest, seen, expected = -1, set(), []
    for offset in offsets:
        newest = max(newest, offset)
        known = offset // 64 > newest // 64 - REMEMBERED // 64
        expected.append(known and offset not in seen)
        seen.add(offset)
    first, ones = RepeatFilter(), np.ones(len(offsets), np.uint16)
    found = first.first_time(ones[:cut], "label", np.array(offsets[:cut], np.int64)).tolist()
    second = RepeatFilter()
    second.restore(first.snapshot())
    found += second.first_time(ones[cut:], "label", np.array(offsets[cut:], np.int64)).tolist()
    assert found == expected
    assert second.repeats + second.forgotten == len(offsets) - sum(expected)


def test_origins_and_kinds_do_not_meet() -> None:
    """The same offset is another row in another origin or kind."""
    repeats = RepeatFilter()
    one, two = np.array([7]), np.array([7, 7])
    for origin, kind in ((0, "label"), (0, "exposure"), (1, "label")):
        assert repeats.first_time(np.array([origin]), kind, one).all()
        assert not repeats.first_time(np.array([origin]), kind, one).any()
    assert repeats.first_time(np.array([5, 1]), "label", two).tolist() == [True, False]
    again = RepeatFilter()
    again.restore(repeats.snapshot())
    assert not again.first_time(np.array([5, 0]), "label", two).any()
    assert again.first_time(np.array([5, 4]), "label", np.array([8, 7])).all()


def test_an_offset_below_zero_is_refused() -> None:
    """It would address another row's bit."""
    with pytest.raises(ValueError, match="below 0"):
        RepeatFilter().first_time(np.zeros(1, int), "label", np.array([-1]))
