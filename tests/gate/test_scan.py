"""The scanner's parts against Python's own: UTF-8, numbers, nesting."""

import json
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.gate.scan import (
    SENTINEL,
    STRING,
    Fields,
    Found,
    nesting_depth,
    parse_decimal,
    parse_integer,
    scan_block,
)

_FIELDS = Fields.of(("a", "event_time_ms", "unclickable_images"))
TEXT_WITH_ESCAPES = re.compile(r'(?:[^"\\\x00-\x1f\x7f]|\\["\\/bfnrt])*')
FOUND = Found.room_for(_FIELDS)


def scan(text):
    """Scan one record; return what was found, row 0, until the next call."""
    found = FOUND
    found.sure[:] = 2
    data = np.frombuffer(text + SENTINEL, np.uint8)
    scan_block(data, np.array([0, len(text)], np.int64), _FIELDS, found)
    return found


ESCAPES = st.sampled_from(
    [b"\\/", b'\\"', b"\\\\", b"\\n", b"\\u0041", b"\\x", b"\\", "ż".encode()]
)


@given(st.lists(st.one_of(ESCAPES, st.binary(max_size=6)), max_size=4).map(b"".join))
def test_a_string_is_taken_if_and_only_if_it_is_text_with_plain_escapes(raw):
    """UTF-8 as Python decodes it, without control characters; of the escapes not that by number."""
    found = scan(b'{"a":"' + raw + b'"}')
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = None
    plain = text is not None and TEXT_WITH_ESCAPES.fullmatch(text) is not None
    assert bool(found.sure[0]) == plain
    if plain:
        assert found.tags[0, 0] == STRING
        assert json.loads(f'"{text}"', strict=False) == text or found.flags[0, 0] == 0
        assert found.spans[0, 0].tolist() == [6, 6 + len(raw)]


def test_utf8_is_judged_as_python_judges_it_at_every_border():
    """All lead bytes, with the second bytes around each limit of well-formed sequences."""
    for lead in range(0x80, 0x100):
        for second in (0x7E, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0):
            for tail in (b"", b"\x80", b"\xbf\x80", b"\x80\xc0", b"\x80\x80\x80"):
                raw = bytes([lead, second]) + tail
                try:
                    raw.decode()
                except UnicodeDecodeError:
                    well_formed = False
                else:
                    well_formed = True
                assert bool(scan(b'{"a":"' + raw + b'"}').sure[0]) == well_formed, raw


@given(st.dictionaries(st.text("abc_é", max_size=4), st.integers() | st.booleans() | st.none()))
def test_whatever_is_taken_is_json(record):
    """And every declared name that stands there is found."""
    text = json.dumps(record, ensure_ascii=False).encode()
    found = scan(text)
    if found.sure[0]:
        assert (found.tags[0, 0] != 0) == ("a" in record)
    else:
        assert any(not name.isascii() for name in record) or not record


@given(st.integers(0, 10**15 - 1))
def test_integers_of_fifteen_digits_are_read_exactly(value):
    """And longer ones are left to the authority."""
    for text, read in ((str(value), value), ("9" * 16, -1), ("-1", -1)):
        data = np.frombuffer(text.encode(), np.uint8)
        assert parse_integer(data, 0, len(data)) == read


@given(st.integers(0, 10**15 - 1), st.integers(0, 15))
def test_decimals_are_the_nearest_double(value, places):
    """Fifteen digits divided by a power of ten: one rounding, the same as Python's."""
    digits = str(value).rjust(places + 1, "0")[-15:].rjust(places + 1, "0")
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}".rstrip(".")
    data = np.frombuffer(text.encode(), np.uint8)
    read = parse_decimal(data, 0, len(data))
    assert read in (float(text), -1.0)
    if len(digits) <= 15:
        assert read == float(text)


def test_nesting_counts_brackets_outside_strings_only():
    """Quotes, escapes and cut-off strings included."""
    for text, depth in {
        b"": 0,
        b"{}": 1,
        b'{"a":[[]]}': 3,
        b'{"a":"[[[["}': 1,
        b'{"a":"\\"[[["}': 1,
        b'{"a":"[[': 1,
        b"[]" * 50: 1,
    }.items():
        assert nesting_depth(np.frombuffer(text, np.uint8)) == depth
