"""One typed definition per message; `schemas/` is generated from these and tested against them.

Incoming messages are JSON objects, flat on purpose: the compiled decoder reads them in one pass.
An event's identity is `(source, id)`. Versions are `major.minor`: a newer minor is read with its
unknown fields ignored, an unknown major goes to the dead letters.

Every number has a range. A value outside it is refused before anything learns from it, since one
NaN or 1e308 ruins an online model for good.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from sendtide.events.creative import MAX_SUBJECT

__all__ = [
    "CONTENT_FIELDS",
    "CONTENT_LIMITS",
    "ENGAGEMENT_KINDS",
    "MAJOR_VERSION",
    "MAX_IMAGE_SIDE",
    "MAX_RECORD_BYTES",
    "MAX_USER_AGENT",
    "AlertMessage",
    "DeadLetterHeaders",
    "EngagementEvent",
    "EngagementKind",
    "ExampleHeader",
    "MetricMessage",
    "ModelHeader",
    "PredictionMessage",
    "SendEvent",
    "SendRequest",
    "SlotScore",
]

MAJOR_VERSION: Final = 1
VERSION: Final = "1.0"
SEND_VERSION: Final = "1.2"
ENGAGEMENT_VERSION: Final = "1.1"
MAX_RECORD_BYTES: Final = 65_536
"""A larger record is refused as oversize; ESP webhook events are well below 4 KiB."""

MIN_TIME_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z; earlier event times are mistakes (zero, seconds for milliseconds)."""
MAX_TIME_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z; later event times are mistakes (microseconds for milliseconds)."""
MAX_WINDOW_MS: Final = 14 * 24 * 3_600_000
"""The longest window a request may ask about; scores repeat weekly, an answer lists its slots."""

CONTENT_LIMITS: Final[dict[str, int]] = {
    "subject_length": 1_000,
    "words": 65_535,
    "links": 10_000,
    "clickable_images": 10_000,
    "unclickable_images": 10_000,
}
"""Content measures of a message and their largest allowed value; the smallest is 0."""
CONTENT_FIELDS: Final[tuple[str, ...]] = tuple(CONTENT_LIMITS)
MAX_IMAGE_SIDE: Final = 100_000
"""Pixels, added up over a message's images."""

MAX_USER_AGENT: Final = 2_048
"""Characters; the longest that are met, of old Outlooks and of browsers within apps, have 600."""

# "(?!\n)$" ends every pattern: Python's "$" alone would let a trailing newline through, and the
# same text must mean the same to the readers of the JSON Schema.
Version = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,3}\.[0-9]{1,4}(?!\n)$", description="major.minor")
]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?!\n)$")]
Identifier = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]+(?!\n)$",
        description="any text without control characters",
    ),
]
RecipientId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{32}(?!\n)$",
        description="keyed hash of the address: HMAC-SHA-256, first 128 bits, hex",
    ),
]
TimeMs = Annotated[
    int, Meta(ge=MIN_TIME_MS, le=MAX_TIME_MS, description="milliseconds since 1970, UTC")
]
ZoneName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_+\-/]{1,64}(?!\n)$", description="IANA time zone")
]
ProviderName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9.-]{0,63}(?!\n)$",
        description="domain or short name in lower case, as gmail.com; never an address",
    ),
]
ImageSide = Annotated[int, Meta(ge=0, le=MAX_IMAGE_SIDE, description="pixels")]
Revenue = Annotated[float, Meta(ge=0, le=10_000_000, description="in the client's own currency")]
Probability = Annotated[float, Meta(ge=0, le=1)]
HourOfWeek = Annotated[int, Meta(ge=0, le=167, description="0 is Monday 00:00, local time")]

EngagementKind = Literal[
    "delivered", "open", "click", "bounce", "unsubscribe", "complaint", "conversion"
]
ENGAGEMENT_KINDS: Final[tuple[str, ...]] = (
    "delivered",
    "open",
    "click",
    "bounce",
    "unsubscribe",
    "complaint",
    "conversion",
)
"""Position in this tuple is the `kind` code of `EngagementBatch`."""


class SendEvent(Struct, kw_only=True, frozen=True):
    """`email.sends`: one message handed to a mailbox provider. Its `id` is the message's id.

    Since 1.1: `subject`, which is made numbers at the gate and kept nowhere; `variant`, which of
    its campaign's declared variants the message is; and its images: their width and height, a tag
    of what they show, and whether they were augmented or are as they were taken.

    Since 1.2: `mailbox_provider`, who keeps the recipient's mailbox. Only providers of the list in
    `events.mailbox` are told apart; any other domain, which might be a person's, is "other".
    """

    version: Version = SEND_VERSION
    source: Name
    id: Identifier
    client_id: Name
    recipient_id: RecipientId
    event_time_ms: TimeMs
    campaign_id: Name | None = None
    segment: Name | None = None
    timezone: ZoneName | None = None
    mailbox_provider: ProviderName | None = None
    subject_length: Annotated[int, Meta(ge=0, le=CONTENT_LIMITS["subject_length"])] | None = None
    words: Annotated[int, Meta(ge=0, le=CONTENT_LIMITS["words"])] | None = None
    links: Annotated[int, Meta(ge=0, le=CONTENT_LIMITS["links"])] | None = None
    clickable_images: Annotated[int, Meta(ge=0, le=CONTENT_LIMITS["clickable_images"])] | None = (
        None
    )
    unclickable_images: (
        Annotated[int, Meta(ge=0, le=CONTENT_LIMITS["unclickable_images"])] | None
    ) = None
    subject: Annotated[str, Meta(max_length=MAX_SUBJECT)] | None = None
    variant: Name | None = None
    image_width: ImageSide | None = None
    image_height: ImageSide | None = None
    augmented: bool | None = None
    angle: Name | None = None


