"""Strings in columns are the strings they were made of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.texts import Texts

STRINGS = st.lists(st.text(max_size=8), max_size=12)


@given(STRINGS, st.data())
def test_texts_are_a_list_of_strings(strings, data):
    """Whole, one by one, in parts, selected, joined, and gathered from among other bytes."""
    texts = Texts.of(strings)
    assert (list(texts), len(texts)) == (strings, len(strings))
    assert texts[1:3] == strings[1:3]
    keep = data.draw(st.lists(st.booleans(), min_size=len(strings), max_size=len(strings)))
    chosen = texts.selected(np.array(keep, bool))
    assert list(chosen) == [string for string, kept in zip(strings, keep, strict=True) if kept]
    assert list(Texts.joined([texts, chosen])) == [*strings, *chosen]
    rows = np.flatnonzero(keep)
    others = data.draw(st.lists(st.text(max_size=5), min_size=len(rows), max_size=len(rows)))
    expected = list(strings)
    for row, other in zip(rows.tolist(), others, strict=True):
        expected[row] = other
    assert list(texts.replaced(rows, others)) == expected
    around = np.concatenate([np.full(3, 255, np.uint8), texts.data])
    spans = np.stack([texts.starts[:-1], texts.starts[1:]], axis=1) + 3
    assert list(Texts.gathered(around, spans)) == strings
