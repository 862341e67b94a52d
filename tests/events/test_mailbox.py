"""Mailbox providers: a closed list, and nothing of a person's own domain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.hashing import find_slot, hash_text
from sendtide.events.mailbox import (
    _CODES,
    MAILBOX_PROVIDERS,
    NOT_TOLD,
    OTHER_PROVIDER,
    PROVIDER_SLOTS,
    provider_code,
    provider_of,
)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        *(("a@gmail.com", "gmail.com"), ("a@googlemail.com", "gmail.com"), ("gmail", "gmail.com")),
        *(
            ("A@Hotmail.FR", "outlook.com"),
            ("a@live.co.uk", "outlook.com"),
            ("me.com.", "icloud.com"),
        ),
        *(("a@gmail.com.evil.example", "other"), ("a@smith.name", "other"), ("", "other")),
    ],
)
def test_aliases_are_one_provider_and_all_else_is_other(address, name):
    """Whole domains alone count, in any case."""
    assert provider_of(address) == name


@given(st.text())
def test_whatever_is_told_only_a_name_of_the_list_comes_out(text):
    """So no personal domain can."""
    assert provider_of(text) in MAILBOX_PROVIDERS[OTHER_PROVIDER:]


def test_a_name_is_its_own_alias_and_no_alias_has_two_providers():
    """Every code but that of the untold is some name's; telling nothing is not "other"."""
    assert [provider_code(name) for name in MAILBOX_PROVIDERS[1:]] == list(
        range(1, len(MAILBOX_PROVIDERS))
    )
    assert provider_code(None) == NOT_TOLD
    assert len(set(MAILBOX_PROVIDERS)) == len(MAILBOX_PROVIDERS) < 256


def test_the_compiled_table_holds_every_name():
    """At a load of less than a third, and each with its code."""
    keys, codes = PROVIDER_SLOTS
    assert 3 * np.count_nonzero(keys) < len(keys)
    for name, code in _CODES.items():
        slot = find_slot(keys, np.uint64(hash_text(name)))
        assert (keys[slot], codes[slot]) == (hash_text(name), code)
