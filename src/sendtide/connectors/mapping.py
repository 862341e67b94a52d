"""What the columns of somebody's log of sends mean: a small TOML file, or one of the ready ones.

A row is one message and what became of it. A mapping names the column of each field::

    [columns]
    recipient = "email"             # a recipient's name or address; addresses are hashed
    sent_at = "delivered_on"
    opened_at = "first_open"        # when, or `opened`: whether; or both
    clicked = "clicks"              # truth values, or counts: above 0 is yes
    bounced = ["hard", "soft"]      # yes if any of them is
    user_agent = "agent"            # of the open; says whether a machine made it

    [constants]
    client = "acme"                 # where no column says it
    time_zone = "Europe/Berlin"     # of the recipients' clocks

    [times]
    time_zone = "Europe/Berlin"     # of times written without an offset
    format = "%d.%m.%Y %H:%M"       # else the usual ones are tried
    unit = "seconds"                # of times that are numbers

    [where]
    channel = ["email"]             # rows with other values are left out, and counted

A file whose columns have the names of the fields needs no mapping.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from sendtide.connectors.tables import TimeUnit
from sendtide.events.errors import ConfigurationError
from sendtide.events.hashing import hash_text
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.events.time import known_zones

__all__ = ["FACTS", "FIELDS", "HistoryMapping", "OffsetUnit", "mapping_of", "ready_mappings"]

OffsetUnit = Literal["seconds", "minutes", "hours"]

FACTS: Final = ("opened", "clicked", "bounced", "unsubscribed", "complained", "converted")
"""What may become of a message: each a field that says whether, and one with `_at` that says when.
"""
FIELDS: Final = (
    *("message", "recipient", "client", "sent_at"),
    *(name for fact in FACTS for name in (fact, f"{fact}_at")),
    *("revenue", "machine_open", "user_agent", "time_zone", "utc_offset", "segment"),
    "mailbox_provider",
    *CONTENT_FIELDS,
)
_NEEDED: Final = "recipient, sent_at, and opened_at or opened"
_FOLDER: Final = Path(__file__).with_name("mappings")


class _Constants(Struct, frozen=True, forbid_unknown_fields=True):
    client: str = "history"
    time_zone: str = "UTC"


class _Times(Struct, frozen=True, forbid_unknown_fields=True):
    time_zone: str = "UTC"
    format: str | None = None
    unit: TimeUnit | None = None
    utc_offset_unit: OffsetUnit = "seconds"


class HistoryMapping(Struct, frozen=True, forbid_unknown_fields=True):
    """One mapping; columns: field to the names of its columns."""

    name: str = "own"
    recognise: list[str] = []
    columns: dict[str, str | list[str]] = {}
    constants: _Constants = _Constants()
    times: _Times = _Times()
    where: dict[str, str | list[str]] = {}

    def names(self, field: str) -> list[str]:
        """Columns of a field, none if it has none."""
        named = self.columns.get(field, [])
        return [named] if isinstance(named, str) else named

    def wanted(self) -> list[str]:
        """Every column named, each once."""
        named = [name for field in self.columns for name in self.names(field)]
        return list(dict.fromkeys([*named, *self.where]))

    def allowed(self) -> dict[str, list[str]]:
        """Column to the values of rows that are taken."""
        return {name: [v] if isinstance(v, str) else v for name, v in self.where.items()}

    def fits(self, columns: Sequence[str]) -> bool:
        """Whether a file with these columns is of this mapping's kind."""
        return bool(self.recognise) and set(self.recognise) <= set(columns)


def ready_mappings() -> dict[str, HistoryMapping]:
    """The mappings that come with this package, by name."""
    read = [_read(path, path.read_text("utf-8")) for path in sorted(_FOLDER.glob("*.toml"))]
    return {mapping.name: mapping for mapping in read}


def mapping_of(
    given: str | None,
    columns: Sequence[str],
    changes: Dictionary[str, str],
    *,
    client: str | None = None,
    time_zone: str | None = None,
) -> HistoryMapping:
    """The mapping named, or read from a file, or recognised; with changes; checked.

    Args:
        given: a ready mapping's name or a file; None recognises the file by its columns, else
            takes columns named as the fields are.
        columns: of the file.
        changes: field to column, over the mapping's own; "" takes the field away.
        client: over its constant.
        time_zone: likewise.

    Raises:
        ConfigurationError: no such mapping, a mistake in it, or the file lacks a column.
    """
    base = _named(given) if given else _recognised(columns)
    columns_of = {**base.columns, **changes}
    mapping = msgspec.structs.replace(
        base,
        columns={field: named for field, named in columns_of.items() if named},
        constants=_Constants(
            client=client or base.constants.client,
            time_zone=time_zone or base.constants.time_zone,
        ),
    )
    _check(mapping, columns)
    return mapping


def _named(given: str) -> HistoryMapping:
    ready = ready_mappings()
    if given in ready:
        return ready[given]
    path = Path(given)
    try:
        return _read(path, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--mapping {given!r} is neither {' nor '.join(ready)} nor a readable file: {error}"
        raise ConfigurationError(msg) from error


def _recognised(columns: Sequence[str]) -> HistoryMapping:
    found = next((m for m in ready_mappings().values() if m.fits(columns)), None)
    return found or HistoryMapping(columns={name: name for name in FIELDS if name in columns})


def _read(path: Path, text: str) -> HistoryMapping:
    try:
        found: Any = tomllib.loads(text)
        return msgspec.convert(found, HistoryMapping)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        msg = (
            f"{path} is no mapping: {error}; it has name, [columns], [constants], [times], [where]"
        )
        raise ConfigurationError(msg) from error


def _check(mapping: HistoryMapping, columns: Sequence[str]) -> None:
    there = ", ".join(columns) or "none"
    unknown = sorted(set(mapping.columns) - set(FIELDS))
    if unknown:
        msg = (
            f"mapping {mapping.name!r} has unknown fields {unknown}; there are {', '.join(FIELDS)}"
        )
        raise ConfigurationError(msg)
    for field in ("recipient", "sent_at"):
        if len(mapping.names(field)) != 1:
            msg = (
                f"no column is named for {field!r}; needed: {_NEEDED}; the file's columns: "
                f"{there}; say --column {field}=COLUMN or give a --mapping"
            )
            raise ConfigurationError(msg)
    if not mapping.names("opened") and not mapping.names("opened_at"):
        msg = (
            f"no column says what was opened; needed: {_NEEDED}; the file's columns: {there}; say "
            "--column opened_at=COLUMN or --column opened=COLUMN"
        )
        raise ConfigurationError(msg)
    missing = [name for name in mapping.wanted() if name not in columns]
    if missing:
        msg = (
            f"mapping {mapping.name!r} names {', '.join(missing)}, which the file lacks; its "
            f"columns: {there}; say --column FIELD=COLUMN, or --column FIELD= to do without"
        )
        raise ConfigurationError(msg)
    _check_zones(mapping)


def _check_zones(mapping: HistoryMapping) -> None:
    for zone in (mapping.constants.time_zone, mapping.times.time_zone):
        if hash_text(zone) not in known_zones():
            msg = f"{zone!r} is no IANA time zone, e.g. Europe/Berlin"
            raise ConfigurationError(msg)
