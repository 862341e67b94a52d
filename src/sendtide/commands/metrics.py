"""`sendtide metrics`: live numbers per client and model."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.live import Live
from rich.table import Table

from sendtide.commands.options import JsonFile, RedisUrl, url_of
from sendtide.commands.output import publish, stdout_console, table
from sendtide.commands.program import new_program
from sendtide.commands.watching import hour_name
from sendtide.sinks import ModelMetrics, RedisReader

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
    """Show the newest numbers of every model: freshness, drift, loss, speed.

    With `--watch --json -` it writes one compact JSON list a line.

    Examples: `sendtide metrics --client acme` · `sendtide metrics --json - | jq '.[].drift'` ·
    `sendtide metrics --watch`
    """
    with closing(RedisReader(url_of(redis))) as reader:
        if not watch:
            found = reader.metrics(client, limit)
            publish([metrics_row(row) for row in found], json, _shown(found))
        elif json is None:
            _draw(reader, client, limit)
        else:
            while True:
                rows = [metrics_row(row) for row in reader.metrics(client, limit)]
                publish(rows, json, compact=True)
                time.sleep(1.0)


def metrics_row(row: ModelMetrics) -> dict[str, Any]:
    """One object of the JSON output."""
    fields = msgspec.to_builtins(row.summary)
    named = {"client": fields.pop("client_id"), "model": fields.pop("model")}
    return {**named, "freshness_s": row.freshness_s, "stale": row.stale, **fields}


def _draw(reader: RedisReader, client: str | None, limit: int) -> None:
    with Live(console=stdout_console(), auto_refresh=False) as live:
        while True:
            live.update(_shown(reader.metrics(client, limit)), refresh=True)
            time.sleep(1.0)


def _shown(found: list[ModelMetrics]) -> Table | str:
    if not found:
        return "no model has been heard of yet; is a worker running, and is mail being sent?"
    rows = [metrics_row(row) for row in found]
    for row in rows:
        row["best_hour"] = hour_name(row["best_hour"])
    return table("", _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
