"""What a message is made of, in 69 bytes without text: its subject, its variant, its images.

A subject may hold a name, so its text ends at the gate. What goes on are the places of its words,
and of the trigrams inside them, among `BUCKETS` (many words share each: a place cannot be turned
back), and its form in 255ths. Words with four digits or more count as one word: an order's number
teaches nothing and would make every subject another one. A variant is a hash of its campaign and
name. Creatives are few and sends many, so rows carry a creative's code, the hash of its bytes.

The compiled reader takes plain ASCII; everything else (case folding, NFKC, placeholders) goes
through `subject_traits`, which is the rule. Both give the same numbers.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import hash_bytes, hash_identity, hash_text

__all__ = ["ANGLES", "BUCKETS", "CREATIVE", "FORM", "MAX_SUBJECT", "NO_PLACE", "TOKENS"]
__all__ += [
    "Creatives",
    "codes_of",
    "creative_of",
    "read_plain_subject",
    "subject_tokens",
    "subject_traits",
]

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]

MAX_SUBJECT: Final = 998
"""Characters; the longest line RFC 5322 allows (2.1.1)."""
BUCKETS: Final = 4_096
TOKENS: Final = 24
"""Places kept of a subject: its words first, then trigrams, in their order."""
NO_PLACE: Final = 65_535
FORM: Final = ("length", "words", "emoji", "digits", "punctuation", "capitals", "personalised")
ANGLES: Final = 8
_WORD_SEED: Final = 1
_TRIGRAM_SEED: Final = 2
_NUMBER: Final = "#"
_NUMBER_DIGITS: Final = 4
_MOST: Final = (200, 20, 3, 10)
"""Where length, words, emoji and punctuation stop counting."""
_MANY_DIGITS: Final = re.compile(rf"(?:\d\D*){{{_NUMBER_DIGITS}}}")
_WORD: Final = re.compile(r"\w+", re.UNICODE)
_PLACEHOLDER: Final = re.compile(r"\{\{.*?\}\}|\*\|.*?\|\*|%%.*?%%|\[\[.*?\]\]")

CREATIVE: Final = np.dtype(
    [
        ("places", "<u2", (TOKENS,)),  # rising, NO_PLACE after the last
        ("form", "u1", (len(FORM),)),
        ("augmented", "u1"),  # 0 unknown, 1 original, 2 augmented
        ("variant", "<u8"),  # hash of campaign and name, 0 if the send has no variant
        ("clickable_images", "u1"),
        ("unclickable_images", "u1"),
        ("kilopixels", "<u2"),
        ("angle", "u1"),  # 0 none, else 1 + its hash modulo ANGLES
    ]
)
"""A creative without a subject has no places and form 0; image facts are only of variants."""


@dataclass(frozen=True, slots=True, eq=False)
class Creatives:
    """Distinct creatives. codes: (m,) rising hashes of their bytes. rows: (m,) CREATIVE."""

    codes: U64
    rows: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, rows: NDArray[np.void]) -> Creatives:
        """Those among n rows, each once."""
        codes, first = np.unique(codes_of(rows), return_index=True)
        return cls(codes, rows[first])

    @classmethod
    def none(cls) -> Creatives:
        """No creative."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, CREATIVE))


def codes_of(rows: NDArray[np.void]) -> U64:
    """(m,) hashes of CREATIVE rows; never 0."""
    size = CREATIVE.itemsize
    codes: U64 = _codes(np.frombuffer(rows.tobytes(), np.uint8).reshape(len(rows), size))
    return codes


@njit(cache=True)
def _codes(data: Any) -> Any:
    out = np.empty(len(data), np.uint64)
    for i in range(len(data)):
        out[i] = hash_bytes(data[i], 0, data.shape[1], np.uint64(0))
    return out


