"""`sendtide lab history`: a log of one's own, replayed, and what this would have done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Group
from rich.text import Text

from sendtide import lab
from sendtide.commands.history_page import write_page
from sendtide.commands.history_result import result_of
from sendtide.commands.options import JsonFile
from sendtide.commands.output import note, progress, publish, table
from sendtide.connectors.history import History, columns_of, read_history
from sendtide.connectors.history_events import client_hashes, hours_of
from sendtide.connectors.mapping import FIELDS, HistoryMapping, mapping_of
from sendtide.events.batch import Names
from sendtide.events.errors import ConfigurationError
from sendtide.events.time import ZoneTable
from sendtide.pipeline.duration import parse_duration

__all__ = ["history"]

_DAY_MS: Final = 86_400_000
_LONGEST: Final = 30 * _DAY_MS
_MEASURES: Final = ("auc", "log_loss", "ece")


def history(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet, one row per message.")
    ],
    mapping: Annotated[
        str | None,
        typer.Option(
            metavar="rees46|hackerrank|FILE.toml",
            help="What the columns mean; else recognised, or taken by the fields' own names.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="One column, over the mapping. Repeat it."),
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose log it is, where no column says it.")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Of recipients' clocks, where no column says it."),
    ] = None,
    horizon: Annotated[
        str, typer.Option(metavar="DURATION", help="Not opened for so long: never opened.")
    ] = "7d",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with pictures.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of drawn times, and of folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """Replay your own log of sends, and tell what this would have done with it.

    In this process, by the code of a worker, no broker needed. Every send is predicted before it
    happens and learned when its horizon is over; then: how good the predictions were, month by
    month beside simple rates; which hours would have been recommended; and what they would have
    brought, by the model's own opinion and, where the log's hours vary enough, by the log itself.
    Recipients are hashed before anything else. Rows that cannot be taken are counted with reasons.

    A mapping is a small TOML file: [columns] recipient, sent_at, opened_at or opened, and whatever
    else there is; [constants], [times], [where]. Columns named like the fields need none.

    Example: `sendtide lab history log.csv --column recipient=email --column sent_at=delivered_on
    --column opened_at=first_open --timezone Europe/Paris --html report.html`
    """
    started = time.monotonic()
    horizon_ms = _horizon(horizon)
    chosen = mapping_of(
        mapping, columns_of(file), _changes(column or []), client=client, time_zone=timezone
    )
    note(f"mapping {chosen.name!r}: {_told(chosen)}")
    result = _replayed(file, chosen, horizon_ms, seed) | {"seconds": time.monotonic() - started}
    if html is not None:
        write_page(html, result)
        note(f"report in {html}")
    publish(result, json, _shown(result))


def _horizon(text: str) -> int:
    try:
        found = parse_duration(text)
    except ValueError as error:
        msg = f"--horizon: {error}"
        raise ConfigurationError(msg) from error
    if not 0 < found <= _LONGEST:
        msg = f"--horizon {text} is out of range; allowed: above 0, up to 30d"
        raise ConfigurationError(msg)
    return found


def _changes(arguments: list[str]) -> dict[str, str]:
    changes = {}
    for argument in arguments:
        field, equals, name = argument.partition("=")
        if not equals or field not in FIELDS:
            msg = f"--column {argument} is no FIELD=COLUMN; the fields: {', '.join(FIELDS)}"
            raise ConfigurationError(msg)
        changes[field] = name
    return changes


def _told(mapping: HistoryMapping) -> str:
    return ", ".join(f"{field}={'|'.join(mapping.names(field))}" for field in mapping.columns)


def _replayed(file: Path, mapping: HistoryMapping, horizon_ms: int, seed: int) -> dict[str, Any]:
    """Read, replay, and sum up."""
    with progress() as bar:
        hashed = bar.add_task("recipients hashed", total=None)
        read = read_history(
            file, mapping, horizon_ms, seed, lambda done: bar.update(hashed, completed=done)
        )
        bar.update(hashed, total=len(read.ids))
        end_ms = _end(read, mapping, horizon_ms)
        clients = Names()
        for code, name in zip(client_hashes(read).tolist(), read.clients, strict=True):
            clients.learn(code, name)
        hours, _ = ZoneTable().local_hours(read.sent_at_ms, read.zone)
        span_ms = int(np.ptp(read.sent_at_ms))
        test = lab.Backtest(hours, horizon_ms, span_ms, clients, read.segments)
        task = bar.add_task("sends replayed", total=len(read))
        for part in hours_of(read, end_ms):
            test.apply(part)
            bar.advance(task, len(part.rows))
    if not test.seen.labelled.any():
        msg = (
            f"no send of {file} is older than the horizon when the log ends, so that nothing of it "
            "is known for good; give a longer log, or a shorter --horizon"
        )
        raise ConfigurationError(msg)
    found = result_of(read, test, hours.astype(np.int64))
    return {"file": file.name, "mapping": mapping.name, "horizon_ms": horizon_ms, **found}


def _end(read: History, mapping: HistoryMapping, horizon_ms: int) -> int:
    """When the log ends: at its last event; where it has no times of opens it is complete."""
    last = int(read.sent_at_ms[-1])
    if not mapping.names("opened_at"):
        return last + horizon_ms
    told = read.facts.at_ms["opened"][~read.facts.drawn]
    return max(last, int(told.max(initial=last)))


def _shown(result: dict[str, Any]) -> Group:
    rows, period, refused = result["rows"], result["period"], result["refused"]
    used = f"{rows['used']:,} of {rows['read']:,} rows used"
    head = [
        f"{used}, {rows['refused']:,} refused, {rows['left_out']:,} left out",
        f"{result['recipients']:,} recipients, {period['first']} to {period['last']}",
    ]
    head += [f"refused {r['rows']:,}: {r['meaning']} ({r['examples'][0]})" for r in refused]
    head += [f"assumed of {r['rows']:,}: {r['meaning']}" for r in result["remarks"]]
    return Group(
        Text("\n".join(head)),
        table("predicted, then learned", ("", "", *_MEASURES), _quality_rows(result)),
        Text("\n".join(_would_have(result["would_have"]))),
    )


def _quality_rows(result: dict[str, Any]) -> list[list[object]]:
    names = {
        "model": "model",
        "at_send": "model, at the send",
        "send_time": "send time, at its hour",
        "beta_binomial": "recipient's rate",
        "client_rate": "client's rate",
    }
    return [
        [target, shown, *(round(result[target][name][m], 4) for m in _MEASURES)]
        for target in ("open", "click")
        for name, shown in names.items()
        if name in result[target]
    ]


def _would_have(found: dict[str, Any]) -> list[str]:
    model, log = found["by_model"], found["by_log"]
    by_model = _compared(model["used"], model["best"], model["lift"], model["interval"])
    lines = [f"{found['sentence']}.", f"by the model: {by_model}"]
    if log["refused"]:
        return [*lines, f"by the log: refused: {log['reason']}"]
    by_log = _compared(log["logged"], log["estimate"], log["lift"], log["lift_interval"])
    return [*lines, f"by the log: {by_log}"]


def _compared(used: float, best: float, lift: float, interval: tuple[float, float]) -> str:
    low, high = (100 * end for end in interval)
    return (
        f"{100 * used:.1f}% opened at the hours used, {100 * best:.1f}% at the model's hours, "
        f"{100 * lift:+.1f} points ({low:+.1f} to {high:+.1f})"
    )
