"""Somebody's log of sends, a row each, as whole columns in order of time, under a mapping.

Recipients' names and addresses are hashed first of all, with a key that is drawn for the run and
forgotten: what follows knows them as numbers. Rows that cannot be taken are counted with reason
and examples, rows about which something is assumed likewise; see `Sieve`.
"""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sendtide.connectors.history_facts import Facts, read_facts
from sendtide.connectors.mapping import HistoryMapping
from sendtide.connectors.pseudonym import BadAddress, Pseudonyms
from sendtide.connectors.sieve import Refusal, Remark, Sieve
from sendtide.connectors.tables import as_numbers, as_times
from sendtide.connectors.zones import zone_hashes
from sendtide.events.batch import Names
from sendtide.events.errors import ConfigurationError
from sendtide.events.hashing import hash_text
from sendtide.events.mailbox import NOT_TOLD, provider_code, provider_of
from sendtide.events.messages import CONTENT_FIELDS, CONTENT_LIMITS, MAX_TIME_MS, MIN_TIME_MS

__all__ = ["History", "columns_of", "read_history"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Tell = Callable[[int], None]

_PARQUET: Final = {".parquet", ".pq"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TELL_EVERY: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """n sends in order of time, those of one moment in the file's order.

    rows: of the file; left_out: of them, by the mapping's [where]. client: (n,) indices into
    `clients`. recipient: (n,) indices into `ids`, (m, 2) hashes, in the order they come. zone,
    segment: (n,) hashes of names, 0 where absent; `segments` spells them. content: (n, 5) in the
    order of CONTENT_FIELDS, NaN where absent.
    """

    rows: int
    left_out: int
    refusals: list[Refusal]
    remarks: list[Remark]
    clients: list[str]
    client: I64
    ids: U64
    recipient: I64
    sent_at_ms: I64
    zone: U64
    segment: U64
    segments: Names
    provider: NDArray[np.uint8]
    content: NDArray[np.float32]
    facts: Facts

    def __len__(self) -> int:
        return len(self.sent_at_ms)


def columns_of(path: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        ConfigurationError: it cannot be read as CSV or Parquet.
    """
    try:
        return _scan(path).collect_schema().names()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigurationError(_unreadable(path, error)) from error


def read_history(
    path: Path, mapping: HistoryMapping, horizon_ms: int, seed: int = 1, tell: Tell | None = None
) -> History:
    """Read, check and hash a log.

    Args:
        path: CSV, or Parquet by its ending.
        mapping: of its columns, all of which are there.
        horizon_ms: how long after a send something still belongs to it.
        seed: of the times that are drawn.
        tell: hears how many recipients are hashed.

    Raises:
        ConfigurationError: unreadable, or no row can be taken.
    """
    try:
        frame = _scan(path).select(mapping.wanted()).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigurationError(_unreadable(path, error)) from error
    rows = len(frame)
    if not rows:
        msg = f"{path} has a heading and no rows; there is nothing to replay"
        raise ConfigurationError(msg)
    frame, numbers = _where(frame, mapping)
    sheet = _Sheet(frame, mapping, Sieve.of(numbers))
    read = sheet.read(horizon_ms, seed, tell or (lambda _: None))
    if not len(read["sent_at_ms"]):
        found = sheet.sieve.refusals
        seen = "; ".join(f"{r.meaning} ({r.rows:,} rows, {r.examples[0]})" for r in found)
        msg = (
            f"none of {rows:,} rows of {path} can be taken; left out by [where]: "
            f"{rows - len(numbers):,}; refused: {seen or 'none'}; mend the file or its mapping"
        )
        raise ConfigurationError(msg)
    return History(
        rows=rows,
        left_out=rows - len(numbers),
        refusals=sheet.sieve.refusals,
        remarks=sheet.sieve.remarks,
        **read,
    )


def _scan(path: Path) -> pl.LazyFrame:
    if path.suffix.lower() in _PARQUET:
        return pl.scan_parquet(path)
    return pl.scan_csv(path, infer_schema=False, encoding="utf8-lossy")


def _unreadable(path: Path, error: Exception) -> str:
    if not path.is_file():
        return f"{path} is no file that can be read; give a CSV or Parquet file"
    long = None if path.suffix.lower() in _PARQUET else _longer_row(path)
    if long is not None:
        row, cells, heading = long
        return (
            f"row {row:,} of {path} has {cells} cells under a heading of {heading}: a comma or a "
            "quotation mark inside a cell? Put quotation marks around such cells, or double them"
        )
    why = str(error).splitlines()[0]
    return f"cannot read {path} as CSV or Parquet: {why}; its ending says which it is"


def _longer_row(path: Path) -> tuple[int, int, int] | None:
    """The first row with more cells than the heading: its number, its cells, the heading's."""
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = csv.reader(stream)
        heading = len(next(rows, []))
        counted = ((number, len(cells)) for number, cells in enumerate(rows, 1))
        found = next(((n, cells) for n, cells in counted if cells > heading), None)
    return None if found is None else (*found, heading)


def _where(frame: pl.DataFrame, mapping: HistoryMapping) -> tuple[pl.DataFrame, I64]:
    """The rows [where] lets in, and their numbers in the file."""
    allowed = np.ones(len(frame), bool)
    for name, values in mapping.allowed().items():
        text = frame[name].cast(pl.String).str.strip_chars()
        allowed &= text.is_in(values).fill_null(value=False).to_numpy()
    numbers = np.flatnonzero(allowed)
    return (frame if allowed.all() else frame.filter(allowed)), numbers


@dataclass(slots=True)
class _Sheet:
    """A file's columns on their way to arrays."""

    frame: pl.DataFrame
    mapping: HistoryMapping
    sieve: Sieve

    def read(self, horizon_ms: int, seed: int, tell: Tell) -> dict[str, Any]:
        """Columns of `History` by name."""
        clients, client = self._clients()
        ids, recipient = self._recipients(clients, client, tell)
        provider = self._providers()
        self._repeats()
        sent_at_ms = self._sent()
        facts = read_facts(self.frame, self.mapping, self.sieve, sent_at_ms, horizon_ms, seed)
        zone = zone_hashes(self.frame, self.mapping, self.sieve)
        segments, segment = self._segments()
        content = self._content()
        kept = np.flatnonzero(self.sieve.taken)
        kept = kept[np.argsort(sent_at_ms[kept], kind="stable")]
        known, recipient = _by_appearance(recipient[kept])
        return {
            "clients": clients,
            "client": client[kept],
            "ids": ids[known],
            "recipient": recipient,
            "sent_at_ms": sent_at_ms[kept],
            "zone": zone[kept],
            "segment": segment[kept],
            "segments": segments,
            "provider": provider[kept],
            "content": content[kept],
            "facts": facts.of(kept),
        }

    def _text(self, field: str) -> pl.Series | None:
        """The column of a field as text without surrounding space, "" where empty."""
        named = self.mapping.names(field)
        if not named:
            return None
        return self.frame[named[0]].cast(pl.String).str.strip_chars().fill_null("")

    def _clients(self) -> tuple[list[str], I64]:
        text = self._text("client")
        if text is None:
            return [self.mapping.constants.client], np.zeros(len(self.frame), np.int64)
        names, codes = _coded(text)
        bad = np.array([not _NAME.fullmatch(name) for name in names], bool)
        meaning = "the client is empty or no name of letters, digits, . _ - up to 64"
        self.sieve.refuse(bad[codes], "client", meaning, text)
        return names, codes

    def _recipients(self, clients: list[str], client: I64, tell: Tell) -> tuple[U64, I64]:
        """Hashes of the distinct recipients, and the row of each send's.

        Spellings of one address come together only as hashes.
        """
        text = self._text("recipient")
        assert text is not None
        empty = (text == "").to_numpy()
        self.sieve.refuse(empty, "recipient_empty", "no recipient is named", text, hide=True)
        names, codes = _coded(text)
        pairs, first, which = np.unique(
            client * len(names) + codes, return_index=True, return_inverse=True
        )
        pseudonyms, bad = Pseudonyms(secrets.token_bytes(32)), np.zeros(len(pairs), bool)
        made = []
        for row, source in enumerate(first.tolist()):
            name, owner = names[codes[source]], clients[client[source]]
            made.append("0" * 32)
            if row % _TELL_EVERY == 0:
                tell(row)
            try:
                hashed = pseudonyms.of_address if "@" in name else pseudonyms.of_name
                made[row] = hashed(owner, name)
            except BadAddress:
                bad[row] = True
        tell(len(pairs))
        meaning = "the recipient holds an @, but is no address"
        self.sieve.refuse(bad[which.reshape(-1)], "recipient_address", meaning, text, hide=True)
        halves = np.frombuffer(bytes.fromhex("".join(made)), ">u8").reshape(-1, 2)
        ids, same = np.unique(halves.astype(np.uint64), axis=0, return_inverse=True)
        return ids, same.reshape(-1)[which.reshape(-1)].astype(np.int64)

    def _providers(self) -> NDArray[np.uint8]:
        """Codes of mailbox providers: of the column, else of the recipients' addresses."""
        text = self._text("mailbox_provider")
        column = self._text("recipient") if text is None else text
        assert column is not None
        names, rows = _coded(column)
        told = [name if text is not None else name.rpartition("@")[1] for name in names]
        codes = [
            provider_code(provider_of(name)) if known else NOT_TOLD
            for name, known in zip(names, told, strict=True)
        ]
        return np.array(codes, np.uint8)[rows]

    def _repeats(self) -> None:
        text = self._text("message")
        if text is None:
            return
        names, codes = _coded(text)
        taken = np.flatnonzero(self.sieve.taken)
        _, first = np.unique(codes[taken], return_index=True)
        again = self.sieve.taken.copy()
        again[taken[first]] = False
        if "" in names:  # without an id a row is no repeat of anything
            again &= codes != names.index("")
        self.sieve.refuse(again, "repeated", "a message of this id came before", text)

    def _sent(self) -> I64:
        column = self.frame[self.mapping.names("sent_at")[0]]
        times = self.mapping.times
        found = as_times(column, zone=times.time_zone, pattern=times.format, unit=times.unit)
        text = column.cast(pl.String).str.strip_chars().fill_null("")
        self.sieve.refuse((text == "").to_numpy(), "sent_empty", "no time of sending", column)
        unread = found.is_null().to_numpy()
        self.sieve.refuse(unread, "sent_unreadable", "the time of sending is no time", column)
        sent = found.fill_null(0).to_numpy().astype(np.int64)
        beyond = (sent < MIN_TIME_MS) | (sent > MAX_TIME_MS)
        self.sieve.refuse(beyond, "sent_range", "sent before 2000 or after 2100", column)
        return sent

    def _segments(self) -> tuple[Names, U64]:
        text, segments = self._text("segment"), Names()
        if text is None:
            return segments, np.zeros(len(self.frame), np.uint64)
        names, codes = _coded(text)
        usable = [bool(_NAME.fullmatch(name)) for name in names]
        hashes = [hash_text(n) if good else 0 for n, good in zip(names, usable, strict=True)]
        for name, code in zip(names, hashes, strict=True):
            if code:
                segments.learn(code, name)
        odd = np.array([not good and name != "" for name, good in zip(names, usable, strict=True)])
        meaning = "the segment is no name of letters, digits, . _ - up to 64: taken without one"
        self.sieve.remark(odd[codes], "segment", meaning)
        return segments, np.array(hashes, np.uint64)[codes]

    def _content(self) -> NDArray[np.float32]:
        out = np.full((len(self.frame), len(CONTENT_FIELDS)), np.nan, np.float32)
        for place, field in enumerate(CONTENT_FIELDS):
            for name in self.mapping.names(field)[:1]:
                found = as_numbers(self.frame[name]).fill_null(np.nan).to_numpy()
                within = (found >= 0) & (found <= CONTENT_LIMITS[field])
                out[within, place] = found[within]
                meaning = f"{field} is no number from 0 to {CONTENT_LIMITS[field]:,}: left out"
                self.sieve.remark(~within, field, meaning)
        return out


def _by_appearance(codes: I64) -> tuple[I64, I64]:
    """Distinct codes in the order they come, which no drawn key changes; (n,) indices into them."""
    known, first, which = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return known[order], place[which.reshape(-1)]


def _coded(text: pl.Series) -> tuple[list[str], I64]:
    """Distinct texts in the order they come, and (n,) indices into them."""
    names = text.unique(maintain_order=True)
    codes = text.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int64)
    return names.to_list(), codes.to_numpy().astype(np.int64)
