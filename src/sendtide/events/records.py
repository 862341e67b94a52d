"""The packed record about one recipient: what stage A writes and every reader can decode.

304 bytes, little-endian, no padding. Everything needed to tell a stale value is inside it: when it
was scored, the newest event behind it, the offset and the epoch of the partition that wrote it.

Scores are 168 probabilities, one per hour of the week in the recipient's local time, kept as one
byte each: `P(open | sent in that hour) = score_scale * scores[hour] / 255`. The 95% credible
interval of each is that of a logit-normal, `logit(P) +- 1.96 * deviations[hour % 24] / 64`.

The last 40 bytes are what the propensities were computed from, as of `event_time_ms`, so that a
reader with the client's weights can say why (`history_of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData

__all__ = [
    "CONTROL_FLAG",
    "DEVIATION_STEPS",
    "HISTORY_FIELDS",
    "HOURS_PER_DAY",
    "HOURS_PER_WEEK",
    "RARE_TARGETS",
    "RECIPIENT_LAYOUT",
    "RECIPIENT_RECORD",
    "TIERS",
    "SlotScores",
    "decode_deviations",
    "decode_scores",
    "encode_deviations",
    "encode_scores",
    "history_of",
    "interval",
    "intervals",
    "unpack_recipients",
]

HOURS_PER_DAY: Final = 24
HOURS_PER_WEEK: Final = 168
DEVIATION_STEPS: Final = 64
"""Steps in which the deviation of a logit is kept: up to 4 by 1/64."""
_NORMAL_975: Final = 1.959964
RECIPIENT_LAYOUT: Final = 3
"""First byte of every record; a reader refuses a number it does not know."""

CONTROL_FLAG: Final = 1
"""Bit of `flags`: the recipient is of its client's control group."""

TIERS: Final = ("recipient", "segment", "client", "all", "prior")
"""Whose history carries the scores, `prior` being nobody's; position is the `tier` code."""

RARE_TARGETS: Final = ("click", "unsubscribe", "complaint", "bounce")
"""Order of `propensities`: what else may become of a message."""

RECIPIENT_RECORD: Final = np.dtype(
    [
        ("layout", "u1"),
        ("tier", "u1"),
        ("flags", "u1"),
        ("best_hour", "u1"),
        ("model_version", "<u4"),
        ("event_time_ms", "<i8"),
        ("scored_at_ms", "<i8"),
        ("applied_offset", "<i8"),
        ("epoch", "<u4"),
        ("sends", "<u4"),
        ("opens", "<u4"),
        ("effective_sends", "<f4"),
        ("open_probability", "<f4"),
        ("score_scale", "<f4"),
        ("scores", "u1", (HOURS_PER_WEEK,)),
        ("propensities", "<f4", (len(RARE_TARGETS),)),
        ("deviations", "u1", (HOURS_PER_DAY,)),
        ("segment", "<u8"),
        ("period_sends", "<u8"),
        ("period_opens", "<u8"),
        ("period", "<i4"),
        ("clicks", "<f4"),
        ("hours_since_send", "<f4"),
        ("hours_since_open", "<f4"),
    ]
)
HISTORY_FIELDS: Final = (
    *("sends", "opens", "clicks", "hours_since_send", "hours_since_open"),
    *("period_sends", "period_opens", "period"),
)
"""Fields of a record that are `examples.HISTORY_COLUMNS` under the same names."""


@dataclass(slots=True, kw_only=True)
class SlotScores:
    """Scores of n recipients.

    scores: (n, 168) probabilities. deviations: (n, 24) of their logits by hour of the day. tiers:
    (n,) codes. effective: (n,) sends behind them. versions: (n,) of the models.
    """

    scores: NDArray[np.float32]
    deviations: NDArray[np.float32]
    tiers: NDArray[np.uint8]
    effective: NDArray[np.float32]
    versions: NDArray[np.uint32]


def intervals(
    probabilities: NDArray[np.floating], deviations: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ends of the 95% credible intervals of (..., 168) probabilities; deviations: (..., 24)."""
    return interval(probabilities, np.tile(deviations, HOURS_PER_WEEK // HOURS_PER_DAY))


def interval(
    probabilities: NDArray[np.floating], deviations: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `intervals`, of probabilities of any shape and as many deviations."""
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    logit, wide = np.log(p / (1 - p)), _NORMAL_975 * deviations
    return (
        (1 / (1 + np.exp(wide - logit))).astype(np.float32),
        (1 / (1 + np.exp(-wide - logit))).astype(np.float32),
    )


def encode_deviations(deviations: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Turn (n, 24) deviations of logits into bytes; 255/64 is the largest kept."""
    steps = np.minimum(np.rint(deviations * DEVIATION_STEPS), 255)
    return np.asarray(steps, np.uint8)


def decode_deviations(records: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the (n, 24) deviations held by (n,) records."""
    return np.asarray(records["deviations"].astype(np.float32) / DEVIATION_STEPS)


def encode_scores(
    probabilities: NDArray[np.floating],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Turn (n, 168) probabilities into `(score_scale (n,), scores (n, 168))`.

    The scale is each row's largest probability, so the largest error is half of 1/255 of it.
    """
    scale = probabilities.max(axis=1).astype(np.float32)
    safe = np.where(scale > 0, scale, np.float32(1))[:, None]
    return scale, np.rint(probabilities / safe * 255).astype(np.uint8)


def decode_scores(records: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the (n, 168) float32 probabilities held by (n,) records."""
    scale = records["score_scale"].astype(np.float32) / np.float32(255)
    scores: NDArray[np.float32] = records["scores"].astype(np.float32) * scale[..., None]
    return scores


def history_of(records: NDArray[np.void]) -> dict[str, NDArray[np.generic]]:
    """Columns of what the propensities of (n,) records were computed from."""
    return {name: np.ascontiguousarray(records[name]) for name in HISTORY_FIELDS}


def unpack_recipients(data: bytes) -> NDArray[np.void]:
    """Read records written one after another; a read-only view of `data`.

    Raises:
        CorruptData: a length that is no multiple of 304, or a layout number this build cannot read.
    """
    if len(data) % RECIPIENT_RECORD.itemsize:
        msg = (
            f"{len(data)} bytes are not whole recipient records of {RECIPIENT_RECORD.itemsize} "
            "bytes; another program may have written under this key"
        )
        raise CorruptData(msg)
    records = np.frombuffer(data, RECIPIENT_RECORD)
    unknown = records["layout"][records["layout"] != RECIPIENT_LAYOUT]
    if len(unknown):
        msg = (
            f"recipient record has layout {int(unknown[0])}, this build reads {RECIPIENT_LAYOUT}; "
            "upgrade the reader"
        )
        raise CorruptData(msg)
    return records
