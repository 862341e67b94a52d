"""The tables are dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.state import SeenSet
from sendtide.state.index import EMPTY, delete, find, fitting, insert, new_table
from sendtide.state.seen import admit

steps = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=300)


@given(steps)
def test_a_table_behaves_like_a_dictionary(operations):
    """Insertions and deletions in any order leave what a dict would hold."""
    table, model = new_table(0), {}
    for number, (adds, key) in enumerate(operations):
        if adds:
            table = fitting(table, len(model) + 1)
            insert(*table, np.uint64(key), np.int32(number))
            model[key] = number
        else:
            delete(*table, np.uint64(key))
            model.pop(key, None)

    assert {k: find(*table, np.uint64(k)) for k in range(1, 41)} == {
        k: model.get(k, EMPTY) for k in range(1, 41)
    }


@given(st.lists(st.integers(1, 60), max_size=200), st.integers(1, 20))
def test_a_repeat_within_the_window_is_always_caught(identities, window):
    """Caught: any of the last `window` accepted; kept: never more than twice that."""
    seen, accepted = SeenSet(window), []
    for identity in identities:
        seen.room(1)
        new = admit(np.uint64(identity), *seen.tables())
        seen.note(int(new))
        if identity in accepted[-window:]:
            assert not new
        if new:
            accepted.append(identity)
        assert sum(len(part) for part in seen.identities()) <= 2 * window


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 20), st.integers(0, 80))
def test_a_restored_set_goes_on_as_before(identities, window, cut):
    """A restart between two identities changes no verdict."""

    def verdicts(restart):
        seen, out = SeenSet(window), []
        for number, identity in enumerate(identities):
            if restart and number == cut:
                seen = SeenSet.restored(window, *seen.identities())
            seen.room(1)
            new = bool(admit(np.uint64(identity), *seen.tables()))
            seen.note(int(new))
            out.append(new)
        return out

    assert verdicts(restart=True) == verdicts(restart=False)
