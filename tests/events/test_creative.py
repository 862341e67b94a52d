"""Subjects become numbers alike by both readers, and no text can be read back out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendtide.events.creative import (
    BUCKETS,
    CREATIVE,
    FORM,
    NO_PLACE,
    TOKENS,
    Creatives,
    codes_of,
    creative_of,
    read_plain_subject,
    subject_tokens,
    subject_traits,
)

ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=120)


def _read(subject: str):
    """By the compiled reader, with other bytes around."""
    data = np.frombuffer(b'"' + subject.encode() + b'"', np.uint8)
    places, form = np.zeros(TOKENS, np.uint16), np.zeros(len(FORM), np.uint8)
    return read_plain_subject(data, 1, len(data) - 1, places, form), places, form


@given(ASCII)
@example("SALE: 50% off, order #12345678 (a_b) 007")
@example("a ab abc abcd " * 8)
@example("{ { %a% [x] *y* ~$^`|<=>+")
def test_the_compiled_reader_follows_the_rule(subject):
    """The same places and form, or it says that it is not sure."""
    sure, places, form = _read(subject)
    expected = subject_traits(subject)
    if sure:
        assert places.tolist() == expected[0].tolist()
        assert form.tolist() == expected[1].tolist()
    else:
        assert any(mark in subject for mark in ("{{", "*|", "%%", "[["))


@pytest.mark.parametrize("subject", ["Hi {{name}}", "Hi *|NAME|*", "Hi %%name%%", "Hi [[name]]"])
def test_a_placeholder_is_a_mark_of_form_and_no_word(subject):
    """Whoever it stands for is no word of the subject."""
    assert not _read(subject)[0]
    assert [token for token, _ in subject_tokens(subject)] == ["hi"]
    assert subject_traits(subject)[1][FORM.index("personalised")] == 255
    assert subject_traits("Hi")[1][FORM.index("personalised")] == 0


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_becomes_numbers_in_range(subject):
    """Any Unicode: right-to-left, joined emoji, controls; places rise, each once."""
    places, _ = subject_traits(subject)
    kept = places[places != NO_PLACE].tolist()
    assert kept == sorted(set(kept))
    assert all(place < BUCKETS for place in kept)


def test_case_form_of_letters_and_order_numbers_make_no_other_words():
    """Folded, composed alike; numbers of four digits and more are one word."""
    one = subject_traits("Straße ﬁne order 123456")[0].tolist()
    assert subject_traits("STRASSE FINE ORDER 987654321")[0].tolist() == one
    assert subject_traits("strasse fine order 12")[0].tolist() != one


def test_thousands_of_words_share_a_place():
    """So a place does not name its word: of some 100,000 words none has a place of its own."""
    places = [place for text in _words(200_000) for token, place in subject_tokens(text)
              if len(token) > 3]  # fmt: skip
    counts = np.bincount(places, minlength=BUCKETS)
    assert counts.min() >= 5


def _words(count: int) -> list[str]:
    return [" ".join(f"w{i:x}" for i in range(k, k + 100)) for k in range(4096, 4096 + count, 100)]


def test_a_creative_is_known_by_all_it_is_made_of():
    """Every part changes the code; the same parts give the same."""
    parts = {
        "subject": "Hello", "variant": "a", "campaign": "may", "clickable_images": 2,
        "unclickable_images": 1, "image_width": 640, "image_height": 480, "augmented": True,
        "angle": "front",
    }  # fmt: skip
    made = [creative_of(**parts), creative_of(**parts)]
    made += [creative_of(**{**parts, name: None}) for name in parts if name != "variant"]
    made.append(creative_of(subject="Hello"))
    codes = codes_of(np.concatenate(made))
    assert codes[0] == codes[1]
    assert len(set(codes.tolist())) == len(codes) - 1 - 1  # without a height no width counts
    kept = Creatives.of(np.concatenate(made))
    assert kept.codes.tolist() == sorted(set(codes.tolist()))
    assert codes_of(kept.rows).tolist() == kept.codes.tolist()
    assert kept.rows.dtype == CREATIVE
