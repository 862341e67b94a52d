"""Subject, variant and images of sends: each distinct combination of a chunk is read once.

Many sends share a creative, so a row first looks whether its combination (text of the subject,
campaign, variant, images) was met in this chunk. Subjects that are not plain ASCII are left to
`events.creative.subject_traits`, one call for each distinct one. No text outlives the chunk.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.creative import (
    ANGLES,
    CREATIVE,
    FORM,
    MAX_SUBJECT,
    NO_PLACE,
    TOKENS,
    read_plain_subject,
    subject_traits,
)
from sendtide.events.hashing import find_slot, hash_bytes, mix
from sendtide.events.messages import MAX_IMAGE_SIDE, SendEvent
from sendtide.gate.fields import read_flags, read_integers, read_names, read_texts
from sendtide.gate.scan import ABSENT, ASCII, BLOCK

__all__ = ["CREATIVE_FIELDS", "Drafts", "Traits", "read_creatives"]

_SENDS: Final = SendEvent.__struct_fields__
CREATIVE_FIELDS: Final = _SENDS[_SENDS.index("subject") :]
"""Fields of a send that only its creative is made of."""
_SUBJECT, _VARIANT, _WIDTH, _HEIGHT, _AUGMENTED, _ANGLE = range(len(CREATIVE_FIELDS))
_CLICKABLE, _UNCLICKABLE = 3, 4
"""Columns of a send's content."""
_FACTS: Final = ("clickable_images", "unclickable_images", "kilopixels", "augmented", "angle")


Traits: TypeAlias = tuple[NDArray[np.uint16], NDArray[np.uint8]]
_KNOWN: Final = 8_192
"""Odd subjects whose numbers a gate remembers, by a hash of their text."""


class Drafts(NamedTuple):
    """Distinct creatives of a chunk of n sends, in the order they were met.

    number: (n,) of each row's creative, from 1 on, 0 for none. keys, held: (slots,) open-addressed
    hashes of what makes a creative, and its number. places: (n, TOKENS), form: (n, FORM), variant:
    (n,), facts: (n, 5), of creatives. odd: (n, 2) span of a subject still to be read, end 0 if
    there is none. met: (1,) how many.
    """

    number: NDArray[np.int64]
    keys: NDArray[np.uint64]
    held: NDArray[np.int64]
    places: NDArray[np.uint16]
    form: NDArray[np.uint8]
    variant: NDArray[np.uint64]
    facts: NDArray[np.int64]
    odd: NDArray[np.int64]
    met: NDArray[np.int64]

    @classmethod
    def room_for(cls, rows: int) -> Drafts:
        """Room for as many creatives as rows; what is never written costs no memory."""
        slots = 64
        while slots < 2 * rows:
            slots *= 2
        return cls(
            np.zeros(rows, np.int64),
            np.zeros(slots, np.uint64),
            np.empty(slots, np.int64),
            np.empty((rows, TOKENS), np.uint16),
            np.empty((rows, len(FORM)), np.uint8),
            np.empty(rows, np.uint64),
            np.empty((rows, len(_FACTS)), np.int64),
            np.empty((rows, 2), np.int64),
            np.zeros(1, np.int64),
        )

    def rows(self, data: NDArray[np.uint8], known: dict[int, Traits]) -> NDArray[np.void]:
        """The creatives as CREATIVE rows, number 1 first.

        data: the chunk's bytes. known: what was made of odd subjects before, by hash.
        """
        count = int(self.met[0])
        for i in np.flatnonzero(self.odd[:count, 1]).tolist():
            start, end = self.odd[i].tolist()
            code = int(hash_bytes(data, start, end, np.uint64(0)))
            if code not in known:
                if len(known) >= _KNOWN:
                    known.clear()
                known[code] = subject_traits(data[start:end].tobytes().decode())
            self.places[i], self.form[i] = known[code]
        rows = np.zeros(count, CREATIVE)
        rows["places"], rows["form"] = self.places[:count], self.form[:count]
        rows["variant"] = self.variant[:count]
        for k, name in enumerate(_FACTS):
            rows[name] = self.facts[:count, k]
        return rows


