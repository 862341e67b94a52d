"""A file of past newsletter deliveries as the sends and engagements they once were.

The file says when each message went out and whether it was opened within a week, not when. Times
are drawn as `delays` says, cut at a week less a minute: a seeded choice, which decides the order
of events but no label. A click on a message that was never seen to be opened follows the send by a
delay like an open's.

A label retires when the engagement watermark of its partition passes its horizon. In life, other
mail keeps every watermark moving; here, between two issues, nothing would. So every partition gets
a heartbeat once a day of event time, from the first send to the horizon's end and a day beyond the
allowed lateness: an engagement `delivered` of client `sendtide-heartbeat`, whose recipients are
chosen so that one falls into each partition. It belongs to no known send and counts for no client
of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.connectors.delays import CLICKING, OPENING, truncated_lognormal
from sendtide.connectors.partitioner import partitions_of
from sendtide.connectors.pseudonym import Pseudonyms
from sendtide.events.errors import ConfigurationError
from sendtide.events.messages import CONTENT_FIELDS, CONTENT_LIMITS, MAX_TIME_MS, MIN_TIME_MS
from sendtide.events.topics import ENGAGEMENTS, SENDS
from sendtide.events.wire import Records, RowWriter, cut, hexadecimal, literal, number, text

__all__ = ["CLIENT", "HEARTBEAT_CLIENT", "HORIZON_MS", "NEWSLETTER_COLUMNS", "Newsletters"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

CLIENT: Final = "newsletters"
HEARTBEAT_CLIENT: Final = "sendtide-heartbeat"
HORIZON_MS: Final = 7 * 86_400_000
NEWSLETTER_COLUMNS: Final[dict[str, str]] = {
    "sent_at_s": "integer",
    "subscriber": "integer",
    "opened_within_week": "boolean",
    "clicks": "integer",
    **dict.fromkeys(CONTENT_FIELDS, "integer"),
}
_DAY_MS: Final = 86_400_000
_LAST_DELAY_S: Final = 7 * 86_400.0 - 60.0
_CHUNK: Final = 20_000
_MAX_CLICKS: Final = 1_000
_SEND, _OPEN, _CLICK, _HEARTBEAT = range(4)
_PUBLIC_KEY: Final = hashlib.sha256(b"sendtide: newsletters are replayed under this key").digest()
"""Not a secret: the file holds subscriber numbers, no addresses, and replays must repeat."""


@dataclass(slots=True)
class _Timeline:
    """Events of all kinds in order of time.

    item: the file's row of a send or open, position among the clicks, heartbeat's partition.
    """

    time_ms: I64
    kind: NDArray[np.uint8]
    item: I64


class Newsletters:
    """The file, validated, and the records it becomes.

    Attributes: `rows`; `opened` (rows,) bool, the label of the k-th send in produced order;
    `clicks`, `subscriber` and `sent_at_ms` (rows,) int64 in the same order.
    """

    def __init__(self, path: Path, *, pseudonyms: Pseudonyms | None = None, seed: int = 1) -> None:
        """Read and check the file.

        Raises:
            ConfigurationError: unreadable, or columns are missing, of a wrong type or range.
        """
        table = _read(path)
        self.rows = len(table)
        self.sent_at_ms: I64 = table["sent_at_s"].to_numpy().astype(np.int64) * 1000
        self.subscriber: I64 = table["subscriber"].to_numpy().astype(np.int64)
        self.opened: NDArray[np.bool_] = table["opened_within_week"].to_numpy()
        self.clicks: I64 = table["clicks"].to_numpy().astype(np.int64)
        self._content = [table[name].to_numpy().astype(np.int64) for name in CONTENT_FIELDS]
        self._identifiers = _identifiers(self.subscriber, pseudonyms or Pseudonyms(_PUBLIC_KEY))
        self._open_ms, self._click_rows, self._click_ms = self._reactions(seed)

    @property
    def engagements(self) -> int:
        """Number of opens and clicks, heartbeats left out."""
        return int(self.opened.sum()) + len(self._click_rows)

    def records(self, *, partitions: int, lateness_ms: int = _DAY_MS) -> Iterator[Records]:
        """All records of both topics, interleaved in order of event time, 20,000 at a time.

        partitions: of the topics, for the heartbeats. lateness_ms: the largest allowed lateness
        of the engagement topic; the last heartbeats are a day beyond horizon and lateness.
        """
        timeline = self._timeline(partitions, lateness_ms)
        beats = _heartbeat_recipients(partitions)
        writers = _writers()
        for start in range(0, len(timeline.item), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield self._write(
                writers, beats, timeline.time_ms[part], timeline.kind[part], timeline.item[part]
            )

    def _reactions(self, seed: int) -> tuple[I64, I64, I64]:
        rng = np.random.default_rng([seed, 20_190])
        open_s = truncated_lognormal(rng.random(self.rows), *OPENING, np.full(1, _LAST_DELAY_S))
        opened_ms = self.sent_at_ms + np.ceil(open_s * 1000).astype(np.int64)
        clicked = np.repeat(np.arange(self.rows), self.clicks)
        follows = self.opened[clicked]
        after_open_s = np.where(follows, open_s[clicked], 0.0)
        chance = rng.random(len(clicked))
        room_s = _LAST_DELAY_S - after_open_s + 1.0
        after_s = np.where(
            follows,
            truncated_lognormal(chance, *CLICKING, room_s),
            truncated_lognormal(chance, *OPENING, room_s),
        )
        delay_ms = np.ceil((after_open_s + after_s) * 1000).astype(np.int64)
        return opened_ms, clicked, self.sent_at_ms[clicked] + delay_ms

    def _timeline(self, partitions: int, lateness_ms: int) -> _Timeline:
        opened = np.flatnonzero(self.opened)
        first, last = int(self.sent_at_ms[0]), int(self.sent_at_ms[-1])
        end = last + HORIZON_MS + lateness_ms + _DAY_MS
        beats = np.append(np.arange(first + _DAY_MS, end, _DAY_MS), end)
        parts = [
            (self.sent_at_ms, _SEND, np.arange(self.rows)),
            (self._open_ms[opened], _OPEN, opened),
            (self._click_ms, _CLICK, np.arange(len(self._click_rows))),
            (np.repeat(beats, partitions), _HEARTBEAT, np.tile(np.arange(partitions), len(beats))),
        ]
        time_ms = np.concatenate([times for times, _, _ in parts])
        order = np.argsort(time_ms, kind="stable")
        kind = np.concatenate([np.full(len(items), code, np.uint8) for _, code, items in parts])
        item = np.concatenate([items for _, _, items in parts])
        return _Timeline(time_ms[order], kind[order], item[order])

    def _write(
        self,
        writers: tuple[RowWriter, RowWriter, RowWriter],
        beats: NDArray[np.uint64],
        time_ms: I64,
        kind: NDArray[np.uint8],
        item: I64,
    ) -> Records:
        row = item.copy()
        row[kind == _CLICK] = self._click_rows[item[kind == _CLICK]]
        identifier = np.empty((len(row), 2), np.uint64)
        beat = kind == _HEARTBEAT
        identifier[~beat] = self._identifiers[row[~beat]]
        identifier[beat] = beats[row[beat]]
        high, low = identifier[:, 0].copy(), identifier[:, 1].copy()
        sends, rest = np.flatnonzero(kind == _SEND), np.flatnonzero(kind != _SEND)
        data, ends = writers[0].write(
            row[sends], high[sends], low[sends], time_ms[sends],
            *[measure[row[sends]] for measure in self._content],
        )  # fmt: skip
        code = kind[rest].astype(np.int64) - _OPEN
        # A message may be clicked twice in one millisecond: its clicks are told apart by position.
        suffix = np.where(kind[rest] == _CLICK, item[rest], time_ms[rest])
        owner = beat[rest].astype(np.int64)
        more, more_ends = writers[1].write(
            code, row[rest], suffix, owner, high[rest], low[rest], time_ms[rest],
            owner, row[rest], code,
        )  # fmt: skip
        order = np.argsort(np.concatenate([sends, rest]))
        joined_ends = np.concatenate([ends, more_ends + len(data)])
        joined_starts = np.concatenate([np.zeros(1, np.int64), joined_ends[:-1]])
        return Records(
            topics=(SENDS.name, ENGAGEMENTS.name),
            topic=(kind != _SEND).astype(np.uint8),
            keys=writers[2].rows(beat.astype(np.int64), high, low),
            values=list(cut(data + more, joined_starts[order], joined_ends[order])),
            timestamps_ms=time_ms,
        )


def _writers() -> tuple[RowWriter, RowWriter, RowWriter]:
    """Writers of sends, engagements and keys."""
    clients = (CLIENT, HEARTBEAT_CLIENT)
    head = literal('{"version":"1.0","source":"newsletters"')
    recipient = [hexadecimal('","recipient_id":"'), hexadecimal("")]
    when = number('","event_time_ms":')
    sends = [head, number(',"id":"send-'), literal(f'","client_id":"{CLIENT}'), *recipient, when]
    content = [number(f',"{name}":') for name in CONTENT_FIELDS]
    engagements = [
        head,
        text(',"id":"', ("open-", "click-", "beat-")),
        number(""),
        number("-"),
        text('","client_id":"', clients),
        *recipient,
        when,
        text(',"message_id":"', ("send-", "beat-")),
        number(""),
        text('","kind":"', ("open", "click", "delivered")),
        literal('"'),
    ]
    keys = [text("", clients), hexadecimal(":"), hexadecimal("")]
    close = literal("}")
    return RowWriter([*sends, *content, close]), RowWriter([*engagements, close]), RowWriter(keys)


def _read(path: Path) -> pl.DataFrame:
    """Return the columns wanted, sorted by time, rows of one second in the file's order."""
    try:
        schema = pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"cannot read {path} as a Parquet file: {error}"
        raise ConfigurationError(msg) from error
    missing = sorted(set(NEWSLETTER_COLUMNS) - set(schema))
    if missing:
        msg = (
            f"{path} lacks the columns {missing}; a newsletter file has "
            f"{', '.join(NEWSLETTER_COLUMNS)}; this one has {', '.join(schema)}"
        )
        raise ConfigurationError(msg)
    for name, wanted in NEWSLETTER_COLUMNS.items():
        fits = schema[name].is_integer() if wanted == "integer" else schema[name] == pl.Boolean
        if not fits:
            msg = f"column {name!r} of {path} is {schema[name]}; it must be {wanted}"
            raise ConfigurationError(msg)
    table = pl.read_parquet(path, columns=list(NEWSLETTER_COLUMNS))
    _check_ranges(path, table)
    return table.sort("sent_at_s", maintain_order=True)


