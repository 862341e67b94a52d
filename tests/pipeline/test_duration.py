"""Durations are written as people write them, and read exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.pipeline import format_duration, parse_duration


@given(st.integers(0, 10**9 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_what_is_formatted_is_read_back_exactly(number, unit):
    """No form loses a millisecond."""
    value = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "1.5h", "-1s", "1 s", "1S", "1w", "٣s", "1s\n", 30, None, "9" * 10 + "s"],
)
def test_anything_else_is_refused_with_examples(text):
    """A bare number is refused too: of what?"""
    with pytest.raises(ValueError, match='"30s", "10m", "6h", "7d"'):
        parse_duration(text)
