"""The fast reader: from bytes to columns in compiled loops, accepting only what is sure.

A row it accepts has passed every check of `gate.authority`: types, ranges, version, known zone,
key, and time against the record's own timestamp. Every other row keeps status UNSURE and goes to
the authority. It works block by block: `gate.scan` finds the fields of a block's records, then
`gate.fields` turns one field after the other into its column while the bytes are in the cache.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot
from sendtide.events.mailbox import OTHER_PROVIDER, PROVIDER_SLOTS
from sendtide.events.messages import (
    CONTENT_FIELDS,
    CONTENT_LIMITS,
    ENGAGEMENT_KINDS,
    MAX_USER_AGENT,
    MAX_WINDOW_MS,
    EngagementEvent,
    SendEvent,
    SendRequest,
)
from sendtide.gate.creatives import CREATIVE_FIELDS, read_creatives
from sendtide.gate.fields import (
    read_choices,
    read_decimals,
    read_flags,
    read_identifiers,
    read_integers,
    read_names,
    read_providers,
    read_recipients,
    read_texts,
    read_times,
    read_versions,
    read_zones,
)
from sendtide.gate.scan import BLOCK, scan_block

__all__ = ["AGENT", "CLIENT", "READ", "SEGMENT", "SOURCE", "UNSURE", "ZONE_NAME"]
__all__ += ["Chunk", "Common", "Spellings", "read_engagements", "read_requests", "read_sends"]

UNSURE: Final = 0
READ: Final = 1

SOURCE, CLIENT, SEGMENT, ZONE_NAME, AGENT = range(5)
"""Kinds of names, in the order of `Spellings.known`; user agents are met as names are."""

_COMMON: Final = ("version", "source", "id", "client_id", "recipient_id", "event_time_ms")
_SENDS: Final = SendEvent.__struct_fields__
_ENGAGEMENTS: Final = EngagementEvent.__struct_fields__
_REQUESTS: Final = SendRequest.__struct_fields__
assert _SENDS[:6] == _ENGAGEMENTS[:6] == _REQUESTS[:6] == _COMMON
_VERSION, _SOURCE, _ID, _CLIENT, _RECIPIENT, _TIME = range(6)

_CAMPAIGN: Final = _SENDS.index("campaign_id")
_SEND_SEGMENT: Final = _SENDS.index("segment")
_SEND_ZONE: Final = _SENDS.index("timezone")
_PROVIDER: Final = _SENDS.index("mailbox_provider")
_PROVIDER_NAMES, _PROVIDER_CODES = PROVIDER_SLOTS
_CONTENT: Final = _SENDS.index(CONTENT_FIELDS[0])
assert _SENDS[_CONTENT : _CONTENT + len(CONTENT_FIELDS)] == CONTENT_FIELDS
_CREATIVE: Final = _SENDS.index("subject")
assert _SENDS[_CREATIVE:] == CREATIVE_FIELDS
_LIMITS: Final = np.array(list(CONTENT_LIMITS.values()), np.int64)

_MESSAGE: Final = _ENGAGEMENTS.index("message_id")
_KIND: Final = _ENGAGEMENTS.index("kind")
_MACHINE: Final = _ENGAGEMENTS.index("machine")
_REVENUE: Final = _ENGAGEMENTS.index("revenue")
_USER_AGENT: Final = _ENGAGEMENTS.index("user_agent")
_MAX_REVENUE: Final = 10_000_000.0
_KIND_WORDS: Final = np.array(
    [list(kind.encode().ljust(16)) for kind in ENGAGEMENT_KINDS], np.uint8
)
_KIND_LENGTHS: Final = np.array([len(kind) for kind in ENGAGEMENT_KINDS], np.int64)

_WINDOW_START: Final = _REQUESTS.index("window_start_ms")
_WINDOW_END: Final = _REQUESTS.index("window_end_ms")
_REQUEST_ZONE: Final = _REQUESTS.index("timezone")
_REQUEST_SEGMENT: Final = _REQUESTS.index("segment")


class Chunk(NamedTuple):
    """n records as they came, end to end.

    data, keys: (bytes,) uint8, closed by `scan.SENTINEL`. starts, key_starts: (n + 1,).
    timestamps_ms: (n,).
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    keys: NDArray[np.uint8]
    key_starts: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    max_future_ms: int


