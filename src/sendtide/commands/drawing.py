"""Pictures for pages that stand alone: SVG elements, coloured by the page's style sheet.

A picture is drawn `WIDE` or `HALF` as wide as the page, so that its letters are of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

__all__ = ["HALF", "WIDE", "Interval", "Line", "bars", "calibration", "intervals", "lines", "tag"]
__all__ += ["week"]

WIDE: Final = 1_040
HALF: Final = 510
_HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 26
_STEPS: Final = 4
_LABEL: Final = 72
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Line:
    """A curve; points: (x, y), None where there is none. kind: a class of the style sheet."""

    name: str
    kind: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of `intervals`; told: (value, low, high), None where it cannot be told."""

    name: str
    kind: str
    told: tuple[float, float, float] | None


def tag(name: str, /, *children: Element | str | None, **attributes: str | float) -> Element:
    """An element; `_` in attributes' names stands for `-`, and `class_` for `class`."""
    spelled = {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items()}
    made = Element(name, spelled)
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + child
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + child
    return made


@dataclass(frozen=True, slots=True)
class _Frame:
    """From numbers to places in the picture."""

    width: int
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @property
    def right(self) -> int:
        """End of the picture's inside."""
        return self.width - _RIGHT

    def x(self, value: float) -> float:
        """Place from the left."""
        span = (self.x_high - self.x_low) or 1.0
        return round(_LEFT + (value - self.x_low) / span * (self.right - _LEFT), 1)

    def y(self, value: float) -> float:
        """Place from the top."""
        span = (self.y_high - self.y_low) or 1.0
        return round(_HEIGHT - _BOTTOM - (value - self.y_low) / span * _room(), 1)


def _room() -> float:
    return _HEIGHT - _TOP - _BOTTOM


def _picture(title: str, width: int, height: float, *parts: Element) -> Element:
    return tag(
        "svg",
        tag("title", title),
        *parts,
        class_="plot wide" if width == WIDE else "plot",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )


def _grid(frame: _Frame, ticks: Sequence[float], form: str) -> list[Element]:
    """Lines across with their values."""
    out = []
    for value in ticks:
        y = frame.y(value)
        out.append(tag("line", x1=_LEFT, x2=frame.right, y1=y, y2=y, class_="grid"))
        out.append(tag("text", format(value, form), x=_LEFT - 7, y=y + 3.5, class_="end"))
    return out


def _below(frame: _Frame, labels: Sequence[tuple[float, str]]) -> list[Element]:
    """Some of the labels, evenly taken, so that they do not touch."""
    step = -(-len(labels) * _LABEL // frame.width)
    return [
        tag(
            "text",
            text,
            x=min(frame.x(at), frame.right + _RIGHT - 3.6 * len(text)),
            y=_HEIGHT - 8,
            class_="middle",
        )
        for at, text in labels[::step]
    ]


def _ticks(low: float, high: float) -> list[float]:
    """About five round values from below the span to above it: 1, 2 or 5 times a power of ten."""
    rough = (high - low or 1.0) / _STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(factor - rough / power))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _span(lines_of: Sequence[Line], marks: Sequence[float]) -> tuple[float, float]:
    """All values, from nothing where that is near."""
    values = [y for line in lines_of for _, y in line.points if y is not None]
    low, high = min([*values, *marks]), max([*values, *marks])
    if low == high:
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    return 0.0 if 0 <= low < (high - low) / 2 else low, high


def lines(
    title: str,
    curves: Sequence[Line],
    labels: Sequence[tuple[float, str]],
    *,
    form: str,
    marks: Sequence[float] = (),
    width: int = HALF,
) -> Element:
    """Curves over time. labels: below. marks: values at which a broken line is drawn."""
    if all(y is None for curve in curves for _, y in curve.points):
        nothing = tag("text", "nothing to show", x=width / 2, y=_HEIGHT / 2, class_="middle")
        return _picture(title, width, _HEIGHT, nothing)
    xs = [x for curve in curves for x, _ in curve.points]
    ticks = _ticks(*_span(curves, marks))
    frame = _Frame(width, min(xs), max(xs), ticks[0], ticks[-1])
    parts = [*_grid(frame, ticks, form), *_below(frame, labels)]
    for mark in marks:
        y = frame.y(mark)
        parts.append(tag("line", x1=_LEFT, x2=frame.right, y1=y, y2=y, class_="mark"))
    for curve in curves:
        known = [(frame.x(x), frame.y(y)) for x, y in curve.points if y is not None]
        points = " ".join(f"{x},{y}" for x, y in known)
        parts.append(tag("polyline", points=points, class_=f"line {curve.kind}"))
        if len(known) == 1:
            parts.append(tag("circle", cx=known[0][0], cy=known[0][1], r=3, class_=curve.kind))
    return _picture(title, frame.width, _HEIGHT, *parts)


