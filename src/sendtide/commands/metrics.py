"""`sendtide metrics`: live numbers per client and model."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from sendtide.commands.options import JsonFile, RedisUrl, url_of
from sendtide.commands.output import publish, stdout_console, table
from sendtide.commands.program import new_program
from sendtide.commands.watching import hour_name
from sendtide.sinks import ClientLift, ModelMetrics, RedisReader
from sendtide.sinks.view import explain_lift

__all__ = ["metrics", "metrics_row", "program"]

program = new_program()

_COLUMNS: Final = (
    "client",
    "model",
    "freshness_s",
    "drift",
    "drift_state",
    "drift_feature",
    "log_loss",
    "auc",
    "events_per_s",
    "learned",
    "best_hour",
)


@program.command()
def metrics(
    redis: RedisUrl = None,
    client: Annotated[str | None, typer.Option(help="Only this client's models.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Clients at most, newest first.")] = 100,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second.")] = False,
    json: JsonFile = None,
) -> None:
    """Show the newest numbers of every model and control group: freshness, drift, loss, lift.

    In JSON a model's `lift` is its client's, by outcome: {"open": {...}, "click": {...}}. With
    `--watch --json -` it writes one compact JSON list a line.

    Examples: `sendtide metrics --client acme` · `sendtide metrics --json - | jq '.[].drift'` ·
    `sendtide metrics --watch`
    """
    with closing(RedisReader(url_of(redis))) as reader:
        if not watch:
            found = reader.metrics(client, limit), reader.lifts(client, limit)
            publish(_rows(*found), json, _shown(*found))
        elif json is None:
            _draw(reader, client, limit)
        else:
            while True:
                rows = _rows(reader.metrics(client, limit), reader.lifts(client, limit))
                publish(rows, json, compact=True)
                time.sleep(1.0)


def _rows(found: list[ModelMetrics], lifts: list[ClientLift]) -> list[dict[str, Any]]:
    """Objects of the JSON output: one per client and model, its client's lifts in each."""
    by_client: dict[str, dict[str, Any]] = {}
    for lift in lifts:
        told = {**msgspec.to_builtins(lift), "says": explain_lift(lift)}
        name = lift.metric.removeprefix("lift.")
        by_client.setdefault(lift.client_id, {})[name] = told
    return [{**metrics_row(row), "lift": by_client.get(row.summary.client_id)} for row in found]


def metrics_row(row: ModelMetrics) -> dict[str, Any]:
    """The numbers of one model."""
    fields = msgspec.to_builtins(row.summary)
    named = {"client": fields.pop("client_id"), "model": fields.pop("model")}
    return {**named, "freshness_s": row.freshness_s, "stale": row.stale, **fields}


def _draw(reader: RedisReader, client: str | None, limit: int) -> None:
    with Live(console=stdout_console(), auto_refresh=False) as live:
        while True:
            shown = _shown(reader.metrics(client, limit), reader.lifts(client, limit))
            live.update(shown, refresh=True)
            time.sleep(1.0)


def _shown(found: list[ModelMetrics], lifts: list[ClientLift]) -> RenderableType:
    if not found:
        return "no model has been heard of yet; is a worker running, and is mail being sent?"
    rows = [metrics_row(row) for row in found]
    for row in rows:
        row["best_hour"] = hour_name(row["best_hour"])
    models = table("", _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
    if not lifts:
        return models
    groups = [(row.client_id, row.metric.removeprefix("lift."), explain_lift(row)) for row in lifts]
    columns = ("client", "of the rate", "against its control group")
    return Group(models, Text(), table("", columns, groups))
