"""`sendtide predict`: one recipient's hours and what they rest on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sendtide.commands.application import CHECK_FAILED
from sendtide.commands.options import JsonFile, RedisUrl, url_of
from sendtide.commands.output import note, publish
from sendtide.commands.program import new_program
from sendtide.commands.watching import DAYS, HOURS
from sendtide.connectors import Pseudonyms
from sendtide.sinks import RecipientView, RedisReader
from sendtide.sinks.view import explain

__all__ = ["predict", "program"]

program = new_program()

_GOOD, _FAIR = 0.9, 0.7
"""Shares of the best hour's probability from which an hour is drawn as good or fair."""


@program.command()
def predict(
    client: Annotated[str, typer.Argument(metavar="CLIENT")],
    recipient: Annotated[
        str, typer.Argument(metavar="RECIPIENT", help="Recipient id, 32 hex digits; or an address.")
    ],
    redis: RedisUrl = None,
    json: JsonFile = None,
) -> None:
    """Show when to send to a recipient: P(open) per hour of the week, local time, in percent.

    An address is hashed with the key in SENDTIDE_PSEUDONYM_KEY. Exit 1 if nothing is known.

    Example: `sendtide predict client-00001 0123456789abcdef0123456789abcdef --json -`
    """
    if "@" in recipient:
        recipient = Pseudonyms.from_environment().of_address(client, recipient)
    with closing(RedisReader(url_of(redis))) as reader:
        view = reader.recipient(client, recipient)
    if view is None:
        note(f"nothing is known of recipient {recipient} of {client}; was mail sent to them?")
        publish(None, json)
        raise typer.Exit(CHECK_FAILED)
    publish({**asdict(view), "explanation": explain(view)}, json, _shown(view))


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
