"""The fast reader: from bytes to columns in one compiled loop, accepting only what is sure.

A row it accepts has passed every check of `gate.authority`: types, ranges, version, known zone,
key, and time against the record's own timestamp. Every other row keeps status UNSURE and goes to
the authority. Fields are found by `gate.scan`; columns are written straight where they belong.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.messages import (
    CONTENT_FIELDS,
    CONTENT_LIMITS,
    ENGAGEMENT_KINDS,
    MAX_RECORD_BYTES,
    MAX_WINDOW_MS,
    EngagementEvent,
    SendEvent,
    SendRequest,
)
from sendtide.gate.fields import (
    CLIENT,
    SEGMENT,
    SOURCE,
    ZONE_NAME,
    hash_field,
    is_absent,
    is_identifier,
    is_name,
    is_version_1,
    note_name,
    optional_name,
    optional_zone,
    time_ms,
)
from sendtide.gate.scan import (
    DECIMAL,
    FALSE,
    HEX,
    INTEGER,
    STRING,
    TRUE,
    parse_decimal,
    parse_integer,
    scan_object,
)

__all__ = ["READ", "UNSURE", "read_engagements", "read_requests", "read_sends"]

UNSURE: Final = 0
READ: Final = 1

_COMMON: Final = ("version", "source", "id", "client_id", "recipient_id", "event_time_ms")
_SENDS: Final = SendEvent.__struct_fields__
_ENGAGEMENTS: Final = EngagementEvent.__struct_fields__
_REQUESTS: Final = SendRequest.__struct_fields__
assert _SENDS[:6] == _ENGAGEMENTS[:6] == _REQUESTS[:6] == _COMMON
_VERSION, _SOURCE, _ID, _CLIENT, _RECIPIENT, _TIME = range(6)

_CAMPAIGN: Final = _SENDS.index("campaign_id")
_SEND_SEGMENT: Final = _SENDS.index("segment")
_SEND_ZONE: Final = _SENDS.index("timezone")
_CONTENT: Final = _SENDS.index(CONTENT_FIELDS[0])
assert _SENDS[_CONTENT:] == CONTENT_FIELDS
_LIMITS: Final = np.array(list(CONTENT_LIMITS.values()), np.int64)

_MESSAGE: Final = _ENGAGEMENTS.index("message_id")
_KIND: Final = _ENGAGEMENTS.index("kind")
_MACHINE: Final = _ENGAGEMENTS.index("machine")
_REVENUE: Final = _ENGAGEMENTS.index("revenue")
_MAX_REVENUE: Final = 10_000_000.0
_KINDS: Final = np.zeros((len(ENGAGEMENT_KINDS), 16), np.uint8)
for _row, _kind in zip(_KINDS, ENGAGEMENT_KINDS, strict=True):
    _row[: len(_kind)] = list(_kind.encode())
_KIND_LENGTHS: Final = np.array([len(kind) for kind in ENGAGEMENT_KINDS], np.int64)

_WINDOW_START: Final = _REQUESTS.index("window_start_ms")
_WINDOW_END: Final = _REQUESTS.index("window_end_ms")
_REQUEST_ZONE: Final = _REQUESTS.index("timezone")
_REQUEST_SEGMENT: Final = _REQUESTS.index("segment")


@njit(cache=True)
def _key_matches(chunk: Any, row: int, fields: Any) -> bool:
    """Whether the record's key is the body's `client_id:recipient_id`."""
    start, end = chunk.key_starts[row], chunk.key_starts[row + 1]
    client, client_end = fields.spans[_CLIENT]
    recipient = fields.spans[_RECIPIENT, 0]
    size = client_end - client
    if end - start != size + 33 or chunk.keys[start + size] != 0x3A:
        return False
    for i in range(size):
        if chunk.keys[start + i] != chunk.data[client + i]:
            return False
    for i in range(32):  # noqa: SIM110 - a compiled loop, not a generator
        if chunk.keys[start + size + 1 + i] != chunk.data[recipient + i]:
            return False
    return True


@njit(cache=True)
def _half(data: Any, start: int) -> Any:
    """The 16 lower-case hex digits at `start` as a big-endian number."""
    value = np.uint64(0)
    for i in range(start, start + 16):
        digit = np.uint64(data[i])
        digit = digit - np.uint64(0x30) if digit < 0x60 else digit - np.uint64(0x57)
        value = (value << np.uint64(4)) | digit
    return value


@njit(cache=True)
def _read_common(chunk: Any, row: int, fields: Any, columns: Any) -> bool:
    """Scan a record and fill the columns all inputs share; False if not sure."""
    data, start, end = chunk.data, chunk.starts[row], chunk.starts[row + 1]
    if end - start > MAX_RECORD_BYTES or not scan_object(data, start, end, fields):
        return False
    if not (is_version_1(data, fields, _VERSION) and is_identifier(fields, _ID)):
        return False
    if not (is_name(data, fields, _SOURCE) and is_name(data, fields, _CLIENT)):
        return False
    recipient, recipient_end = fields.spans[_RECIPIENT]
    if fields.tags[_RECIPIENT] != STRING or recipient_end - recipient != 32:
        return False
    if fields.flags[_RECIPIENT] & HEX == 0 or not _key_matches(chunk, row, fields):
        return False
    happened_ms = time_ms(data, fields, _TIME)
    if happened_ms < 0 or happened_ms > chunk.timestamps_ms[row] + chunk.max_future_ms:
        return False
    source = hash_field(data, fields, _SOURCE, np.uint64(0))
    columns.event_time_ms[row] = happened_ms
    columns.source[row] = source
    columns.identity[row] = hash_field(data, fields, _ID, source)
    columns.client[row] = hash_field(data, fields, _CLIENT, np.uint64(0))
    columns.recipient[row, 0] = _half(data, recipient)
    columns.recipient[row, 1] = _half(data, recipient + 16)
    return True


@njit(cache=True)
def _accept(row: int, fields: Any, columns: Any, names: Any) -> None:
    spans = fields.spans
    note_name(names, SOURCE, columns.source[row], spans[_SOURCE, 0], spans[_SOURCE, 1])
    note_name(names, CLIENT, columns.client[row], spans[_CLIENT, 0], spans[_CLIENT, 1])
    columns.status[row] = READ


@njit(cache=True)
def _note_place(
    fields: Any, names: Any, segment: Any, zone: Any, segment_field: int, zone_field: int
) -> None:
    spans = fields.spans
    if segment != np.uint64(0):
        note_name(names, SEGMENT, segment, spans[segment_field, 0], spans[segment_field, 1])
    if zone != np.uint64(0):
        note_name(names, ZONE_NAME, zone, spans[zone_field, 0], spans[zone_field, 1])


@njit(cache=True)
def _read_content(data: Any, fields: Any, content: Any) -> bool:
    for i in range(len(_LIMITS)):
        which = _CONTENT + i
        if is_absent(fields, which):
            content[i] = np.nan
            continue
        if fields.tags[which] != INTEGER:
            return False
        value = parse_integer(data, fields.spans[which, 0], fields.spans[which, 1])
        if not 0 <= value <= _LIMITS[i]:
            return False
        content[i] = value
    return True


@njit(cache=True)
def read_sends(
    chunk: Any, fields: Any, columns: Any, names: Any, zones: Any, segments: Any, content: Any
) -> None:
    """Fill the rows of `email.sends` that are sure."""
    for row in range(len(columns.status)):
        if not _read_common(chunk, row, fields, columns):
            continue
        sure, segment = optional_name(chunk.data, fields, _SEND_SEGMENT)
        known, zone = optional_zone(chunk.data, fields, _SEND_ZONE, names.zones)
        campaign = is_absent(fields, _CAMPAIGN) or is_name(chunk.data, fields, _CAMPAIGN)
        if sure and known and campaign and _read_content(chunk.data, fields, content[row]):
            segments[row], zones[row] = segment, zone
            _note_place(fields, names, segment, zone, _SEND_SEGMENT, _SEND_ZONE)
            _accept(row, fields, columns, names)


@njit(cache=True)
def _which_kind(data: Any, fields: Any) -> int:
    start, end = fields.spans[_KIND]
    if fields.tags[_KIND] != STRING:
        return -1
    for which in range(len(_KINDS)):
        if _KIND_LENGTHS[which] != end - start:
            continue
        same = True
        for i in range(end - start):
            same &= data[start + i] == _KINDS[which, i]
        if same:
            return which
    return -1


@njit(cache=True)
def _revenue(data: Any, fields: Any) -> float:
    """Revenue in range, 0 if absent, -1 if not sure."""
    if is_absent(fields, _REVENUE):
        return 0.0
    if fields.tags[_REVENUE] != INTEGER and fields.tags[_REVENUE] != DECIMAL:
        return -1.0
    value = parse_decimal(data, fields.spans[_REVENUE, 0], fields.spans[_REVENUE, 1])
    return value if value <= _MAX_REVENUE else -1.0


@njit(cache=True)
def _machine(fields: Any) -> int:
    """0 unknown, 1 human, 2 machine, -1 if not sure."""
    if is_absent(fields, _MACHINE):
        return 0
    if fields.tags[_MACHINE] == TRUE:
        return 2
    return 1 if fields.tags[_MACHINE] == FALSE else -1


@njit(cache=True)
def read_engagements(
    chunk: Any,
    fields: Any,
    columns: Any,
    names: Any,
    messages: Any,
    kinds: Any,
    machines: Any,
    revenues: Any,
) -> None:
    """Fill the rows of `email.engagements` that are sure."""
    for row in range(len(columns.status)):
        if not _read_common(chunk, row, fields, columns):
            continue
        kind, machine = _which_kind(chunk.data, fields), _machine(fields)
        revenue = _revenue(chunk.data, fields)
        if kind >= 0 and machine >= 0 and revenue >= 0 and is_identifier(fields, _MESSAGE):
            messages[row] = hash_field(chunk.data, fields, _MESSAGE, columns.source[row])
            kinds[row], machines[row], revenues[row] = kind, machine, revenue
            _accept(row, fields, columns, names)


@njit(cache=True)
def read_requests(
    chunk: Any,
    fields: Any,
    columns: Any,
    names: Any,
    zones: Any,
    segments: Any,
    window_starts: Any,
    window_ends: Any,
    id_spans: Any,
) -> None:
    """Fill the rows of `email.requests` that are sure; id_spans: (n, 2), for their text."""
    for row in range(len(columns.status)):
        if not _read_common(chunk, row, fields, columns):
            continue
        start = time_ms(chunk.data, fields, _WINDOW_START)
        end = time_ms(chunk.data, fields, _WINDOW_END)
        sure, segment = optional_name(chunk.data, fields, _REQUEST_SEGMENT)
        known, zone = optional_zone(chunk.data, fields, _REQUEST_ZONE, names.zones)
        if start >= 0 and 0 < end - start <= MAX_WINDOW_MS and sure and known:
            window_starts[row], window_ends[row] = start, end
            segments[row], zones[row] = segment, zone
            id_spans[row] = fields.spans[_ID]
            _note_place(fields, names, segment, zone, _REQUEST_SEGMENT, _REQUEST_ZONE)
            _accept(row, fields, columns, names)
