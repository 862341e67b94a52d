"""Outgoing messages as records: bytes in, bytes out; sending them is the transport's work.

Keys: metrics and alerts go by client, so that one client's are in order. A dead letter keeps its
own key and value to the byte; where it came from and why stands in its headers, which are text:
`sendtide-reason`, `sendtide-offset`, ... Predictions are many: `sinks.predictions` writes these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from sendtide.events.errors import CorruptData
from sendtide.events.messages import (
    AlertMessage,
    DeadLetterHeaders,
    MetricMessage,
)
from sendtide.events.topics import ALERTS, DEAD_LETTERS, METRICS

__all__ = [
    "Record",
    "alert_record",
    "dead_letter_headers",
    "dead_letter_record",
    "metric_record",
]

HEADER_PREFIX: Final = "sendtide-"
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record to be sent to `topic`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def metric_record(message: MetricMessage) -> Record:
    """One number about one window."""
    key = message.client_id.encode()
    return Record(topic=METRICS.name, key=key, value=_ENCODER.encode(message))


def alert_record(message: AlertMessage) -> Record:
    """Something a person should look at."""
    key = message.client_id.encode()
    return Record(topic=ALERTS.name, key=key, value=_ENCODER.encode(message))


def dead_letter_record(
    key: bytes | None, value: bytes | None, headers: DeadLetterHeaders
) -> Record:
    """A refused record, byte for byte, with where it came from and why."""
    fields = msgspec.to_builtins(headers)
    texts = [
        (HEADER_PREFIX + name, str(fields[name]).encode(errors="backslashreplace"))
        for name in fields
    ]
    return Record(topic=DEAD_LETTERS.name, key=key, value=value, headers=texts)


def dead_letter_headers(headers: list[tuple[str, bytes]]) -> DeadLetterHeaders:
    """Read the headers of a dead letter again.

    Raises:
        CorruptData: one is missing or not of its type.
    """
    ours = {k: v for k, v in headers if k.startswith(HEADER_PREFIX)}
    try:
        fields = {name.removeprefix(HEADER_PREFIX): text.decode() for name, text in ours.items()}
        return msgspec.convert(fields, DeadLetterHeaders, strict=False)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        msg = f"these are not the headers of a dead letter: {error}"
        raise CorruptData(msg) from error
