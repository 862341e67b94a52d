"""The five phases of a model's life, each with what is really measured now, and what is not yet.

The phases are those of a platform page that follows a model from its data to its worth: Data
preparation, Model development, Deployment, Monitoring, Business value. A phase is `live` only if
numbers of this moment stand behind it, `waiting` if nothing has arrived.
"""

from __future__ import annotations

from typing import Any

from sendtide.sinks import ClientLift
from sendtide.sinks.view import explain_lift

__all__ = ["phases"]


def _phase(name: str, live: bool, says: str, missing: str) -> dict[str, Any]:
    return {"name": name, "state": "live" if live else "waiting", "says": says, "missing": missing}


def _mean(rows: list[dict[str, Any]], key: str) -> str:
    """Mean over models weighted by what they learned, as text; an en dash if none is known."""
    known = [(row[key], row["learned"]) for row in rows if row[key] is not None]
    weight = sum(learned for _, learned in known)
    if not weight:
        return "–"  # noqa: RUF001 - the typographic sign for "no value"
    return f"{sum(value * learned for value, learned in known) / weight:.3f}"


def _business_value(conversions: int, lifts: list[ClientLift]) -> dict[str, Any]:
    """Lift of opens over the control groups; conversions are counted, not yet what they are worth.

    Of several clients the one with most control sends is told, and at how many there is a lift.
    """
    opens = [row for row in lifts if row.metric == "lift.open" and row.control_sends]
    parts = [f"{conversions:,} conversions" if conversions else "no conversions reported yet"]
    if opens:
        most = max(opens, key=lambda row: (row.control_sends, row.client_id))
        whose = f"{most.client_id}: " if len(opens) > 1 else "opens: "
        parts.insert(0, whose + explain_lift(most))
    if len(opens) > 1:
        counts = [sum(row.verdict == verdict for row in opens) for verdict in ("lift", "harm")]
        told = f"opens lifted at {counts[0]} of {len(opens)} clients, harmed at {counts[1]}"
        parts.insert(0, told)
    return _phase("Business value", bool(conversions or opens), "; ".join(parts), "worth")


def phases(
    kpi: dict[str, Any],
    rows: list[dict[str, Any]],
    totals: dict[str, dict[str, int]],
    lifts: list[ClientLift],
) -> list[dict[str, Any]]:
    """The five phases with one sentence each, from the numbers of this sample."""
    events = kpi["events"]
    kept = f"{events['applied'] / events['in']:.1%}" if events["in"] else "–"  # noqa: RUF001
    learned = sum(row["learned"] for row in rows)
    monitored = sum(row["drift"] is not None for row in rows)
    return [
        _phase(
            "Data preparation",
            events["in"] > 0,
            f"{kept} of events applied, {events['dead_letter']:,} dead letters",
            "completeness, origin",
        ),
        _phase(
            "Model development",
            learned > 0,
            f"{learned:,} labels learned, AUC {_mean(rows, 'auc')}, "
            f"log loss {_mean(rows, 'log_loss')}",
            "promotion by itself",
        ),
        _phase(
            "Deployment",
            any(row["model_version"] for row in rows),
            f"{len(rows):,} models live, {kpi['predictions']:,} predictions",
            "canaries, roll-back",
        ),
        _phase(
            "Monitoring",
            monitored > 0,
            f"{monitored:,} models watched, {kpi['drifting']:,} drifting, "
            f"{kpi['windows']:,} windows",
            "forecast of drift",
        ),
        _business_value(totals.get("email.engagements", {}).get("conversion", 0), lifts),
    ]
