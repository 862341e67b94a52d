"""API keys: shown once, kept as hashes, accepted by the endpoint."""

from __future__ import annotations

import json
import stat

import pytest

from sendtide.endpoint import Keys


def _find(file, secret):
    scope = {"headers": [(b"x-api-key", secret.encode())]}
    return Keys.from_file(file).find(scope)


def test_a_key_opens_what_it_was_made_for(program, tmp_path):
    """The printed secret is known to the file, for these clients only."""
    file = tmp_path / "keys.toml"
    ended = program(
        "keys", "reader", "--client", "acme", "--client", "b.co", "--file", str(file), "--json", "-"
    )
    assert ended.exit_code == 0, ended.stderr
    secret = json.loads(ended.stdout)["added"]["reader"]
    grant = _find(file, secret)
    assert grant is not None
    assert grant.clients == {"acme", "b.co"}
    assert secret not in file.read_text()
    assert _find(file, secret + "x") is None


def test_a_name_that_is_there_stays_as_it_is(program, tmp_path):
    """Doing it twice changes nothing; the old secret goes on working."""
    file = tmp_path / "keys.toml"
    arguments = ("keys", "prometheus", "--file", str(file), "--secrets", str(tmp_path))
    assert program(*arguments).exit_code == 0
    before = file.read_text()
    assert program(*arguments).exit_code == 0
    assert file.read_text() == before
    assert _find(file, (tmp_path / "prometheus").read_text()).clients is None


def test_secrets_are_for_their_owner_only(program, tmp_path):
    """Neither the terminal nor other users of the machine see a secret in a file."""
    ended = program("keys", "a", "--file", str(tmp_path / "k"), "--secrets", str(tmp_path))
    secret = tmp_path / "a"
    assert secret.read_text() not in ended.stdout + ended.stderr
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a b", "../a", 'a"]\n[keys.x', ""])
def test_a_name_that_is_none_is_exit_2(program, tmp_path, name):
    """Nothing is written; a name becomes a TOML key and a file name."""
    ended = program("keys", name, "--file", str(tmp_path / "k"), "--secrets", str(tmp_path))
    assert ended.exit_code == 2
    assert list(tmp_path.iterdir()) == []
