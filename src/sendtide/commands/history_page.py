"""The report of `sendtide lab history` as one page that needs nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, tostring

import numpy as np

from sendtide.commands import history_words as words
from sendtide.commands.drawing import (
    WIDE,
    Interval,
    Line,
    bars,
    calibration,
    intervals,
    lines,
    tag,
    week,
)
from sendtide.events.errors import ConfigurationError

__all__ = ["page", "write_page"]

_STYLE: Final = Path(__file__).with_suffix(".css")
_SHADES: Final = ("model", "rate", "other", "fourth", "fifth")
_COLOURS: Final = {
    "model": "tide",
    "rate": "sun",
    "truth": "ink",
    "other": "plum",
    "fourth": "bad",
    "fifth": "faint",
}
"""Classes of the style sheet and their variables, for legends."""
_MODELS: Final = {
    "at_send": "model, when it was sent",
    "model": "model, when the outcome was due",
    "send_time": "send-time model, at the hour it was sent",
    "beta_binomial": "recipient's own rate (Beta-Binomial)",
    "client_rate": "client's rate",
}
_VERDICTS: Final = {
    "gain": "A gain",
    "no_gain": "No gain to be told from chance",
    "loss": "A loss",
    "cannot_tell": "The log cannot tell",
}
_TIME_LABELS: Final = 9
_HOURS: Final = [f"{hour:02d}" for hour in range(24)]


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Write the page of a result of `history_result`.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    try:
        path.write_text(page(result), "utf-8")
    except OSError as error:
        msg = f"--html {path} cannot be written ({error.strerror}); give another path"
        raise ConfigurationError(msg) from error


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    title = f"What Sendtide would have done: {result['file']}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", _STYLE.read_text("utf-8")),
    )
    main = tag(
        "main",
        _header(result),
        _verdict(result["would_have"]),
        _cards(result),
        _would_have(result["would_have"]),
        _hours(result["send_time"]),
        _quality("Opens", result["open"]),
        _quality("Clicks", result["click"]),
        _drift(result["drift"]),
        _clients(result),
        _rows(result),
        _method(result),
    )
    document = tag("html", head, tag("body", main), lang="en")
    return "<!doctype html>\n" + tostring(document, encoding="unicode", method="html") + "\n"


def _header(result: dict[str, Any]) -> Element:
    first, last = (result["period"][end][:10] for end in ("first", "last"))
    wave = "M5 19c3.7 0 3.7-4 7.3-4s3.7 4 7.4 4 3.6-4 7.3-4"
    mark = tag(
        "svg",
        tag("rect", width=32, height=32, rx=8, fill="#0e7c86"),
        tag("path", d=wave, fill="none", stroke="#fff", stroke_width=2.6, stroke_linecap="round"),
        tag("circle", cx=22.5, cy=9, r=2.6, fill="#ffd166"),
        class_="mark",
        viewBox="0 0 32 32",
        aria_hidden="true",
    )
    told = f"{result['file']}, {first} to {last}, read as {result['mapping']!r}"
    title = tag("div", tag("h1", "What Sendtide would have done"), tag("p", told, class_="sub"))
    return tag("header", mark, title)


def _verdict(found: dict[str, Any]) -> Element:
    return tag(
        "section",
        tag("h3", _VERDICTS[found["verdict"]]),
        tag("p", f"{found['sentence']}.", class_="says"),
        tag("p", words.caution(found["verdict"]), class_="note"),
        class_=f"verdict {found['verdict']}",
    )


def _cards(result: dict[str, Any]) -> Element:
    rows, opens = result["rows"], result["open"]
    ours, own = opens["at_send"]["auc"], opens["beta_binomial"]["auc"]
    told = [
        ("Sends used", f"{rows['used']:,}", f"of {rows['read']:,} rows in the file"),
        ("Recipients", f"{result['recipients']:,}", f"clients: {result['client_count']:,}"),
        ("Opened", f"{opens['rate']:.1%}", f"clicked {result['click']['rate']:.2%}"),
        ("AUC of opens", _number(ours, ".3f"), f"recipient's own rate: {_number(own, '.3f')}"),
    ]
    cards = [
        tag("section", tag("h3", name), tag("p", figure, class_="figure"), tag("p", more))
        for name, figure, more in told
    ]
    return tag("div", *cards, class_="cards")


def _would_have(found: dict[str, Any]) -> Element:
    model, log = found["by_model"], found["by_log"]
    told = None if log["refused"] else _in_points(log["lift"], log["lift_interval"])
    rows = [
        Interval("by the log", "model", told),
        Interval("by the model", "rate", _in_points(model["lift"], model["interval"])),
    ]
    return tag(
        "section",
        tag("h2", "Other hours: more opens?"),
        tag("p", "Change of the open rate in percentage points, with 95% intervals", class_="sub"),
        tag(
            "div",
            intervals("Change of the open rate, by the log and by the model", rows),
            class_="reaches",
        ),
        tag("p", words.by_log(log), class_="note"),
        tag("p", words.by_model(model), class_="note"),
    )


def _in_points(value: float, interval: Sequence[float]) -> tuple[float, float, float]:
    low, high = interval
    return 100 * value, 100 * low, 100 * high


def _legend(entries: Sequence[tuple[str, str]]) -> Element:
    items = [tag("li", name, style=f"--swatch: var(--{_COLOURS[kind]})") for name, kind in entries]
    return tag("ul", *items, class_="legend")


def _hours(found: dict[str, Any]) -> Element:
    groups = [("rate", found["used"]), ("model", found["recommended"])]
    return tag(
        "section",
        tag("h2", "Hours used, and hours the model would have chosen"),
        _legend([("used", "rate"), ("chosen, that day", "model")]),
        _scrolled(bars("Shares of sends by hour of the recipients' day", groups, _HOURS)),
        tag(
            "div",
            _titled("Used, by hour of the week", week("Sends", found["used_week"], "rate")),
            _titled(
                "Chosen at the end, of any hour of the week, recipient by recipient",
                week("Recipients", found["recommended_week"], "model"),
            ),
            class_="pair",
        ),
        tag("p", words.hours(found), class_="note"),
    )


def _scrolled(picture: Element) -> Element:
    """Wide enough to be read on a narrow screen."""
    return tag("div", picture, class_="scroll")


def _titled(title: str, picture: Element) -> Element:
    return tag("div", tag("h3", title), picture)


def _over_months(
    months: list[dict[str, Any]], named: Sequence[tuple[str, str, str]], measure: str | None
) -> list[Line]:
    """Curves over months; named: (shown, class, key)."""
    return [
        Line(
            shown,
            kind,
            [(i, _known(m[key][measure] if measure else m[key])) for i, m in enumerate(months)],
        )
        for shown, kind, key in named
    ]


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None, form: str) -> str:
    return "-" if _known(value) is None else format(value, form)


def _quality(title: str, found: dict[str, Any]) -> Element:
    months = found["months"]
    labels = [(float(i), month["month"]) for i, month in enumerate(months)]
    ours = [("model", "model", "at_send"), ("own rate", "rate", "beta_binomial")]
    rates = [("opened or clicked", "truth", "rate"), ("predicted", "model", "predicted")]
    curve = [(point["rows"], point["predicted"], point["rate"]) for point in found["calibration"]]
    pictures = [
        ("AUC by month: 0.5 is chance, 1 is perfect", _over_months(months, ours, "auc"), ".3f"),
        ("Log loss by month: less is better", _over_months(months, ours, "log_loss"), ".3f"),
        ("Rate by month, and as predicted", _over_months(months, rates, None), ".1%"),
    ]
    drawn = [
        _titled(name, lines(name, curves, labels, form=form)) for name, curves, form in pictures
    ]
    drawn.append(_titled("Predicted, and what came of it: the diagonal is right",
                         calibration("Calibration", curve)))  # fmt: skip
    return tag(
        "section",
        tag("h2", f"{title}: predicted before each send, then learned"),
        _legend([("model, when it was sent", "model"), ("recipient's own rate", "rate"),
                 ("what happened", "truth")]),
        tag("div", *drawn, class_="pair"),
        _table(
            ("", "AUC", "log loss", "calibration error"),
            [
                (name, *(_number(found[key][m], ".4f") for m in ("auc", "log_loss", "ece")))
                for key, name in _MODELS.items()
                if key in found
            ],
            numbers=3,
        ),
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> Element:
    """A table whose first column and the last `numbers` ones are told apart."""
    first = len(head) - numbers

    def cells(name: str, row: Sequence[str]) -> Element:
        kinds = ["num" if i >= first else "" for i in range(len(row))]
        made = (tag(name, text, class_=kind) for text, kind in zip(row, kinds, strict=True))
        return tag("tr", *made)

    body = tag("tbody", *(cells("td", row) for row in rows))
    return tag("div", tag("table", tag("thead", cells("th", head)), body), class_="scroll")


def _drift(found: dict[str, Any]) -> Element:
    parts = [tag("h2", "Drift: how unlike its beginning the mail became")]
    series = found["series"]
    if not series:
        told = "No window of this log has enough rows to be compared with its beginning."
        return tag("section", *parts, tag("p", told, class_="note"))
    curves = [
        Line(f"{one['feature']}, {one['client']}", kind, one["points"])
        for one, kind in zip(series, _SHADES, strict=False)
    ]
    times = [at for one in series for at, _ in one["points"]]
    steps = np.linspace(min(times), max(times), _TIME_LABELS).tolist()
    labels = [(at, _day(at)) for at in steps]
    parts.append(_legend([(curve.name, curve.kind) for curve in curves]))
    picture = lines("PSI by window", curves, labels, form=".2f", marks=[found["floor"]], width=WIDE)
    parts.append(_scrolled(picture))
    parts.append(tag("p", words.drift(found), class_="note"))
    if found["alarms"]:
        rows = [(a["since"][:10], a["client"], a["description"]) for a in found["alarms"][:12]]
        parts.append(_table(("since", "client", "what"), rows))
    return tag("section", *parts)


def _day(time_ms: float) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d}"


def _clients(result: dict[str, Any]) -> Element | None:
    """The largest clients; nothing to compare where there is one."""
    rows = [
        (
            one["client"],
            f"{one['sends']:,}",
            f"{one['recipients']:,}",
            _number(one["open_rate"], ".1%"),
            _number(one["auc"], ".3f"),
        )
        for one in result["clients"]
    ]
    if len(rows) < 2:
        return None
    head = ("client", "sends", "recipients", "opened", "AUC of opens")
    told = f"The {len(rows)} largest of {result['client_count']:,}"
    return tag("section", tag("h2", "Clients"), tag("p", told, class_="sub"), _table(head, rows, 4))


def _rows(result: dict[str, Any]) -> Element:
    parts = [tag("h2", "What became of the rows"), tag("p", words.rows(result), class_="note")]
    if result["refused"]:
        refused = [
            (f"{one['rows']:,}", one["meaning"], "; ".join(one["examples"]))
            for one in result["refused"]
        ]
        parts.append(_table(("refused", "why", "first of them"), refused))
    if result["remarks"]:
        remarks = [(f"{one['rows']:,}", one["meaning"]) for one in result["remarks"]]
        parts.append(_table(("used", "with what was assumed"), remarks))
    counts = [(name.replace("_", " "), f"{n:,.0f}") for name, n in result["outcomes"].items() if n]
    parts.append(_table(("outcome", "in all rows used"), counts, numbers=1))
    return tag("section", *parts)


def _method(result: dict[str, Any]) -> Element:
    told = [tag("p", text, class_="note") for text in words.method(result)]
    return tag("section", tag("h2", "How this was made"), *told)
