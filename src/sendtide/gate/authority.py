"""The authority on one record: takes it as a typed event, or refuses it with a reason.

The compiled reader defers to this module for everything it is not sure of, so what is said here
is the rule. Two rules JSON leaves open: of a name that stands twice in an object the last value
counts, and unknown fields are ignored (they belong to a newer minor version).

A refusal's detail never repeats an address: whatever holds an "@" is blanked, and only values of
fields with a closed alphabet are quoted at all.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np

from sendtide.events.errors import RefusedRecord
from sendtide.events.hashing import hash_text
from sendtide.events.messages import (
    MAJOR_VERSION,
    MAX_RECORD_BYTES,
    MAX_WINDOW_MS,
    EngagementEvent,
    SendEvent,
    SendRequest,
)
from sendtide.events.time import known_zones
from sendtide.gate.scan import nesting_depth

__all__ = ["Event", "Reason", "Refusal", "Tombstone", "judge", "read_tombstone"]

Event: TypeAlias = SendEvent | EngagementEvent | SendRequest
Reason: TypeAlias = Literal[
    "bad_json",
    "bad_encoding",
    "wrong_type",
    "missing_field",
    "out_of_range",
    "future_time",
    "oversize",
    "wrong_key",
    "unknown_version",
    "raw_address",
]

_MAX_DETAIL_CHARACTERS: Final = 200
_MAX_DEPTH: Final = 32
"""Deeper nesting is refused by count: a decoder's own limit depends on the stack it runs on, and a
replay must judge alike."""
_VERSION: Final = re.compile(r"([1-9][0-9]{0,3})\.[0-9]{1,4}")
_KEY: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([0-9a-f]{32})")
_ADDRESS: Final = re.compile(r"\S*@\S*")
_PROVIDER_DETAIL: Final = (
    "mailbox_provider holds an address: addresses must not enter the topics; send the part after "
    "its at-sign alone, in lower case, and delete this record"
)
_RAW_ADDRESS_DETAIL: Final = (
    "recipient_id holds an e-mail address: addresses must not enter the topics; "
    "send the keyed hash (HMAC-SHA-256, first 128 bits, 32 lower-case hex digits) and "
    "delete this record"
)


class Refusal(RefusedRecord):
    """A record that cannot be taken: `reason` for machines, the message for people."""

    def __init__(self, detail: str, reason: Reason) -> None:
        self.reason: Reason = reason
        self.detail = _ADDRESS.sub("(hidden)", detail)[:_MAX_DETAIL_CHARACTERS]
        super().__init__(self.detail)


class Tombstone(NamedTuple):
    """A null value on `email.sends`: this recipient is to be forgotten."""

    client_id: str
    recipient_id: str


class _Peek(msgspec.Struct):
    """What is looked at before everything else; may be of any type."""

    version: msgspec.Raw = msgspec.Raw(b'"1.0"')
    recipient_id: msgspec.Raw = msgspec.Raw(b"null")
    mailbox_provider: msgspec.Raw = msgspec.Raw(b"null")


_PEEK: Final = msgspec.json.Decoder(_Peek)


@cache
def _decoder(kind: type[Event]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def judge(
    kind: type[Event], value: bytes, key: bytes | None, timestamp_ms: int, max_future_ms: int
) -> Event:
    """Return the record's event.

    `timestamp_ms` is the record's own Kafka timestamp: a time is "future" against that and never
    against a clock, so that a replay judges alike.

    Raises:
        Refusal: with the first reason that applies, in the order of the checks below.
    """
    _check_bytes(value)
    event: Event
    try:
        _check_peek(_PEEK.decode(value), kind)
        event = _decoder(kind).decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except UnicodeError:
        detail = "a string holds bytes that are not UTF-8"
        raise Refusal(detail, "bad_encoding") from None
    except msgspec.DecodeError as error:
        detail = f"not a JSON object: {error}"
        raise Refusal(detail, "bad_json") from None
    _check_event(event)
    _check_key(event, key)
    if event.event_time_ms > timestamp_ms + max_future_ms:
        ahead_ms = event.event_time_ms - timestamp_ms
        msg = (
            f"event_time_ms {event.event_time_ms} is {ahead_ms} ms after the record's timestamp "
            f"{timestamp_ms}; allowed: {max_future_ms} ms. Check the producer's clock"
        )
        raise Refusal(msg, "future_time")
    return event


def read_tombstone(key: bytes | None) -> Tombstone:
    """Return whom a null value on `email.sends` asks to forget.

    Raises:
        Refusal: the key is not `client_id:recipient_id`.
    """
    match = _KEY.fullmatch(key or b"")
    if match is None:
        if b"@" in (key or b""):
            raise Refusal(_RAW_ADDRESS_DETAIL.replace("recipient_id", "the key"), "raw_address")
        detail = (
            f"a null value asks to forget a recipient, but its key of {len(key or b'')} bytes is "
            "not client_id:recipient_id; nobody was forgotten"
        )
        raise Refusal(detail, "wrong_key")
    return Tombstone(match[1].decode(), match[2].decode())


def _check_bytes(value: bytes) -> None:
    if len(value) > MAX_RECORD_BYTES:
        detail = f"{len(value)} bytes; the largest record taken is {MAX_RECORD_BYTES} bytes"
        raise Refusal(detail, "oversize")
    if not value:
        detail = "the value is empty; a JSON object is wanted"
        raise Refusal(detail, "bad_json")
    if value.startswith(b"\xef\xbb\xbf"):
        detail = "starts with a byte order mark; send UTF-8 without one"
        raise Refusal(detail, "bad_encoding")
    if b"\0" in value[:4]:
        detail = "looks like UTF-16 or UTF-32 (zero bytes at the start); send UTF-8"
        raise Refusal(detail, "bad_encoding")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is not UTF-8: {error.reason}"
        raise Refusal(detail, "bad_encoding") from None
    if nesting_depth(np.frombuffer(value, np.uint8)) > _MAX_DEPTH:
        detail = f"nested deeper than {_MAX_DEPTH} levels; events are flat JSON objects"
        raise Refusal(detail, "bad_json")


def _check_peek(peek: _Peek, kind: type[Event]) -> None:
    """Refuse an unknown major version and a raw address before anything else about the body."""
    try:
        recipient = msgspec.json.decode(peek.recipient_id)
        version = msgspec.json.decode(peek.version)
        provider = msgspec.json.decode(peek.mailbox_provider) if kind is SendEvent else None
    except msgspec.ValidationError:
        return  # a number no type can hold: the typed decoder names its field
    if isinstance(recipient, str) and "@" in recipient:
        raise Refusal(_RAW_ADDRESS_DETAIL, "raw_address")
    if isinstance(provider, str) and "@" in provider:
        raise Refusal(_PROVIDER_DETAIL, "raw_address")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is not None and int(match[1]) != MAJOR_VERSION:
        detail = (
            f"version {version}; this build reads {MAJOR_VERSION}.x. Upgrade, then send the "
            "dead letters again"
        )
        raise Refusal(detail, "unknown_version")


def _invalid(message: str) -> Refusal:
    """Refusal for a message of the typed decoder."""
    if "missing required field" in message:
        return Refusal(message, "missing_field")
    if message.startswith("Invalid enum value"):
        allowed = "delivered, open, click, bounce, unsubscribe, complaint, conversion"
        return Refusal(f"{message}; allowed: {allowed}", "out_of_range")
    if ", got" in message:
        return Refusal(message, "wrong_type")
    return Refusal(message, "out_of_range")


def _check_event(event: Event) -> None:
    """Refuse what a type cannot say: an unknown zone, a window that is none."""
    zone = None if isinstance(event, EngagementEvent) else event.timezone
    if zone is not None and hash_text(zone) not in known_zones():
        detail = f"timezone {zone!r} is not an IANA time zone; Europe/Paris is one"
        raise Refusal(detail, "out_of_range")
    if isinstance(event, SendRequest):
        length_ms = event.window_end_ms - event.window_start_ms
        if not 0 < length_ms <= MAX_WINDOW_MS:
            detail = (
                f"the window from window_start_ms to window_end_ms is {length_ms} ms long; "
                f"allowed: 1 to {MAX_WINDOW_MS} ms"
            )
            raise Refusal(detail, "out_of_range")


def _check_key(event: Event, key: bytes | None) -> None:
    if key != f"{event.client_id}:{event.recipient_id}".encode():
        seen = "no key" if key is None else f"a key of {len(key)} bytes"
        detail = (
            f"the record has {seen} that is not the body's client_id:recipient_id; records of one "
            "recipient must meet in one partition. Send that text as the key"
        )
        raise Refusal(detail, "wrong_key")
