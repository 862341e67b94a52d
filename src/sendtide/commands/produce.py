"""`sendtide produce`: events from a file or standard input onto the input topics."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    PipelineFile,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import note, progress, publish
from sendtide.commands.program import new_program
from sendtide.commands.sending import Sender
from sendtide.connectors import EventReader, Reject, RejectFile
from sendtide.connectors.files import LineFormat
from sendtide.events.errors import ConfigurationError

__all__ = ["produce", "program"]

program = new_program()

_SHOWN: Final = 10


@program.command()
def produce(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help='NDJSON or CSV; "-" is standard input.')
    ] = Path("-"),
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    form: Annotated[
        str | None, typer.Option("--format", help="ndjson or csv; without it by the file's name.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="What every line is; without it told by its fields.")
    ] = None,
    archive: Annotated[
        bool, typer.Option("--archive", help="Stamp records with their events' own times.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps lines that are no events.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Send events from a file or standard input. An `address` is hashed here and goes no further.

    The key for hashing stands in SENDTIDE_PSEUDONYM_KEY. Exit 1 if a line was rejected.

    Examples: `tail -F webhooks.ndjson | sendtide produce -` ·
    `sendtide produce sends.csv --archive --rejects rejected.csv`
    """
    servers, deployment = servers_of(kafka, kafka_config), pipeline_of(pipeline)
    reader = EventReader(topic=topic, arrival_ms=None if archive else _now_ms)
    keeper = RejectFile(rejects) if rejects else None
    with ExitStack() as stack:
        stream = _opened(file, stack)
        bar = stack.enter_context(progress())
        task = bar.add_task("events", total=None)
        sender = stack.enter_context(Sender(servers, deployment.topics.prefix))
        if keeper is not None:
            stack.callback(keeper.close)
        for reading in reader.read(stream, _format(form, file)):
            _tell(reading.rejects, reader.tally.rejected)
            if keeper is not None:
                keeper.keep(reading.rejects, reader.header)
            sender.send(reading.records)
            bar.advance(task, len(reading.records))
    tally = reader.tally
    result = {
        "lines": tally.lines,
        "blank": tally.blank,
        "rejected": tally.rejected,
        "taken": dict(tally.taken),
    }
    sent = sum(tally.taken.values())
    publish(result, json, f"{sent:,} events sent, {tally.rejected:,} lines rejected")
    if tally.rejected:
        raise typer.Exit(CHECK_FAILED)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _opened(file: Path, stack: ExitStack) -> BinaryIO:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}; give a file, or - for standard input"
        raise ConfigurationError(msg) from error


def _format(form: str | None, file: Path) -> LineFormat:
    named = form or ("csv" if file.suffix == ".csv" else "ndjson")
    if named == "csv":
        return "csv"
    if named == "ndjson":
        return "ndjson"
    msg = f"--format {named!r} is unknown; allowed: ndjson, csv"
    raise ConfigurationError(msg)


def _tell(rejects: list[Reject], rejected: int) -> None:
    """Say what is wrong with the first few lines."""
    before = rejected - len(rejects)
    for reject in rejects[: max(0, _SHOWN - before)]:
        note(f"line {reject.line}: {reject.problem}")
