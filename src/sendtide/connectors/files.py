"""Events from files and standard input: NDJSON or CSV lines become records, or rejects.

A line's topic is what it looks like, unless one is given: with `kind` or `message_id` it is an
engagement, with `window_start_ms` a request, else a send. Instead of `recipient_id` a line may
carry `address`, which is hashed here and goes no further; a send then tells its mailbox provider.
Only names of `events.mailbox` are sent on, "other" for any other domain. Every line ends as a
record or as a reject with its number, what is wrong, and its bytes; blank lines are counted too.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec
import numpy as np

from sendtide.connectors.pseudonym import BadAddress, Pseudonyms
from sendtide.events.errors import ConfigurationError
from sendtide.events.mailbox import provider_of
from sendtide.events.messages import (
    MAJOR_VERSION,
    MAX_RECORD_BYTES,
    EngagementEvent,
    SendEvent,
    SendRequest,
)
from sendtide.events.topics import ENGAGEMENTS, INPUTS, REQUESTS, SENDS
from sendtide.events.wire import Records

__all__ = ["EventReader", "LineFormat", "Reading", "Reject", "RejectFile", "Tally"]

LineFormat = Literal["ndjson", "csv"]
Event = SendEvent | EngagementEvent | SendRequest

_TYPES: Final[dict[str, type[Event]]] = {
    SENDS.name: SendEvent,
    ENGAGEMENTS.name: EngagementEvent,
    REQUESTS.name: SendRequest,
}
_TOPICS: Final = tuple(topic.name for topic in INPUTS)
_MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""Longer lines are rejected in pieces of this size, so that memory stays bounded."""
_CHUNK_LINES: Final = 5_000
_ADDRESS: Final = re.compile(r"\S*@\S*")
_ENCODER: Final = msgspec.json.Encoder()


