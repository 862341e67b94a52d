"""`sendtide models`: which models there are and how they do; `models card` tells all of one."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any, Final

import typer

from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.options import JsonFile, PipelineFile, RedisUrl, pipeline_of, url_of
from sendtide.commands.output import note, publish, table, write_text
from sendtide.commands.program import new_program
from sendtide.dashboard.card import model_card
from sendtide.dashboard.card_page import card_html, card_markdown
from sendtide.models.content_directory import SUBJECT, VARIANT
from sendtide.pipeline import Model, Pipeline
from sendtide.sinks import ModelMetrics, RedisReader

__all__ = ["card", "models", "program"]

program = new_program()

_COLUMNS: Final = (
    "client",
    "model",
    "kind",
    "role",
    "version",
    "learned",
    "auc",
    "log_loss",
    "ece",
    "gain",
    "promotion",
)


_OF_CONTENT: Final = (SUBJECT, VARIANT)
"""Learned wherever sends tell what they are made of; no pipeline file names them."""


@program.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    redis: RedisUrl = None,
    pipeline: PipelineFile = None,
    client: Annotated[str | None, typer.Option(help="Only this client's models.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Clients at most, newest first.")] = 100,
    json: JsonFile = None,
) -> None:
    """List the models at work with their versions, and what the pipeline file says of them.

    Example: `sendtide models --client acme --pipeline pipelines/default.toml`
    """
    if context.invoked_subcommand:
        return
    deployment = pipeline_of(pipeline)
    with closing(RedisReader(url_of(redis))) as reader:
        found = reader.metrics(client, limit)
    rows = [_row(row, deployment) for row in found]
    result = {"declared": [model.model_dump() for model in deployment.models], "live": rows}
    shown = table("", _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
    publish(result, json, shown if rows else "no model has learned anything yet")


@program.command()
def card(
    client: Annotated[str, typer.Argument(metavar="CLIENT")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `sendtide models` names it.")],
    redis: RedisUrl = None,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    markdown: Annotated[str | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    json: JsonFile = None,
) -> None:
    """Tell what a model is for, on what data, how good, for whom less so, and where it ends.

    All numbers are live. Exit 1 if no such model has reported.

    Example: `sendtide models card acme open-propensity --html card.html`
    """
    with closing(RedisReader(url_of(redis))) as reader:
        found = model_card(reader, client, model, time.time_ns() // 1_000_000)
    if found is None:
        note(f"no model {model!r} of {client!r} has reported; see `sendtide models`")
        publish(None, json)
        raise typer.Exit(CHECK_FAILED)
    text = card_markdown(found)
    if html is not None:
        write_text(html, card_html(found), "--html")
    if markdown is not None:
        write_text(markdown, text, "--markdown")
    publish(found, json, text if html is None and markdown is None else None)


def _row(metrics: ModelMetrics, pipeline: Pipeline) -> dict[str, Any]:
    own = metrics.summary
    declared = next((model for model in pipeline.models if own.model in model.shown_as), None)
    return {
        "client": own.client_id,
        "model": own.model,
        "kind": own.model if own.model in _OF_CONTENT else declared.kind if declared else None,
        "role": "champion" if own.model in _OF_CONTENT else _role(declared),
        "version": own.model_version,
        "learned": own.learned,
        "auc": own.auc,
        "log_loss": own.log_loss,
        "brier": own.brier,
        "ece": own.ece,
        "gain": own.gain,
        "gain_interval": [own.gain_low, own.gain_high] if own.gain_low is not None else None,
        "promotion": own.promotion,
        "as_of_ms": own.as_of_ms,
        "stale": metrics.stale,
    }


def _role(declared: Model | None) -> str | None:
    """A champion's predictions are used, a challenger is only compared."""
    if declared is None:
        return None
    return "challenger" if declared.kind == "river" else "champion"
