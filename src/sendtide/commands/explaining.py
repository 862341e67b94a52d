"""What a prediction rests on, as numbers and as tables; `predict --explain` shows it."""

from __future__ import annotations

from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from sendtide.commands.output import table
from sendtide.endpoint.explaining import client_state, explain_hours, explain_record
from sendtide.models.levels import LEVELS
from sendtide.models.propensity import FEATURES
from sendtide.sinks import Reader

__all__ = ["explanation", "reasons_shown"]

_SHOWN: Final = 10
_BAR: Final = 24


def explanation(reader: Reader, client: str, recipient: str) -> dict[str, Any]:
    """Why P(open) and the best hour of one known recipient; None for what has no state yet.

    Raises:
        CorruptData: the client's state is of another build.
    """
    records = reader.records([client], [recipient])
    weights, hours = (client_state(reader, client, kind) for kind in ("propensity", "send_time"))
    opens = None
    if weights is not None:
        found = explain_record(weights, "open", records)
        parts = zip(FEATURES, found.x[0].tolist(), found.contributions[0].tolist(), strict=True)
        ordered = sorted(parts, key=lambda part: -abs(part[2]))
        opens = {
            "log_odds": float(found.log_odds[0]),
            "baseline": float(found.baseline[0]),
            "doubt": float(found.doubt[0]),
            "contributions": [
                {"feature": name, "value": value, "contribution": added}
                for name, value, added in ordered
            ],
            "model_version": weights.model_version,
        }
    levels = None
    if hours is not None:
        best = int(records["best_hour"][0])
        added = explain_hours(hours, records[0], best).tolist()
        levels = dict(zip(LEVELS, added, strict=True))
    return {"open_probability": opens, "best_hour": levels}


def reasons_shown(reasons: dict[str, Any] | None) -> list[RenderableType]:
    """Tables of the largest parts, with bars; all in log-odds."""
    opens, hours = (reasons or {}).get("open_probability"), (reasons or {}).get("best_hour")
    shown: list[RenderableType] = []
    if opens is None:
        shown.append(Text("\nWhy is not known yet: the client's weights have not been published."))
    else:
        parts = opens["contributions"]
        rest = sum(part["contribution"] for part in parts[_SHOWN:])
        rows: list[tuple[str, object, float]] = [
            (part["feature"], part["value"], part["contribution"]) for part in parts[:_SHOWN]
        ]
        rows += [(f"{len(parts) - _SHOWN} others", None, rest)]
        rows += [("doubt about the weights", None, opens["doubt"])]
        largest = max(abs(row[2]) for row in rows) or 1.0
        drawn = [(name, value, f"{add:+.3f}", _bar(add / largest)) for name, value, add in rows]
        ends = (
            ("client's average", None, f"{opens['baseline']:+.3f}", ""),
            ("together", None, f"{opens['log_odds']:+.3f}", ""),
        )
        columns = ("feature", "value", "log-odds", "")
        shown.append(table("\nWhy P(open)", columns, [ends[0], *drawn, ends[1]]))
    if hours is not None:
        largest = max(map(abs, hours.values())) or 1.0
        drawn_hours = [(name, f"{add:+.3f}", _bar(add / largest)) for name, add in hours.items()]
        title = "\nWhy the best hour: ahead of the mean hour"
        shown.append(table(title, ("level", "log-odds", ""), drawn_hours))
    return shown


def _bar(share: float) -> Text:
    """A bar as long as a part is large; what lowers the odds is red."""
    return Text("\u2588" * round(_BAR * abs(share)), style="red" if share < 0 else "green")
