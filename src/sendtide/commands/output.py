"""What people and programs read: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sendtide.events.errors import ConfigurationError

__all__ = ["note", "notes_console", "progress", "publish", "stdout_console", "table"]
__all__ += ["write_text"]


def notes_console() -> Console:
    """The console for all that is not a result; made anew, since tests replace stderr."""
    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """The console for results."""
    return Console(highlight=False)


def note(text: str) -> None:
    """One line for the person at the terminal."""
    notes_console().print(text, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A progress bar; silent unless stderr is a terminal."""
    console = notes_console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; None is shown as a dash."""
    made = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: object) -> str | Text:
    if value is None:
        return "-"
    if isinstance(value, Text):
        return value
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


_STDOUT: Final = "-"


def publish(
    result: Any,
    json_file: str | None,
    shown: RenderableType | None = None,
    *,
    compact: bool = False,
) -> None:
    """Write `result` as JSON where asked; else, or beside a file, show it to people.

    compact: on one line. Numbers that are not finite become null.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    if json_file != _STDOUT and shown is not None:
        stdout_console().print(shown, markup=False, soft_wrap=isinstance(shown, str))
    if json_file is None:
        return
    encoded = msgspec.json.encode(result)
    text = (encoded if compact else msgspec.json.format(encoded, indent=2)).decode() + "\n"
    write_text(json_file, text, "--json")


def write_text(file: str, text: str, option: str) -> None:
    """Write a result's file, "-" being stdout.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if file == _STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        msg = f"{option} {file} cannot be written ({error.strerror}); give another path, or -"
        raise ConfigurationError(msg) from error
