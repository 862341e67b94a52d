"""Predictions as records: columns in, one key and one JSON object a row out.

A compiled loop writes all rows into one buffer (`events.wire`); the objects are those of
`events.messages.PredictionMessage`, and every number reads back as the float32 that it was, a
propensity as the double.
Keys are those of the requests: a recipient's answers are in order.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.hashing import ARMS
from sendtide.events.messages import VERSION
from sendtide.events.predictions import LISTED_SLOTS, NO_SLOT, Predictions
from sendtide.events.records import TIERS
from sendtide.events.texts import Texts
from sendtide.events.wire import (
    ABSENT,
    Field,
    RowWriter,
    decimal,
    hexadecimal,
    literal,
    number,
    single,
    text,
)

__all__ = ["prediction_records"]

Written = tuple[NDArray[np.uint8], NDArray[np.int64]]

_QUOTE, _BACKSLASH = b'"\\'
_WHOSE: Final = {
    "recipient": " sends to this recipient, seen as one of its population",
    "segment": "no sends to this recipient yet: what its segment does",
    "client": "no sends to this recipient yet: what the client's recipients do",
    "all": "nothing learned of this client yet: what all clients' recipients do",
    "prior": "nothing learned yet: an assumed population, in which all hours are equal",
}
_HOW: Final = {
    "control": "slot drawn uniformly from the window: control group; ",
    "explore": "slot sampled by how likely it is to be the best; ",
    "optimised": "slot with the highest score in the window; ",
}


def _slot_fields() -> list[Field]:
    """A list of slots; the fields of those that are not there are left out, literals included."""
    fields: list[Field] = []
    for place in range(LISTED_SLOTS):
        start = "},{" if place else ',"slots":[{'
        fields += [
            number(f'{start}"send_at_ms":'),
            number(',"hour_of_week":'),
            single(',"open_probability":'),
        ]
    return fields


_VALUES: Final = (
    number('","requested_at_ms":'),
    number(',"send_at_ms":'),
    single(',"open_probability":'),
    single(',"slot_probability":'),
    single(',"interval":['),
    single(","),
    text('],"arm":"', ARMS),
    decimal('","propensity":'),
    *_slot_fields(),
    text('}],"tier":"', TIERS),
    text('","reason":"', [_HOW[arm] for arm in ARMS]),
    number(""),
    number("."),
    text("", [_WHOSE[tier] for tier in TIERS]),
    single('","effective_sends":'),
    number(',"model_version":'),
    number(',"newest_event_ms":'),
    literal("}"),
)


def prediction_records(rows: Predictions) -> tuple[Written, Written]:
    """Return the (keys, values) of n answers: of each all bytes, uint8, and int64[n + 1] starts.

    An answer's id is the request's, so a repeated one can be dropped by its reader.
    """
    client, clients = _spelled(rows.client, rows.clients)
    source, sources = _spelled(rows.source, rows.sources)
    high, low = rows.recipient[:, 0], rows.recipient[:, 1]
    keys = RowWriter([text("", clients), hexadecimal(":"), hexadecimal("")])
    values = RowWriter(
        [
            text(f'{{"version":"{VERSION}","source":"', sources),
            text('","id":"', _escaped(rows.ids)),
            text('","client_id":"', clients),
            hexadecimal('","recipient_id":"'),
            hexadecimal(""),
            *_VALUES,
        ]
    )
    found = values.column(source, np.arange(len(rows)), client, high, low, *_columns(rows))
    return keys.column(client, high, low), found


def _columns(rows: Predictions) -> list[NDArray[Any]]:
    """The columns of _VALUES."""
    tenths = np.rint(rows.effective_sends.astype(np.float64) * 10).astype(np.int64)
    counted = rows.tier == TIERS.index("recipient")
    slots: list[NDArray[Any]] = []
    for place in range(LISTED_SLOTS):
        there = rows.slot_hours[:, place] != NO_SLOT
        slots += [
            np.where(there, rows.slot_times[:, place], ABSENT),
            np.where(there, rows.slot_hours[:, place], ABSENT),
            np.where(there, rows.slot_scores[:, place], np.nan),
        ]
    return [
        *(rows.requested_at_ms, rows.send_at_ms, rows.open_probability, rows.slot_probability),
        *(rows.interval[:, 0], rows.interval[:, 1], rows.arm, rows.propensity),
        *slots,
        *(rows.tier, rows.arm),
        np.where(counted, tenths // 10, ABSENT),
        np.where(counted, tenths % 10, ABSENT),
        *(rows.tier, rows.effective_sends, rows.model_version, rows.newest_event_ms),
    ]


def _spelled(codes: NDArray[np.uint64], names: Names) -> tuple[NDArray[np.int64], list[str]]:
    """Each row's place among the spellings that occur."""
    different, places = np.unique(codes, return_inverse=True)
    return places.reshape(-1), [names[code] for code in different.tolist()]


def _escaped(ids: Texts) -> Texts:
    """Texts without control characters, as they stand inside of a JSON string."""
    places = np.flatnonzero((ids.data == _QUOTE) | (ids.data == _BACKSLASH))
    if not len(places):
        return ids
    rows = np.unique(np.searchsorted(ids.starts, places, "right") - 1)
    return ids.replaced(rows, (msgspec.json.encode(ids[row])[1:-1].decode() for row in rows))