class _Bad(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with a line."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is no event. line: its number from 1. content: its bytes, unaltered."""

    line: int
    problem: str
    content: bytes


class RejectFile:
    """Keeps rejected lines byte for byte, so that they can be corrected and read again.

    Made only when there is something to keep, readable by its owner alone (lines may hold
    addresses); a CSV's header comes first. `kept` counts lines.
    """

    def __init__(self, path: Path) -> None:
        self.kept = 0
        self._path = path
        self._stream: BinaryIO | None = None

    def keep(self, rejects: Iterable[Reject], header: bytes = b"") -> None:
        """Append these lines.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        for reject in rejects:
            try:
                if self._stream is None:
                    handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                    self._stream = os.fdopen(handle, "wb")
                    self._stream.write(header)
                self._stream.write(reject.content)
            except OSError as error:
                msg = f"cannot keep rejected lines in {self._path}: {error}"
                raise ConfigurationError(msg) from error
            self.kept += 1

    def close(self) -> None:
        """Write out what is kept."""
        if self._stream is not None:
            self._stream.close()


@dataclass(slots=True)
class Reading:
    """What some lines became."""

    records: Records
    rejects: list[Reject]


@dataclass(slots=True)
class Tally:
    """Counts so far: `lines` = `blank` + all of `taken` + `rejected` (rows, for CSV)."""

    lines: int = 0
    blank: int = 0
    rejected: int = 0
    taken: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Gathering:
    topics: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps_ms: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys) + len(self.rejects)

    def reading(self) -> Reading:
        records = Records(
            topics=_TOPICS,
            topic=np.array(self.topics, np.uint8),
            keys=self.keys,
            values=self.values,
            timestamps_ms=np.array(self.timestamps_ms, np.int64),
        )
        return Reading(records, self.rejects)


class EventReader:
    """Reads one stream; `tally` counts what became of its lines, `header` is a CSV's first line.

    topic: what every line is, or None to tell by its fields. arrival_ms: gives the records'
    timestamps, in ms; None takes each event's own time, as for a replay of an archive.
    """

    def __init__(
        self,
        *,
        topic: str | None = None,
        pseudonyms: Pseudonyms | None = None,
        arrival_ms: Callable[[], int] | None = None,
    ) -> None:
        if topic is not None and topic not in _TYPES:
            msg = f"events cannot be read for topic {topic!r}; allowed: {', '.join(_TOPICS)}"
            raise ConfigurationError(msg)
        self.tally = Tally()
        self.header = b""
        self._topic = topic
        self._pseudonyms = pseudonyms
        self._arrival_ms = arrival_ms

    def read(self, stream: BinaryIO, form: LineFormat) -> Iterator[Reading]:
        """Read to the end, some thousand lines at a time.

        Raises:
            ConfigurationError: a line carries an address and there is no key; a CSV without a
                usable header.
        """
        rows = self._ndjson(stream) if form == "ndjson" else self._csv(stream)
        gathering = _Gathering()
        for line, content, fields in rows:
            self._take(gathering, line, content, fields)
            if len(gathering) >= _CHUNK_LINES:
                yield gathering.reading()
                gathering = _Gathering()
        if len(gathering):
            yield gathering.reading()

    def _take(
        self, gathering: _Gathering, line: int, content: bytes, fields: dict[str, Any] | str | None
    ) -> None:
        self.tally.lines += 1
        if fields is None:
            self.tally.blank += 1
            return
        try:
            if isinstance(fields, str):
                raise _Bad(fields)
            topic, event, value = self._event(fields, content)
        except (_Bad, BadAddress) as problem:
            self.tally.rejected += 1
            hidden = _ADDRESS.sub("(hidden)", str(problem))
            gathering.rejects.append(Reject(line, hidden, content))
            return
        self.tally.taken[topic] += 1
        gathering.topics.append(_TOPICS.index(topic))
        gathering.keys.append(f"{event.client_id}:{event.recipient_id}".encode())
        gathering.values.append(value)
        arrival = self._arrival_ms
        gathering.timestamps_ms.append(event.event_time_ms if arrival is None else arrival())

    def _event(self, fields: dict[str, Any], content: bytes) -> tuple[str, Event, bytes]:
        """Return topic, event and the record's value."""
        is_csv = bool(self.header)
        topic = self._topic or _topic_of(fields)
        changed, told = "address" in fields, fields.get("mailbox_provider")
        if changed:
            fields = self._without_address(fields, topic == SENDS.name)
        if isinstance(told, str) and "@" not in told and told != provider_of(told):
            fields, changed = {**fields, "mailbox_provider": provider_of(told)}, True
        kind = _TYPES[topic]
        try:
            event: Event = msgspec.convert(fields, kind, strict=not is_csv)
        except msgspec.ValidationError as error:
            msg = f"not an event for {topic}: {error}"
            raise _Bad(msg) from error
        major = event.version.split(".")[0]
        if int(major) != MAJOR_VERSION:
            msg = f"version {event.version}; this build writes and reads {MAJOR_VERSION}.x"
            raise _Bad(msg)
        if is_csv:
            known = {name: getattr(event, name) for name in event.__struct_fields__}
            value = _ENCODER.encode(
                {name: item for name, item in known.items() if item is not None}
            )
        else:
            value = _ENCODER.encode(fields) if changed else content.strip()
        if len(value) > MAX_RECORD_BYTES:
            msg = f"{len(value)} bytes; the largest record taken is {MAX_RECORD_BYTES}"
            raise _Bad(msg)
        return topic, event, value

    def _without_address(self, fields: dict[str, Any], sent: bool) -> dict[str, Any]:
        if self._pseudonyms is None:
            # Fetching the key raises the error that says how to give one.
            self._pseudonyms = Pseudonyms.from_environment()
        if "recipient_id" in fields:
            msg = "has both `address` and `recipient_id`; which of them is meant? Give one"
            raise _Bad(msg)
        address, client = fields["address"], fields.get("client_id")
        if not isinstance(address, str) or not isinstance(client, str):
            msg = "`address` needs to be a text and to stand beside a text `client_id`"
            raise _Bad(msg)
        rest = {name: value for name, value in fields.items() if name != "address"}
        rest["recipient_id"] = self._pseudonyms.of_address(client, address)
        if sent:
            rest.setdefault("mailbox_provider", provider_of(address))
        return rest

    def _ndjson(self, stream: BinaryIO) -> Iterator[tuple[int, bytes, dict[str, Any] | str | None]]:
        for line, (content, whole) in enumerate(_lines(stream), 1):
            if not whole:
                yield line, content, f"part of a line longer than {_MAX_LINE_BYTES} bytes"
            elif not content.strip():
                yield line, content, None
            else:
                yield line, content, _object(content)

    def _csv(self, stream: BinaryIO) -> Iterator[tuple[int, bytes, dict[str, Any] | str | None]]:
        consumed: list[bytes] = []
        rows = csv.reader(_texts(stream, consumed))
        names = [name.strip() for name in next(rows, [])]
        self.header = b"".join(consumed) or b"\n"
        _check_header(names)
        while True:
            consumed.clear()
            line = rows.line_num + 1
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, b"".join(consumed), f"not a CSV row: {error}"
                continue
            yield line, b"".join(consumed), _row(names, cells)


def _topic_of(fields: dict[str, Any]) -> str:
    if "kind" in fields or "message_id" in fields:
        return ENGAGEMENTS.name
    return REQUESTS.name if "window_start_ms" in fields else SENDS.name


def _object(content: bytes) -> dict[str, Any] | str:
    """Return the line's object, or what is wrong with it."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return f"a JSON {type(value).__name__} where an object {{...}} is wanted"
    return value


def _row(names: list[str], cells: list[str]) -> dict[str, Any] | str | None:
    if not cells:
        return None
    if len(cells) != len(names):
        return f"{len(cells)} cells under a header of {len(names)} columns"
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        return "not UTF-8"
    return {name: cell for name, cell in zip(names, cells, strict=True) if cell != ""}


def _check_header(names: list[str]) -> None:
    needed = {"source", "id", "client_id", "event_time_ms"}
    missing = sorted(needed - set(names))
    if not {"recipient_id", "address"} & set(names):
        missing.append("recipient_id or address")
    if missing or len(set(names)) != len(names):
        msg = (
            f"the CSV's first line has to name its columns, each once; seen: {', '.join(names)}; "
            f"missing: {', '.join(missing) or 'none'}"
        )
        raise ConfigurationError(msg)


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Lines, and whether each is a whole one; a longer one comes in pieces."""
    broken = False
    while content := stream.readline(_MAX_LINE_BYTES):
        ended = content.endswith(b"\n") or len(content) < _MAX_LINE_BYTES
        yield content, ended and not broken
        broken = not ended


def _texts(stream: BinaryIO, consumed: list[bytes]) -> Iterator[str]:
    """Lines as text; their bytes are noted in `consumed`. What is not UTF-8 becomes surrogates."""
    encoding = "utf-8-sig"
    for content, _ in _lines(stream):
        consumed.append(content)
        yield content.decode(encoding, errors="surrogateescape")
        encoding = "utf-8"