def bars(
    title: str, groups: Sequence[tuple[str, Sequence[float]]], labels: Sequence[str]
) -> Element:
    """Bars of shares side by side; groups: (class, values), all as many as there are labels."""
    ticks = _ticks(0.0, max(max(values) for _, values in groups))
    frame = _Frame(WIDE, 0, len(labels), 0, ticks[-1])
    parts = _grid(frame, ticks, ".0%")
    wide = (frame.x(1) - frame.x(0)) * 0.8 / len(groups)
    for place, (kind, values) in enumerate(groups):
        for i, value in enumerate(values):
            x, y = frame.x(i + 0.1) + place * wide, frame.y(value)
            height = round(frame.y(0) - y, 1)
            bar = tag("rect", x=round(x, 1), y=y, width=round(wide - 0.6, 1), height=height, rx=1.5)
            bar.set("class", kind)
            bar.append(tag("title", f"{labels[i]}: {value:.1%}"))
            parts.append(bar)
    parts += _below(frame, [(i + 0.5, label) for i, label in enumerate(labels)])
    return _picture(title, frame.width, _HEIGHT, *parts)


def calibration(title: str, points: Sequence[tuple[int, float, float]]) -> Element:
    """(rows, predicted, rate): as many as there are rows, so large; on the diagonal is right."""
    ticks = _ticks(0.0, max(max(p, r) for _, p, r in points))
    high = ticks[-1]
    frame = _Frame(HALF, 0, high, 0, high)
    ends = {"x1": frame.x(0), "y1": frame.y(0), "x2": frame.x(high), "y2": frame.y(high)}
    parts = [*_grid(frame, ticks, ".0%"), tag("line", class_="mark", **ends)]
    most = max(rows for rows, _, _ in points)
    for rows, predicted, rate in points:
        dot = tag("circle", cx=frame.x(predicted), cy=frame.y(rate), class_="model see-through")
        dot.set("r", f"{2.5 + 11 * (rows / most) ** 0.5:.1f}")
        dot.append(tag("title", f"predicted {predicted:.1%}, {rate:.1%} of {rows:,}"))
        parts.append(dot)
    parts += _below(frame, [(value, f"{value:.0%}") for value in ticks])
    return _picture(title, frame.width, _HEIGHT, *parts)


def intervals(title: str, rows: Sequence[Interval]) -> Element:
    """Points with their intervals, in percentage points around nothing."""
    row_height, left = 48, 105
    ends = [0.0, *(end for row in rows for end in row.told or ())]
    air = (max(ends) - min(ends) or 1.0) * 0.2
    low, high = min(ends) - air, max(ends) + air
    height = row_height * len(rows) + 26

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (HALF - left - 20), 1)

    parts = [tag("line", x1=x(0), x2=x(0), y1=4, y2=height - 24, class_="mark")]
    for i, row in enumerate(rows):
        y = i * row_height + 28
        parts.append(tag("text", row.name, x=0, y=y + 5, class_="name"))
        if row.told is None:
            parts.append(tag("text", "cannot be told", x=x(0) + 12, y=y + 5, class_="name"))
            continue
        value, least, most = row.told
        shown = f"{value:+.1f} ({least:+.1f} to {most:+.1f})"
        parts += [
            tag("line", x1=x(least), x2=x(most), y1=y, y2=y, class_=f"reach {row.kind}"),
            tag("circle", cx=x(value), cy=y, r=6, class_=row.kind),
            tag("text", shown, x=x(value), y=y - 12, class_="middle strong"),
        ]
    parts.append(tag("text", "no change", x=x(0), y=height - 8, class_="middle"))
    return _picture(title, HALF, height, *parts)


def week(title: str, shares: Sequence[float], kind: str) -> Element:
    """Seven days by 24 hours, the fuller the more."""
    cell, left, top = 19.5, 40, 20
    most = max(shares) or 1.0
    parts = [tag("text", f"{hour:02d}", x=left + hour * cell + 1, y=12) for hour in range(0, 24, 3)]
    parts += [tag("text", day, x=0, y=top + i * cell + 13) for i, day in enumerate(_DAYS)]
    for i, share in enumerate(shares):
        day, hour = divmod(i, 24)
        strength = f"{0.06 + 0.94 * (share / most) ** 0.6:.3f}"
        x, y, side = left + hour * cell, top + day * cell, cell - 2
        box = tag("rect", x=x, y=y, width=side, height=side, rx=4, fill_opacity=strength)
        box.set("class", kind)
        box.append(tag("title", f"{_DAYS[day]} {hour:02d}:00  {share:.2%}"))
        parts.append(box)
    return _picture(title, HALF, top + 7 * cell, *parts)
