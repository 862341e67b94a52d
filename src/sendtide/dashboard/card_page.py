"""A model's card as Markdown and as one self-contained page of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any, Final

__all__ = ["card_html", "card_markdown"]

_SIZE: Final = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_SHOWN: Final = 10
"""Features on the page."""
_NOT_KNOWN: Final = "not known"


def _number(value: Any) -> str:
    """As people read it; what is not known says so."""
    if value is None:
        return _NOT_KNOWN
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _moment(time_ms: int | None) -> str:
    if not time_ms:
        return _NOT_KNOWN
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


Section = tuple[str, Sequence[str], Sequence[Sequence[str]], Sequence[str]]
"""Heading, a table's columns and rows, and sentences below it."""


def _sections(card: dict[str, Any]) -> Iterable[Section]:
    data, drift, fresh = card["data"], card["drift"], card["freshness"]
    sources = ", ".join(data["sources"]) or _NOT_KNOWN
    yield (
        "Data",
        ("", ""),
        [
            ("sends seen", _number(data["sends"])),
            ("labels learned", _number(data["labels"])),
            ("of these positive", _number(data["positives"])),
            ("period", f"{_moment(data['from_ms'])} to {_moment(data['to_ms'])}"),
            ("sources", sources),
        ],
        ["Training and evaluation data are the same rows: each is predicted, then learned."],
    )
    metrics = card["metrics"]
    names = {"log_loss": "log loss, nats", "auc": "AUC", "brier": "Brier score"}
    names |= {"ece": "expected calibration error"}
    rows = [(label, _number(metrics[name])) for name, label in names.items()]
    if metrics["gain"] is not None:
        low, high = _number(metrics["gain_low"]), _number(metrics["gain_high"])
        rows.append(("gain over the built-in model", f"{_number(metrics['gain'])} ({low}, {high})"))
        rows.append(("promotion", _number(metrics["promotion"])))
    yield "Metrics, progressive", ("", ""), rows, []
    aged = f"newest event {fresh['seconds'] / 3600:.1f} h ago{', STALE' if fresh['stale'] else ''}"
    effect = _number(drift["effect"]) + (f", {drift['feature']}" if drift["feature"] else "")
    yield (
        "Drift and freshness now",
        ("", ""),
        [
            ("drift", _number(drift["state"])),
            ("largest effect", effect),
            ("convention", _number(drift["convention"])),
            ("windows judged", _number(drift["windows"])),
            ("freshness", aged),
        ],
        [],
    )


def _fairness(card: dict[str, Any]) -> Iterable[Section]:
    for kind, name in (("time_zones", "Time zone"), ("mailbox_providers", "Mailbox provider")):
        rows = [_group(group) for group in card["fairness"][kind] or []]
        heads = (name, "Labels", "Observed", "Predicted", "Ratio", "Log loss", "Skill", "Lift")
        yield f"Fairness by {name.lower()}", heads, rows, card["fairness"]["says"][kind]


def _group(group: dict[str, Any]) -> tuple[str, ...]:
    lift = "-"
    if group["lift"] is not None:
        low, high = group["lift_low"], group["lift_high"]
        lift = f"{group['lift']:+.2%} ({low:+.2%} to {high:+.2%})"
    return (
        group["group"] + (" (few labels)" if group["few"] else ""),
        _number(group["labels"]),
        f"{group['observed']:.2%}",
        f"{group['predicted']:.2%}",
        "-" if group["ratio"] is None else f"{group['ratio']:.3f}",
        f"{group['log_loss']:.4f}",
        "-" if group["skill"] is None else f"{group['skill']:.1%}",
        lift,
    )


def _title(card: dict[str, Any]) -> tuple[str, str]:
    made = _moment(card["made_at_ms"])
    return (
        f"{card['model']} of {card['client']}",
        f"{card['kind'].replace('_', ' ')}, version {card['version']}, as of {made}",
    )


def card_markdown(card: dict[str, Any]) -> str:
    """The card as Markdown."""
    title, about = _title(card)
    lines = [f"# {title}", "", about, "", f"Predicts {card['predicts']}.", ""]
    for heading, columns, rows, sentences in (*_sections(card), *_fairness(card), _features(card)):
        lines += [f"## {heading}", ""]
        if rows:
            lines.append("| " + " | ".join(columns) + " |")
            lines.append("|" + "---|" * len(columns))
            lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
        lines += [*sentences, ""] if sentences else []
    lines += ["## Limits", "", *(f"- {limit}" for limit in card["limits"]), ""]
    return "\n".join([*lines, "## To reproduce", "", card["reproduce"], ""])


def _features(card: dict[str, Any]) -> Section:
    every = card["features"] or {}
    rows = [(name, f"{size:.4f}") for name, size in list(every.items())[:_SHOWN]]
    says = "Mean absolute contribution in log-odds, against the client's average message"
    more = f"; {len(every) - len(rows)} smaller ones are in the JSON." if every else "."
    none = "This model has no features of that kind, or they are not known yet."
    return "What it looks at", ("Feature", "Importance"), rows, [says + more if rows else none]


def card_html(card: dict[str, Any], *, served: bool = False) -> str:
    """The card as a page: beside the dashboard's assets, else one that needs nothing else."""
    title, about = _title(card)
    parts = [f"<h1>{escape(title)}</h1><p class=about>{escape(about)}</p>"]
    parts.append(f"<h2>What it predicts</h2><p>It gives {escape(card['predicts'])}.</p>")
    sections = (*_sections(card), *_fairness(card), _features(card))
    parts += [_section_html(section) for section in sections]
    limits = "".join(f"<li>{escape(limit)}</li>" for limit in card["limits"])
    parts.append(f"<h2>Limits</h2><ul>{limits}</ul>")
    parts.append(f"<h2>To reproduce</h2><p>{escape(card['reproduce'])}</p>")
    style = (
        '<link rel="icon" href="/assets/mark.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/assets/card.css">'
    )
    if not served:
        sheet = files("sendtide.dashboard") / "assets" / "card.css"
        style = f"<style>{sheet.read_text('utf-8')}</style>"
    head = f'<meta charset="utf-8"><title>{escape(title)}</title>{style}{_SIZE}'
    body = f"<main>{''.join(parts)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _section_html(section: Section) -> str:
    heading, columns, rows, sentences = section
    table = ""
    if rows:
        heads = "".join(f"<th>{escape(column)}</th>" for column in columns) if columns[0] else ""
        cells = "".join(
            f"<tr{' class=few' if '(few' in row[0] else ''}>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in rows
        )
        table = f"<table>{f'<tr>{heads}</tr>' if heads else ''}{cells}</table>"
    below = "".join(f"<p class=about>{escape(sentence)}</p>" for sentence in sentences)
    return f"<h2>{escape(heading)}</h2>{table}{below}"
