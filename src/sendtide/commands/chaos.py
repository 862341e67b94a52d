"""`sendtide chaos`: the fault matrix on real servers of this machine."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from confluent_kafka import libversion
from rich.table import Table

from sendtide.chaos import (
    MUTATIONS,
    Mutation,
    Result,
    Row,
    Stand,
    as_json,
    as_markdown,
    chosen,
    run_mutation,
    run_row,
)
from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.compiling import compile_workers
from sendtide.commands.options import JsonFile
from sendtide.commands.output import note, progress, publish, table
from sendtide.commands.program import new_program
from sendtide.local import KAFKA_VERSION

__all__ = ["chaos", "program"]

program = new_program()

_COLUMNS = ("fault", "fired", "in flight", "lost", "double", "order", "digest", "recovered s", "ok")


@program.command()
def chaos(
    which: Annotated[
        Literal["short", "long"], typer.Option("--set", help="A few rows, or all of them.")
    ] = "short",
    seed: Annotated[int, typer.Option(min=1, help="Of the simulated mail.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="Rows whose name holds it. Repeat it.")
    ] = None,
    mutations: Annotated[
        bool, typer.Option(help="Break promises on purpose, to see the judge notice.")
    ] = True,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep logs and data here.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of results here too.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Inject faults into real workers, Apache Kafka and Redis, and recount what they did.

    Each row proves that its fault fired while work was in flight, then compares every client,
    recipient, answer and dead letter with a recount of what the broker had acknowledged. Needs
    Java, Maven and redis-server. Exit code 1 if a row is not ok.

    Example: `sendtide chaos --set short --seed 7 --json -`
    """
    rows = [row for row in chosen(only or [], short=which == "short") if _possible(row)]
    with tempfile.TemporaryDirectory(prefix="sendtide-chaos-") as scratch:
        folder = (data or Path(scratch)).absolute()
        results, broken, versions = _run(folder, rows, MUTATIONS if mutations else (), seed)
    found = [as_json(result) for result in results]
    if markdown is not None:
        markdown.write_text(as_markdown(found, broken, seed, versions, which), "utf-8")
    report = {"rows": found, "mutations": broken, "seed": seed, "versions": versions}
    publish(report, json, _shown(results, broken))
    if not all(result.ok for result in results) or not all(found["caught"] for found in broken):
        raise typer.Exit(CHECK_FAILED)


def _run(
    folder: Path, rows: Sequence[Row], breaking: Sequence[Mutation], seed: int
) -> tuple[list[Result], list[dict[str, Any]], dict[str, str]]:
    """Results of all rows, outcomes of the mutations, versions of the servers."""
    results: list[Result] = []
    broken: list[dict[str, Any]] = []
    compile_workers()
    with Stand(folder) as stand, progress() as bar:
        task = bar.add_task("faults", total=len(rows) + len(breaking))
        for row in rows:
            results.append(run_row(stand, row, seed))
            _tell(results[-1])
            bar.advance(task)
        for mutation in breaking:
            outcome, _ = run_mutation(stand, mutation, seed)
            broken.append(outcome)
            note(f"broken: {mutation.mutation}: {'caught' if outcome['caught'] else 'MISSED'}")
            bar.advance(task)
        return results, broken, {**_versions(), **stand.versions()}


def _possible(row: Row) -> bool:
    if row.needs.startswith("/"):
        there, missing = os.access(row.needs, os.W_OK), "is not there to be written to"
    else:
        there, missing = not row.needs or bool(shutil.which(row.needs)), "is not on the PATH"
    if not there:
        note(f"{row.fault}: left out, {row.needs} {missing}")
    return there


def _tell(result: Result) -> None:
    note(f"{result.fault}: {'ok' if result.ok else 'NOT OK'} ({result.seconds:.0f} s)")
    for finding in () if result.ok else result.findings:
        note(f"  {finding}")


def _versions() -> dict[str, str]:
    names = ("sendtide", "confluent-kafka", "faust-streaming", "redis")
    return {
        "kafka": KAFKA_VERSION,
        "librdkafka": libversion()[0],
        "python": platform.python_version(),
        **{f"python:{name}": version(name) for name in names},
    }


def _shown(results: list[Result], broken: list[dict[str, Any]]) -> Table:
    rows: list[tuple[object, ...]] = [
        (
            found.fault,
            found.fired,
            found.in_flight,
            found.lost,
            found.double,
            found.order_ok,
            found.digest_ok,
            found.recovered_s,
            found.ok,
        )
        for found in results
    ]
    rows += [
        (f"broken: {found['mutation']}", *[None] * 7, "caught" if found["caught"] else "MISSED")
        for found in broken
    ]
    return table("Faults", _COLUMNS, rows)
