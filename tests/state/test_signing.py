"""The key of snapshots comes from the environment, or there is none."""

from __future__ import annotations

import pytest

from sendtide.events.errors import ConfigurationError
from sendtide.state import signing_key

KEY = "0123456789abcdef" * 4


def test_the_key_is_the_variable_or_what_the_file_holds(tmp_path):
    """The end of a line is not part of it; the variable counts if both are there."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    assert signing_key({"SENDTIDE_SNAPSHOT_KEY": KEY}) == KEY.encode()
    assert signing_key({"SENDTIDE_SNAPSHOT_KEY_FILE": str(file)}) == KEY.encode()
    both = {"SENDTIDE_SNAPSHOT_KEY": KEY[::-1], "SENDTIDE_SNAPSHOT_KEY_FILE": str(file)}
    assert signing_key(both) == KEY[::-1].encode()
    assert signing_key({}) == b""


def test_a_key_that_is_none_is_refused_at_start(tmp_path):
    """Signing with an empty or guessable key would only look safe."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for variables, reason in (
        ({"SENDTIDE_SNAPSHOT_KEY": "short"}, "holds 5 characters"),
        ({"SENDTIDE_SNAPSHOT_KEY_FILE": str(empty)}, "holds 0 characters"),
        ({"SENDTIDE_SNAPSHOT_KEY_FILE": str(tmp_path / "none")}, "cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            signing_key(variables)
        assert "short " not in str(caught.value)