class EngagementEvent(Struct, kw_only=True, frozen=True):
    """`email.engagements`: what became of a message. `message_id` is the send's `id`.

    machine: whether the provider takes it for a machine's doing, as far as it says.

    Since 1.1: `user_agent`, of the request that opened or clicked. If it is a machine's, the event
    is one; that is read at the gate, and the text is kept nowhere.
    """

    version: Version = ENGAGEMENT_VERSION
    source: Name
    id: Identifier
    client_id: Name
    recipient_id: RecipientId
    event_time_ms: TimeMs
    message_id: Identifier
    kind: EngagementKind
    machine: bool | None = None
    revenue: Revenue | None = None
    user_agent: Annotated[str, Meta(max_length=MAX_USER_AGENT)] | None = None


class SendRequest(Struct, kw_only=True, frozen=True):
    """`email.requests`: asks when, inside this window, this recipient should get the message."""

    version: Version = VERSION
    source: Name
    id: Identifier
    client_id: Name
    recipient_id: RecipientId
    event_time_ms: TimeMs
    window_start_ms: TimeMs
    window_end_ms: TimeMs
    timezone: ZoneName | None = None
    segment: Name | None = None


class SlotScore(Struct, kw_only=True, frozen=True):
    """One hour of the window and its score."""

    send_at_ms: TimeMs
    hour_of_week: HourOfWeek
    open_probability: Probability


class PredictionMessage(Struct, kw_only=True, frozen=True):
    """`ml.predictions`: the answer to one request. `id` equals the request's, so is repeatable.

    open_probability: by the open-propensity model. slot_probability: by send time, of the chosen
    slot, with its 95% credible interval. propensity: exact probability of that slot under the
    policy in force, for off-policy evaluation. slots: those of the window with the highest scores.
    """

    version: Version = VERSION
    source: Name
    id: Identifier
    client_id: Name
    recipient_id: RecipientId
    requested_at_ms: TimeMs
    send_at_ms: TimeMs
    open_probability: Probability
    slot_probability: Probability
    interval: tuple[Probability, Probability]
    arm: Literal["control", "explore", "optimised"]
    propensity: Annotated[float, Meta(gt=0, le=1)]
    slots: list[SlotScore]
    tier: Literal["recipient", "segment", "client", "all", "prior"]
    reason: str
    effective_sends: Annotated[float, Meta(ge=0)]
    model_version: int
    newest_event_ms: int


class MetricMessage(Struct, kw_only=True, frozen=True):
    """`ml.metrics`: one number about one window of one client's model or source.

    `id` is made of the series and the window, so that a reader can drop a repeated one.
    `partition`: of the input topics, where a number is of that partition's events only.
    """

    version: Version = VERSION
    id: Identifier
    client_id: Name
    model: Name | None = None
    feature: Name | None = None
    metric: Name
    convention: Name | None = None
    value: float | None
    partition: int | None = None
    p_value: Probability | None = None
    n_reference: int | None = None
    n_current: int | None = None
    window_start_ms: int
    window_end_ms: int
    as_of_ms: int


class AlertMessage(Struct, kw_only=True, frozen=True):
    """`ml.alerts`: something a person should look at, with the numbers that say so."""

    version: Version = VERSION
    id: Identifier
    client_id: Name
    model: Name | None = None
    feature: Name | None = None
    metric: Name
    state: Literal["firing", "resolved"]
    severity: Literal["warning", "critical"]
    value: float
    threshold: float
    p_value: Probability | None = None
    since_ms: int
    as_of_ms: int
    description: str


class ModelHeader(Struct, kw_only=True, frozen=True):
    """`ml.models`: meta of the packed columns that are one client's model state.

    `learned`: label rows it has learned. `newest_event_ms`: the newest of these. `columns`: names
    of the packed columns, which depend on the model's kind.
    """

    version: Version = VERSION
    client_id: Name
    model: Name
    kind: Name
    model_version: Annotated[int, Meta(ge=0)]
    learned: Annotated[int, Meta(ge=0)]
    newest_event_ms: int
    columns: list[str]


class ExampleHeader(Struct, kw_only=True, frozen=True):
    """`ml.examples`: meta of the packed columns that are one block of training rows.

    `clients`, `segments`: what the columns of these names index; `segments` starts with "".
    """

    version: Version = VERSION
    kind: Literal["exposure", "label"]
    clients: list[Name]
    segments: list[str]


class DeadLetterHeaders(Struct, kw_only=True, frozen=True):
    """`email.dead-letters`: the record's value is the original bytes; these are its headers."""

    version: Version = VERSION
    reason: Literal[
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
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