class Common(NamedTuple):
    """Columns all inputs share, and what became of each row (UNSURE or READ)."""

    status: NDArray[np.uint8]
    event_time_ms: NDArray[np.int64]
    identity: NDArray[np.uint64]
    source: NDArray[np.uint64]
    client: NDArray[np.uint64]
    recipient: NDArray[np.uint64]


class Spellings(NamedTuple):
    """Names met before, by hash, and the places of those met for the first time.

    known: (5, slots) open-addressed hashes. zones: (slots,) hashes of all IANA zones.
    fresh: (room, 4) rows of (kind, hash as int64, first byte, end). counts: (1,) rows in `fresh`.
    """

    known: NDArray[np.uint64]
    zones: NDArray[np.uint64]
    fresh: NDArray[np.int64]
    counts: NDArray[np.int64]


@njit(cache=True)
def _check_keys(chunk: Any, found: Any, first: int, count: int) -> None:
    """A record's key must be the body's `client_id:recipient_id`."""
    data, _, keys, starts, _, _ = chunk
    spans, _, _, sure = found
    for row in range(count):
        if sure[row] == 0:
            continue
        start, end = starts[first + row], starts[first + row + 1]
        client, recipient = spans[row, _CLIENT, 0], spans[row, _RECIPIENT, 0]
        size = spans[row, _CLIENT, 1] - client
        same = end - start == size + 33 and keys[start + size] == 0x3A
        for i in range(size if same else 0):
            same = same and keys[start + i] == data[client + i]
        for i in range(32 if same else 0):
            same = same and keys[start + size + 1 + i] == data[recipient + i]
        if not same:
            sure[row] = 0


@njit(cache=True)
def _read_common(chunk: Any, fields: Any, found: Any, columns: Any, first: int, last: int) -> None:
    """Scan the records `first` to `last` and fill the columns all inputs share."""
    data, starts, timestamps_ms = chunk.data, chunk.starts, chunk.timestamps_ms
    sources, times = columns.source[first:last], columns.event_time_ms[first:last]
    scan_block(data, starts[first : last + 1], fields, found)
    read_versions(data, found, _VERSION, last - first)
    read_names(data, found, _SOURCE, False, sources)
    read_names(data, found, _CLIENT, False, columns.client[first:last])
    read_identifiers(data, found, _ID, sources, columns.identity[first:last])
    read_recipients(data, found, _RECIPIENT, columns.recipient[first:last])
    read_times(data, found, _TIME, times)
    _check_keys(chunk, found, first, last - first)
    sure = found.sure
    for row in range(last - first):
        if times[row] > timestamps_ms[first + row] + chunk.max_future_ms:
            sure[row] = 0


@njit(cache=True)
def _note(found: Any, names: Any, kind: int, which: int, codes: Any) -> None:
    """Remember where names of the rows taken are spelled, if they are new."""
    known, fresh, counts = names.known[kind], names.fresh, names.counts
    spans, sure = found.spans, found.sure
    for row in range(len(codes)):
        code = codes[row]
        if sure[row] == 0 or code == np.uint64(0):
            continue
        slot = find_slot(known, code)
        if known[slot] == np.uint64(0):
            known[slot] = code
            place = counts[0]
            fresh[place, 0], fresh[place, 1] = kind, np.int64(code)
            fresh[place, 2], fresh[place, 3] = spans[row, which, 0], spans[row, which, 1]
            counts[0] = place + 1


@njit(cache=True)
def _accept(found: Any, names: Any, columns: Any, first: int, last: int) -> None:
    """Mark the rows still sure as read, and learn their names."""
    columns.status[first:last] = found.sure[: last - first]
    _note(found, names, SOURCE, _SOURCE, columns.source[first:last])
    _note(found, names, CLIENT, _CLIENT, columns.client[first:last])