@njit(cache=True)
def _any_given(found: Any, which: int, count: int) -> bool:
    """Whether any of the records has any of the fields from `which` on."""
    tags = found.tags
    for row in range(count):
        for k in range(which, tags.shape[1]):
            if tags[row, k] != ABSENT:
                return True
    return False


@njit(cache=True)
def _facts(content: Any, sides: Any, augmented: Any, angle: Any, row: int) -> Any:
    """What a variant's images are, in the order of _FACTS; see `events.creative.creative_of`."""
    clickable, unclickable = content[row, _CLICKABLE], content[row, _UNCLICKABLE]
    width, height = sides[row, 0], sides[row, 1]
    pixels = 0.0 if np.isnan(width) or np.isnan(height) else float(width) * float(height)
    return (
        0 if np.isnan(clickable) else np.int64(min(clickable, 255)),
        0 if np.isnan(unclickable) else np.int64(min(unclickable, 255)),
        np.int64(min(pixels // 1000, 65_535)),
        np.int64(augmented[row]),
        0 if angle[row] == 0 else np.int64(1 + angle[row] % np.uint64(ANGLES)),
    )


@njit(cache=True)
def _draft(data: Any, span: Any, ascii_only: bool, subject: Any, number: int, drafts: Any) -> None:
    """Read the subject of a creative met for the first time."""
    places, form, odd = drafts.places[number], drafts.form[number], drafts.odd[number]
    places[:], form[:], odd[1] = NO_PLACE, 0, 0
    if subject and not (ascii_only and read_plain_subject(data, span[0], span[1], places, form)):
        odd[0], odd[1] = span[0], span[1]


@njit(cache=True)
def read_creatives(
    data: Any, found: Any, first_field: int, campaigns: Any, content: Any, drafts: Any, start: int
) -> None:
    """Number the creatives of a block's sends that are sure; its first row is `start`."""
    count = len(content)
    if not _any_given(found, first_field, count):
        return
    subjects, variants = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    angles, augmented = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint8)
    sides = np.empty((BLOCK, 2), np.float64)
    read_texts(data, found, first_field + _SUBJECT, MAX_SUBJECT, False, subjects[:count])
    read_names(data, found, first_field + _VARIANT, True, variants[:count])
    read_integers(data, found, first_field + _WIDTH, MAX_IMAGE_SIDE, sides[:count, 0])
    read_integers(data, found, first_field + _HEIGHT, MAX_IMAGE_SIDE, sides[:count, 1])
    read_flags(found, first_field + _AUGMENTED, augmented[:count])
    read_names(data, found, first_field + _ANGLE, True, angles[:count])
    spans, flags, sure = found.spans, found.flags, found.sure
    for row in range(count):
        if sure[row] == 0 or (subjects[row] == 0 and variants[row] == 0):
            continue
        key, variant, facts = subjects[row], np.uint64(0), (0, 0, 0, 0, 0)
        if variants[row]:
            span = spans[row, first_field + _VARIANT]
            variant = hash_bytes(data, span[0], span[1], campaigns[row])
            facts = _facts(content, sides, augmented, angles, row)
            key = mix(key ^ mix(variant))
            for k in range(len(facts)):
                key = mix(key ^ np.uint64(facts[k] + 1))
        key = key if key != np.uint64(0) else np.uint64(1)
        slot = find_slot(drafts.keys, key)
        if drafts.keys[slot] == np.uint64(0):
            number = drafts.met[0]
            drafts.keys[slot], drafts.held[slot] = key, number + 1
            drafts.met[0], drafts.variant[number] = number + 1, variant
            for k in range(len(facts)):
                drafts.facts[number, k] = facts[k]
            field = first_field + _SUBJECT
            plain = flags[row, field] & ASCII != 0
            _draft(data, spans[row, field], plain, subjects[row], number, drafts)
        drafts.number[start + row] = drafts.held[slot]
