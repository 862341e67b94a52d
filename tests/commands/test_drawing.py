"""Pictures: everything stands inside them, whatever the numbers, and text stays text."""

from __future__ import annotations

import math
from xml.etree.ElementTree import fromstring, tostring

from hypothesis import given
from hypothesis import strategies as st

from sendtide.commands.drawing import HALF, Interval, Line, bars, calibration, intervals, lines, tag

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)
SHARES = st.floats(0, 1, allow_subnormal=False)


def places(picture):
    """All (x, y) of lines, circles and polylines, and the picture's size."""
    _, _, width, height = (float(part) for part in picture.get("viewBox").split())
    found = []
    for element in picture.iter():
        for x, y in (("x1", "y1"), ("x2", "y2"), ("cx", "cy")):
            if element.get(x) is not None:
                found.append((float(element.get(x)), float(element.get(y))))
        found += [tuple(map(float, p.split(","))) for p in element.get("points", "").split()]
    return found, width, height


def check(picture):
    """Every place is a number inside the picture."""
    found, width, height = places(picture)
    assert found
    assert all(math.isfinite(x) and math.isfinite(y) for x, y in found)
    assert all(-0.1 <= x <= width + 0.1 and -0.1 <= y <= height + 0.1 for x, y in found)


@given(st.lists(st.one_of(st.none(), VALUES), min_size=1, max_size=12))
def test_curves_stay_inside(values):
    """Gaps, one point, equal values, none at all."""
    curve = Line("a", "model", [(float(i), value) for i, value in enumerate(values)])
    picture = lines("curve", [curve], [(0.0, "first")], form=".2f", marks=[0.1])
    if all(value is None for value in values):
        assert "nothing to show" in tostring(picture, encoding="unicode")
    else:
        check(picture)


@given(st.lists(st.tuples(st.integers(1, 10**6), SHARES, SHARES), min_size=1, max_size=15))
def test_points_of_calibration_stay_inside(points):
    """Rates and predictions from 0 to 1."""
    check(calibration("calibration", points))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=4))
def test_intervals_stay_inside(told):
    """Any three numbers in order; a row without numbers says so."""
    rows = [Interval("a", "model", (m, low, high)) for low, m, high in map(sorted, told)]
    picture = intervals("intervals", [*rows, Interval("b", "rate", None)])
    check(picture)
    assert "cannot be told" in tostring(picture, encoding="unicode")


def test_shares_are_bars_as_high_as_they_are():
    """Twice the share, twice the height."""
    picture = bars("bars", [("rate", [0.2, 0.4, 0.0])], ["a", "b", "c"])
    heights = [float(bar.get("height")) for bar in picture.iter("rect")]
    assert heights[1] == 2 * heights[0] > 0 == heights[2]
    assert picture.get("viewBox").split()[2] != str(HALF)


def test_what_is_text_stays_text():
    """Markup in a name is shown, not obeyed."""
    made = tag("p", "<script>alert(1)</script> & ", tag("b", "x"), " after", class_='"quoted"')
    text = tostring(made, encoding="unicode", method="html")
    assert "<script" not in text
    again = fromstring(text)
    assert "".join(again.itertext()) == "<script>alert(1)</script> & x after"
    assert again.get("class") == '"quoted"'