@njit(cache=True, nogil=True)
def read_sends(
    chunk: Any,
    fields: Any,
    found: Any,
    columns: Any,
    names: Any,
    zones: Any,
    segments: Any,
    providers: Any,
    content: Any,
    drafts: Any,
) -> None:
    """Fill the rows of `email.sends` that are sure."""
    data = chunk.data
    campaigns = np.empty(BLOCK, np.uint64)
    for first in range(0, len(zones), BLOCK):
        last = min(first + BLOCK, len(zones))
        _read_common(chunk, fields, found, columns, first, last)
        read_names(data, found, _CAMPAIGN, True, campaigns[: last - first])
        read_names(data, found, _SEND_SEGMENT, True, segments[first:last])
        read_zones(data, found, _SEND_ZONE, names.zones, zones[first:last])
        known = _PROVIDER_NAMES, _PROVIDER_CODES, OTHER_PROVIDER
        read_providers(data, found, _PROVIDER, *known, providers[first:last])
        for i in range(len(_LIMITS)):
            read_integers(data, found, _CONTENT + i, _LIMITS[i], content[first:last, i])
        read_creatives(data, found, _CREATIVE, campaigns, content[first:last], drafts, first)
        _note(found, names, SEGMENT, _SEND_SEGMENT, segments[first:last])
        _note(found, names, ZONE_NAME, _SEND_ZONE, zones[first:last])
        _accept(found, names, columns, first, last)


@njit(cache=True, nogil=True)
def read_engagements(
    chunk: Any,
    fields: Any,
    found: Any,
    columns: Any,
    names: Any,
    messages: Any,
    kinds: Any,
    machines: Any,
    revenues: Any,
    agents: Any,
) -> None:
    """Fill the rows of `email.engagements` that are sure."""
    data = chunk.data
    for first in range(0, len(kinds), BLOCK):
        last = min(first + BLOCK, len(kinds))
        _read_common(chunk, fields, found, columns, first, last)
        read_identifiers(data, found, _MESSAGE, columns.source[first:last], messages[first:last])
        read_choices(data, found, _KIND, _KIND_WORDS, _KIND_LENGTHS, kinds[first:last])
        read_flags(found, _MACHINE, machines[first:last])
        read_decimals(data, found, _REVENUE, _MAX_REVENUE, revenues[first:last])
        read_texts(data, found, _USER_AGENT, MAX_USER_AGENT, True, agents[first:last])
        _note(found, names, AGENT, _USER_AGENT, agents[first:last])
        _accept(found, names, columns, first, last)


@njit(cache=True)
def _check_windows(found: Any, window_starts: Any, window_ends: Any) -> None:
    sure = found.sure
    for row in range(len(window_starts)):
        if not 0 < window_ends[row] - window_starts[row] <= MAX_WINDOW_MS:
            sure[row] = 0


@njit(cache=True, nogil=True)
def read_requests(
    chunk: Any,
    fields: Any,
    found: Any,
    columns: Any,
    names: Any,
    zones: Any,
    segments: Any,
    window_starts: Any,
    window_ends: Any,
    id_spans: Any,
) -> None:
    """Fill the rows of `email.requests` that are sure; id_spans: (n, 2), for their text."""
    data = chunk.data
    for first in range(0, len(zones), BLOCK):
        last = min(first + BLOCK, len(zones))
        _read_common(chunk, fields, found, columns, first, last)
        read_times(data, found, _WINDOW_START, window_starts[first:last])
        read_times(data, found, _WINDOW_END, window_ends[first:last])
        _check_windows(found, window_starts[first:last], window_ends[first:last])
        read_names(data, found, _REQUEST_SEGMENT, True, segments[first:last])
        read_zones(data, found, _REQUEST_ZONE, names.zones, zones[first:last])
        id_spans[first:last] = found.spans[: last - first, _ID]
        _note(found, names, SEGMENT, _REQUEST_SEGMENT, segments[first:last])
        _note(found, names, ZONE_NAME, _REQUEST_ZONE, zones[first:last])
        _accept(found, names, columns, first, last)
