"""`sendtide lab newsletters`: open and click propensity on past deliveries, by quarter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Group
from rich.text import Text

from sendtide import lab
from sendtide.commands.in_process import Replay, replay
from sendtide.commands.options import JsonFile
from sendtide.commands.output import note, progress, publish, table
from sendtide.commands.own_pipeline import NEWSLETTERS
from sendtide.connectors import Newsletters
from sendtide.events.errors import CorruptData
from sendtide.events.messages import AlertMessage, MetricMessage
from sendtide.models.propensity import TARGETS
from sendtide.pipeline import load_pipeline
from sendtide.sinks import ClientLift
from sendtide.sinks.view import explain_lift

__all__ = ["newsletters"]

_OPEN, _CLICK = TARGETS.index("open"), TARGETS.index("click")
_COLUMNS: Final = (
    *("quarter", "rows", "open rate", "predicted", "AUC", "log loss", "ECE"),
    *("click AUC", "PSI", "of", "alarms"),
)


def newsletters(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, one row per delivery.")],
    seed: Annotated[int, typer.Option(help="Of the drawn times of opens and clicks.")] = 1,
    json: JsonFile = None,
) -> None:
    """Score open and click propensity on past newsletter deliveries, beside a Beta-Binomial.

    In this process, by the same code as a worker's, no broker needed: every delivery is predicted
    when its week is over, from what was known when it was sent, and learned only then. `at_send`
    holds the scores of what was predicted at the moment of sending, when nothing of its own issue
    was known. By quarter: quality, calibration, the largest drift (PSI) and the alarms raised.
    `control_group` is a placebo: nobody heeded any answer, so a lift over it would be false.

    Example: `sendtide lab newsletters newsletters.parquet --json scores.json`
    """
    archive = Newsletters(file, seed=seed)
    note(f"{archive.rows:,} deliveries, {archive.engagements:,} engagements")
    pipeline = load_pipeline(NEWSLETTERS)
    started = time.monotonic()
    lateness_ms = pipeline.engagements.allowed_lateness_ms
    with progress() as bar:
        task = bar.add_task("learned", total=archive.rows)
        seen = replay(
            archive.records(partitions=1, lateness_ms=lateness_ms),
            archive.rows,
            pipeline,
            lambda rows: bar.update(task, completed=rows),
        )
    result = _result(archive, seen) | {"seconds": time.monotonic() - started}
    publish(result, json, _shown(result))


def _scores(seen: Replay, predictions: Any, target: int) -> dict[str, float]:
    found = lab.score(seen.facts[:, target], predictions[:, target])
    return {"auc": found.auc, "log_loss": found.log_loss}


def _result(archive: Newsletters, seen: Replay) -> dict[str, Any]:
    """The fixed keys.

    Raises:
        CorruptData: the labels are not the file's.
    """
    opened, clicked = archive.opened, archive.clicks > 0
    right = bool(seen.labelled.all()) and all(
        np.array_equal(seen.facts[:, target], label)
        for target, label in ((_OPEN, opened), (_CLICK, clicked))
    )
    if not right:
        msg = (
            f"{int(seen.labelled.sum()):,} of {archive.rows:,} deliveries were labelled, "
            f"{int(seen.facts[:, _OPEN].sum()):,} as opened; the file has {int(opened.sum()):,}; "
            "the join is wrong"
        )
        raise CorruptData(msg)
    ranked = (archive.subscriber, archive.sent_at_ms)
    baseline = {
        name: lab.score(label, lab.beta_binomial(*ranked, label))
        for name, label in (("open", opened), ("click", clicked))
    }
    return {
        "rows": archive.rows,
        "open": _scores(seen, seen.progressive, _OPEN),
        "click": _scores(seen, seen.progressive, _CLICK),
        "at_send": {
            "open": _scores(seen, seen.at_send, _OPEN),
            "click": _scores(seen, seen.at_send, _CLICK),
        },
        "baseline": {
            name: {"auc": found.auc, "log_loss": found.log_loss} for name, found in baseline.items()
        },
        "control_group": dict(zip(("open", "click"), map(asdict, seen.lifts), strict=True)),
        "quarters": _quarters(archive, seen),
    }


def _quarters(archive: Newsletters, seen: Replay) -> list[dict[str, Any]]:
    at = archive.sent_at_ms
    opens = lab.by_quarter(at, seen.facts[:, _OPEN], seen.progressive[:, _OPEN])
    clicks = lab.by_quarter(at, seen.facts[:, _CLICK], seen.progressive[:, _CLICK])
    return [
        {
            "quarter": quarter,
            "open": numbers,
            "click": clicks[quarter],
            "drift": _drift([m for m in seen.metrics if _quarter(m.window_start_ms) == quarter]),
            "alarms": _alarms([a for a in seen.alerts if _quarter(a.since_ms) == quarter]),
        }
        for quarter, numbers in opens.items()
    ]


def _quarter(time_ms: int | None) -> str:
    return str(lab.quarter_names(np.array([time_ms or 0]))[0])


def _drift(metrics: Sequence[MetricMessage]) -> dict[str, Any] | None:
    """The largest PSI of a quarter's windows."""
    if not metrics:
        return None
    worst = max(metrics, key=lambda metric: metric.value or 0.0)
    return {"psi": worst.value, "feature": worst.feature, "p_value": worst.p_value}


def _alarms(alerts: Sequence[AlertMessage]) -> list[dict[str, Any]]:
    """What fired in a quarter, each series once."""
    firing = [alert for alert in alerts if alert.state == "firing"]
    named = {(alert.metric, alert.feature): alert for alert in firing}
    return [
        {"metric": alert.metric, "feature": alert.feature, "description": alert.description}
        for alert in named.values()
    ]


def _shown(result: dict[str, Any]) -> Group:
    lines = [
        f"{name:<24}AUC {scores['auc']:.4f}  log loss {scores['log_loss']:.4f}"
        for name, scores in (
            ("open", result["open"]),
            ("open, at the send", result["at_send"]["open"]),
            ("open, Beta-Binomial", result["baseline"]["open"]),
            ("click", result["click"]),
            ("click, at the send", result["at_send"]["click"]),
            ("click, Beta-Binomial", result["baseline"]["click"]),
        )
    ]
    rows = [_row(quarter) for quarter in result["quarters"]]
    for name, found in result["control_group"].items():
        lines.append(f"{name + ', placebo':<24}{explain_lift(ClientLift(**found))}")
    head = f"{result['rows']:,} deliveries predicted, then learned"
    return Group(table("by quarter", _COLUMNS, rows), Text("\n".join([head, *lines])))


def _row(quarter: dict[str, Any]) -> list[object]:
    opens, drift = quarter["open"], quarter["drift"] or {}
    alarms = ", ".join(str(alarm["feature"] or alarm["metric"]) for alarm in quarter["alarms"])
    rounded = [round(opens[name], 4) for name in ("rate", "predicted", "auc", "log_loss", "ece")]
    return [
        quarter["quarter"],
        opens["rows"],
        *rounded,
        round(quarter["click"]["auc"], 4),
        drift.get("psi"),
        drift.get("feature"),
        alarms,
    ]
