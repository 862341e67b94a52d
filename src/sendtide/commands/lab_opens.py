"""`sendtide lab opens`: at which hour people open next, predicted before each open is learned."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from sendtide import lab
from sendtide.commands.options import JsonFile
from sendtide.commands.output import note, publish, table
from sendtide.connectors.opens import read_opens
from sendtide.events.errors import ConfigurationError
from sendtide.events.hashing import hash_text
from sendtide.events.time import ZoneTable, known_zones

__all__ = ["opens"]

_HOURS = 24


def opens(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet: columns user, opened_at.")
    ],
    timezone: Annotated[
        str, typer.Option(help="IANA zone whose clock counts the hours, e.g. Europe/Paris.")
    ] = "UTC",
    json: JsonFile = None,
) -> None:
    """Predict the hour of the day of each person's next open, then learn it.

    Beside it the same measures for one histogram of everybody. Machines are told apart first and
    neither learned from nor scored: users with 20 opens or more, of which a fifth follow another
    within a second; or 24 or more on an average day; or nine in ten at regular intervals. Of opens
    of one user at one moment, one counts. Times without a zone are UTC.

    Example: `sendtide lab opens opens.csv --timezone Europe/Paris --json -`
    """
    if hash_text(timezone) not in known_zones():
        msg = f"--timezone {timezone!r} is no IANA time zone, e.g. Europe/Paris"
        raise ConfigurationError(msg)
    read = read_opens(file)
    machines = lab.machine_like(read.user, read.time_ms)
    kept = ~np.isin(read.user, machines)
    pairs = np.stack([read.time_ms[kept], read.user[kept]], axis=1)
    time_ms, user = np.unique(pairs, axis=0).T
    if not len(user):
        msg = f"every user of {file} opens like a machine; there is nothing to predict"
        raise ConfigurationError(msg)
    zones = np.full(len(user), hash_text(timezone), np.uint64)
    hours, _ = ZoneTable().local_hours(np.ascontiguousarray(time_ms), zones)
    found = lab.next_open_hours(user, time_ms, hours.astype(np.int64) % _HOURS)
    people = len(read.names) - len(machines)
    note(f"{len(read.user):,} opens of {people:,} people and {len(machines):,} machines")
    result = {
        **asdict(found.personal),
        "opens_used": found.opens,
        "users": people,
        "machines": [read.names[code] for code in machines.tolist()],
        "global": asdict(found.everybody),
        "timezone": timezone,
    }
    publish(result, json, _shown(result))


def _shown(result: dict[str, Any]) -> Any:
    measures = ("hit1", "hit3", "log_loss")
    rows = [
        ("personal", *(round(result[name], 4) for name in measures)),
        ("one histogram of all", *(round(result["global"][name], 4) for name in measures)),
    ]
    return table(
        f"hour of the next open, {result['opens_used']:,} opens", ("model", *measures), rows
    )
