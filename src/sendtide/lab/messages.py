"""What simulated messages are made of, and what it truly does to the log-odds of an open.

Subject and variant of a send are drawn independently by its ordinal, so that the effect of each can
be told from the other's, from the recipients' and from the hour's.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sendtide.events.wire import Field, literal, number, text
from sendtide.lab.population import mixed

__all__ = ["SUBJECTS", "VARIANTS", "MadeOf", "columns", "draw", "effects", "message_fields"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


class MadeOf(NamedTuple):
    """A variant's images, and what it adds to the log-odds."""

    name: str
    width: int
    height: int
    augmented: bool
    angle: str
    effect: float


SUBJECTS: Final = (
    ("You are invited, just for you", 0.9),
    ("🎉 Your invitation to our birthday", 0.8),
    ("A gift for you inside", 0.6),
    ("Last hours: 20% off everything", 0.2),
    ("What is new this week", 0.0),
    ("Our newsletter for members", -0.1),
    ("Changes to our terms of use", -0.8),
    ("Your statement is ready", -0.6),
)
"""Texts and what each adds to the log-odds."""
VARIANTS: Final = (
    MadeOf("hero", 1_200, 600, True, "front", 0.4),
    MadeOf("plain", 300, 200, False, "side", 0.0),
    MadeOf("gallery", 2_400, 1_600, False, "above", -0.4),
)


def draw(sends: I64, seed: int) -> tuple[I64, I64]:
    """Place in SUBJECTS and in VARIANTS of the sends with these ordinals."""
    dice = mixed(sends, seed * 4 + 5)
    subject = (dice >> np.uint64(8)) % np.uint64(len(SUBJECTS))
    variant = (dice >> np.uint64(32)) % np.uint64(len(VARIANTS))
    return subject.astype(np.int64), variant.astype(np.int64)


def effects(subject: I64, variant: I64) -> F64:
    """What both add to the log-odds of a human open."""
    by_subject = np.array([effect for _, effect in SUBJECTS])
    by_variant = np.array([made.effect for made in VARIANTS])
    return np.asarray(by_subject[subject] + by_variant[variant])


def message_fields() -> list[Field]:
    """Fields of a send's record that take the columns of `columns`."""
    return [
        text(',"subject":"', [subject for subject, _ in SUBJECTS]),
        text('","variant":"', [made.name for made in VARIANTS]),
        number('","image_width":'),
        number(',"image_height":'),
        text(',"augmented":', ("false", "true")),
        text(',"angle":"', [made.angle for made in VARIANTS]),
        literal('"'),
    ]


def columns(subject: I64, variant: I64) -> list[NDArray[Any]]:
    """What `message_fields` takes, for n sends."""
    sides = np.array([(made.width, made.height, int(made.augmented)) for made in VARIANTS])
    return [subject, variant, *sides[variant].T, variant]
