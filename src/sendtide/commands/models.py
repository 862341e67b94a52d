"""`sendtide models`: which models there are, of which version, and how they do."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Final

import typer

from sendtide.commands.options import JsonFile, PipelineFile, RedisUrl, pipeline_of, url_of
from sendtide.commands.output import publish, table
from sendtide.commands.program import new_program
from sendtide.models.content_directory import SUBJECT, VARIANT
from sendtide.pipeline import Model, Pipeline
from sendtide.sinks import ModelMetrics, RedisReader

__all__ = ["models", "program"]

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


@program.command()
def models(
    redis: RedisUrl = None,
    pipeline: PipelineFile = None,
    client: Annotated[str | None, typer.Option(help="Only this client's models.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Clients at most, newest first.")] = 100,
    json: JsonFile = None,
) -> None:
    """List the models at work with their versions, and what the pipeline file says of them.

    Example: `sendtide models --client acme --pipeline pipelines/default.toml`
    """
    deployment = pipeline_of(pipeline)
    with closing(RedisReader(url_of(redis))) as reader:
        found = reader.metrics(client, limit)
    rows = [_row(row, deployment) for row in found]
    result = {"declared": [model.model_dump() for model in deployment.models], "live": rows}
    shown = table("", _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
    publish(result, json, shown if rows else "no model has learned anything yet")


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