def subject_tokens(subject: str) -> list[tuple[str, int]]:
    """Words, then trigrams inside words of four letters and more, with their places; each once.

    Raises:
        ValueError: longer than MAX_SUBJECT, or with lone surrogates, which are no text.
    """
    if len(subject) > MAX_SUBJECT:
        msg = f"subject of {len(subject)} characters; at most {MAX_SUBJECT}"
        raise ValueError(msg)
    subject.encode()  # a lone surrogate is a UnicodeEncodeError, itself a ValueError
    folded = unicodedata.normalize("NFKC", _PLACEHOLDER.sub(" ", subject)).casefold()
    words = [_NUMBER if _MANY_DIGITS.search(word) else word for word in _WORD.findall(folded)]
    parts = [word[k : k + 3] for word in words if len(word) > 3 for k in range(len(word) - 2)]
    tokens = [(word, _WORD_SEED) for word in dict.fromkeys(words)]
    tokens += [(part, _TRIGRAM_SEED) for part in dict.fromkeys(parts)]
    coded = [token.encode() for token, _ in tokens]
    data: U8 = np.frombuffer(b"".join(coded) or b" ", np.uint8)
    ends = np.cumsum([0, *map(len, coded)])
    places = _places(data, ends, np.array([seed for _, seed in tokens], np.uint64))
    return [(token, place) for (token, _), place in zip(tokens, places.tolist(), strict=True)]


@njit(cache=True)
def _places(data: Any, ends: Any, seeds: Any) -> Any:
    out = np.empty(len(seeds), np.int64)
    for i in range(len(seeds)):
        out[i] = hash_bytes(data, ends[i], ends[i + 1], seeds[i]) % np.uint64(BUCKETS)
    return out


def subject_traits(subject: str) -> tuple[U16, U8]:
    """Return (TOKENS,) places and (len(FORM),) form of a subject, as in CREATIVE.

    Raises:
        ValueError: as `subject_tokens`.
    """
    kept = sorted(list(dict.fromkeys(place for _, place in subject_tokens(subject)))[:TOKENS])
    places = np.full(TOKENS, NO_PLACE, np.uint16)
    places[: len(kept)] = kept
    kinds = list(map(unicodedata.category, subject))
    groups = [kind[0] for kind in kinds]
    counts = len(subject), len(_WORD.findall(subject)), kinds.count("So"), groups.count("P")
    length, words, emoji, punctuation = (
        255 * min(count, most) // most for count, most in zip(counts, _MOST, strict=True)
    )
    digits = 255 * kinds.count("Nd") // max(len(subject), 1)
    capitals = 255 * kinds.count("Lu") // max(groups.count("L"), 1)
    personalised = 255 * bool(_PLACEHOLDER.search(subject))
    form = [length, words, emoji, digits, punctuation, capitals, personalised]
    return places, np.array(form, np.uint8)


_IS_WORD, _IS_DIGIT, _IS_LETTER, _IS_UPPER, _IS_MARK = 1, 2, 4, 8, 16


def _classes() -> U8:
    """What each ASCII character is, by the same rules as `subject_traits`; 0 for all others."""
    table = np.zeros(256, np.uint8)
    for byte in range(0x20, 0x7F):
        c = chr(byte)
        table[byte] = (
            _IS_WORD * bool(_WORD.match(c))
            | _IS_DIGIT * c.isdecimal()
            | _IS_LETTER * c.isalpha()
            | _IS_UPPER * c.isupper()
            | _IS_MARK * unicodedata.category(c).startswith("P")
        )
    return table


_CLASSES: Final = _classes()


@njit(cache=True)
def _opens_placeholder(data: Any, at: int) -> bool:
    """Whether one of {{, *|, %%, [[ stands here."""
    one, two = data[at], data[at + 1]
    same = one == two and (one == 0x7B or one == 0x25 or one == 0x5B)
    return bool(same or (one == 0x2A and two == 0x7C))


@njit(cache=True)
def _keep(places: Any, count: int, place: Any) -> int:
    """Put a place among the `count` rising ones if it is new; return how many there are."""
    at = count
    for k in range(count):
        if places[k] == place:
            return count
        if places[k] > place:
            at = k
            break
    for k in range(count, at, -1):
        places[k] = places[k - 1]
    places[at] = place
    return count + 1


