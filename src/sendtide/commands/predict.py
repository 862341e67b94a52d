"""`sendtide predict`: one recipient's hours and what they rest on; subjects not sent yet."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.explaining import explanation, reasons_shown
from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    KafkaServers,
    PipelineFile,
    RedisUrl,
    pipeline_of,
    servers_of,
    url_of,
)
from sendtide.commands.output import note, publish
from sendtide.commands.program import new_program
from sendtide.commands.watching import DAYS, HOURS
from sendtide.connectors import Pseudonyms
from sendtide.events.errors import ConfigurationError, Unavailable
from sendtide.events.topics import MODELS
from sendtide.models.content_directory import ContentDirectory
from sendtide.pipeline import Pipeline
from sendtide.sinks import RecipientView, RedisReader
from sendtide.sinks.view import explain
from sendtide.stages.model_feed import ModelFeed

__all__ = ["predict", "program"]

program = new_program()

_PATIENCE_S: Final = 20.0
_GOOD, _FAIR = 0.9, 0.7
"""Shares of the best hour's probability from which an hour is drawn as good or fair."""


@program.command()
def predict(
    client: Annotated[str, typer.Argument(metavar="CLIENT")],
    recipient: Annotated[
        str, typer.Argument(metavar="RECIPIENT", help="Recipient id, 32 hex digits; or an address.")
    ],
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A subject line to be judged; needs Kafka. Repeat it."),
    ] = None,
    redis: RedisUrl = None,
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    explained: Annotated[
        bool, typer.Option("--explain", help="Say what adds to the answers, and how much.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Show when to send to a recipient: P(open) per hour of the week, local time, in percent.

    An address is hashed with the key in SENDTIDE_PSEUDONYM_KEY. Exit 1 if nothing is known.
    With `--subject` also what each text does to P(open), which words do it, and whether it reaches
    `threshold` of the pipeline's [subject].

    With --explain: what each feature adds to the log-odds of an open, against the client's average
    message, and what prior, client, segment and recipient add to the best hour over the others.

    Examples: `sendtide predict client-00001 0123456789abcdef0123456789abcdef --explain` ·
    `sendtide predict client-00001 0123456789abcdef0123456789abcdef --subject "A gift for you"`
    """
    if "@" in recipient:
        recipient = Pseudonyms.from_environment().of_address(client, recipient)
    with closing(RedisReader(url_of(redis))) as reader:
        view = reader.recipient(client, recipient)
        reasons = explanation(reader, client, recipient) if explained and view else None
    if view is None:
        note(f"nothing is known of recipient {recipient} of {client}; was mail sent to them?")
        publish(None, json)
        raise typer.Exit(CHECK_FAILED)
    judged: list[dict[str, Any]] = []
    if subject:
        deployment = pipeline_of(pipeline)
        directory = _content(servers_of(kafka, kafka_config), deployment)
        judged = _judged(view, subject, directory, deployment.subject.threshold)
    result = {**asdict(view), "explanation": explain(view), "subjects": judged}
    if explained:
        result["explained"] = reasons
    reasoned = reasons_shown(reasons) if explained else []
    publish(result, json, Group(_shown(view), *reasoned, *(Text(_told(row)) for row in judged)))


def _content(servers: KafkaServers, pipeline: Pipeline) -> ContentDirectory:
    """What is published of every client's subjects and variants, read once."""
    directory, topic = ContentDirectory(), pipeline.topics.full_name(MODELS)
    feed = ModelFeed(servers.client(), topic, directory)
    feed.start()
    try:
        if not feed.wait_caught_up(_PATIENCE_S):
            msg = f"{topic} was not read within {_PATIENCE_S:.0f} s; is the broker there?"
            raise Unavailable(msg)
    finally:
        feed.stop()
    return directory


def _judged(
    view: RecipientView, subjects: list[str], directory: ContentDirectory, threshold: float
) -> list[dict[str, Any]]:
    """What each subject does for this recipient, and because of which words."""
    n = len(subjects)
    base = np.full(n, view.open_probability)
    try:
        found = directory.subject_probability([view.client_id] * n, subjects, base).tolist()
    except ValueError as error:
        msg = f"--subject: {error}"
        raise ConfigurationError(msg) from error
    return [
        {
            "subject": subject,
            "open_probability": p,
            "engaging": p >= threshold,
            "because": dict(directory.explain(view.client_id, subject)),
        }
        for subject, p in zip(subjects, found, strict=True)
    ]


def _told(row: dict[str, Any]) -> str:
    parts = ", ".join(f"{token} {effect:+.2f}" for token, effect in row["because"].items())
    verdict = "engaging" if row["engaging"] else "not engaging"
    return f"{row['subject']!r}: {row['open_probability']:.1%}, {verdict} ({parts or 'unknown'})"


def _shown(view: RecipientView) -> Group:
    """The explanation over a table of 7 days by 24 hours; the best hour stands out."""
    week = Table(box=None, padding=(0, 0, 0, 1), header_style="dim")
    week.add_column("")
    for hour in range(HOURS):
        week.add_column(f"{hour:02d}", justify="right")
    top = max(max(view.scores), 1e-12)
    for day, name in enumerate(DAYS):
        cells = [_cell(view, day * HOURS + hour, top) for hour in range(HOURS)]
        week.add_row(name, *cells)
    return Group(Text(explain(view)), week)


def _cell(view: RecipientView, hour_of_week: int, top: float) -> Text:
    score = view.scores[hour_of_week]
    style = "bold reverse green" if hour_of_week == view.best_hour else "dim"
    if hour_of_week != view.best_hour and score >= _FAIR * top:
        style = "green" if score >= _GOOD * top else ""
    return Text(f"{100 * score:.0f}", style=style)