def _check_ranges(path: Path, table: pl.DataFrame) -> None:
    if not len(table):
        msg = f"{path} has no rows; there is nothing to replay"
        raise ConfigurationError(msg)
    seconds = (MIN_TIME_MS // 1000, (MAX_TIME_MS - 2 * HORIZON_MS) // 1000)
    ranges: dict[str, tuple[int, int]] = {
        "sent_at_s": seconds,
        "subscriber": (-(2**63), 2**63 - 1),
        "clicks": (0, _MAX_CLICKS),
        **{name: (0, limit) for name, limit in CONTENT_LIMITS.items()},
        "opened_within_week": (0, 1),
    }
    for name, (low, high) in ranges.items():
        column = table[name]
        if column.null_count():
            msg = f"column {name!r} of {path} has {column.null_count()} empty values; fill or drop"
            raise ConfigurationError(msg)
        smallest, largest = _span(column)
        if smallest < low or largest > high:
            msg = f"column {name!r} of {path} holds {smallest}..{largest}; allowed {low}..{high}"
            raise ConfigurationError(msg)


def _span(column: pl.Series) -> tuple[int, int]:
    values: NDArray[Any] = column.to_numpy()
    return int(values.min()), int(values.max())


def _identifiers(subscriber: I64, pseudonyms: Pseudonyms) -> NDArray[np.uint64]:
    """Recipient ids of all rows as two big-endian halves; (n, 2)."""
    distinct, inverse = np.unique(subscriber, return_inverse=True)
    ids = [pseudonyms.of_name(CLIENT, str(number)) for number in distinct.tolist()]
    halves = np.frombuffer(bytes.fromhex("".join(ids)), ">u8").reshape(-1, 2)
    return halves.astype(np.uint64)[inverse]


def _heartbeat_recipients(partitions: int) -> NDArray[np.uint64]:
    """One recipient id per partition, the first found by counting up; (partitions, 2)."""
    found: dict[int, int] = {}
    start, step = 0, 64 * partitions
    while len(found) < partitions:
        candidates = range(start, start + step)
        keys = [f"{HEARTBEAT_CLIENT}:{n:032x}".encode() for n in candidates]
        for candidate, partition in zip(
            candidates, partitions_of(keys, partitions).tolist(), strict=True
        ):
            found.setdefault(partition, candidate)
        start += step
    return np.array([[0, found[partition]] for partition in range(partitions)], np.uint64)