@njit(cache=True)
def _words_of(data: Any, start: int, end: int, folded: Any, ends: Any) -> int:
    """Copy the words in lower case one after another, numbers as one sign; return how many."""
    count, at, i = 0, 0, start
    while i < end:
        if _CLASSES[data[i]] & _IS_WORD == 0:
            i += 1
            continue
        first, digits = at, 0
        while i < end and _CLASSES[data[i]] & _IS_WORD:
            digits += (_CLASSES[data[i]] & _IS_DIGIT) // _IS_DIGIT
            folded[at] = data[i] + (32 if _CLASSES[data[i]] & _IS_UPPER else 0)
            at += 1
            i += 1
        if digits >= _NUMBER_DIGITS:
            folded[first] = 0x23
            at = first + 1
        ends[count] = at
        count += 1
    return count


@njit(cache=True)
def read_plain_subject(data: Any, start: int, end: int, places: Any, form: Any) -> bool:
    """As `subject_traits`, of printable ASCII `data[start:end]`; False if it is not for sure.

    It is not where a placeholder may open. places: (TOKENS,) and form: (len(FORM),) are filled.
    """
    size = end - start
    letters, upper, digits, marks = 0, 0, 0, 0
    for i in range(start, end):
        kind = _CLASSES[data[i]]
        letters += (kind & _IS_LETTER) // _IS_LETTER
        upper += (kind & _IS_UPPER) // _IS_UPPER
        digits += (kind & _IS_DIGIT) // _IS_DIGIT
        marks += (kind & _IS_MARK) // _IS_MARK
        if i + 1 < end and _opens_placeholder(data, i):
            return False
    folded, ends = np.empty(size + 1, np.uint8), np.empty(size // 2 + 1, np.int64)
    words = _words_of(data, start, end, folded, ends)
    count, first = 0, 0
    for w in range(words):
        if count < TOKENS:
            code = hash_bytes(folded, first, ends[w], np.uint64(_WORD_SEED))
            count = _keep(places, count, np.uint16(code % np.uint64(BUCKETS)))
        first = ends[w]
    first = 0
    for w in range(words):
        for k in range(first, ends[w] - 2 if ends[w] - first > 3 else first):
            if count < TOKENS:
                code = hash_bytes(folded, k, k + 3, np.uint64(_TRIGRAM_SEED))
                count = _keep(places, count, np.uint16(code % np.uint64(BUCKETS)))
        first = ends[w]
    places[count:] = NO_PLACE
    form[0] = 255 * min(size, _MOST[0]) // _MOST[0]
    form[1] = 255 * min(words, _MOST[1]) // _MOST[1]
    form[2] = 0
    form[3] = 255 * digits // max(size, 1)
    form[4] = 255 * min(marks, _MOST[3]) // _MOST[3]
    form[5] = 255 * upper // max(letters, 1)
    form[6] = 0
    return True


def creative_of(
    *,
    subject: str | None = None,
    variant: str | None = None,
    campaign: str | None = None,
    clickable_images: int | None = None,
    unclickable_images: int | None = None,
    image_width: int | None = None,
    image_height: int | None = None,
    augmented: bool | None = None,
    angle: str | None = None,
) -> NDArray[np.void]:
    """(1,) CREATIVE of a message that has a subject, a variant, or both.

    Raises:
        ValueError: as `subject_tokens`.
    """
    row = np.zeros(1, CREATIVE)
    row["places"] = NO_PLACE
    if subject:
        row["places"], row["form"] = subject_traits(subject)
    if variant is not None:
        row["variant"] = hash_identity(campaign, variant) if campaign else hash_text(variant)
        row["clickable_images"] = min(clickable_images or 0, 255)
        row["unclickable_images"] = min(unclickable_images or 0, 255)
        row["kilopixels"] = min((image_width or 0) * (image_height or 0) // 1000, 65_535)
        row["augmented"] = 0 if augmented is None else 1 + augmented
        row["angle"] = 1 + hash_text(angle) % ANGLES if angle else 0
    return row
