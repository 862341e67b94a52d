"""Addresses become ids that only the key holder can make, and never show."""

import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.connectors import BadAddress, Pseudonyms, normalise_address
from sendtide.connectors.pseudonym import KEY_FILE_VARIABLE, KEY_VARIABLE
from sendtide.events.errors import ConfigurationError

SECRET = bytes(range(32))


def test_id_is_the_documented_hmac():
    """The id can be made by anyone with the key and the four lines of the module's docstring."""
    client_key = hmac.digest(SECRET, b"sendtide recipient key\0shop", hashlib.sha256)
    expected = hmac.digest(client_key, b"ann@example.com", hashlib.sha256).hex()[:32]

    assert Pseudonyms(SECRET).of_address("shop", " Ann@Example.COM ") == expected


def test_clients_and_keys_make_unrelated_ids():
    """The same person has other ids at another client and under another key."""
    ids = {
        Pseudonyms(secret).of_address(client, "ann@example.com")
        for secret in (SECRET, SECRET[::-1])
        for client in ("shop", "news")
    }

    assert len(ids) == 4


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ann@example.com", "ann@example.com"),
        ("\tANN@Example.Com.\n", "ann@example.com"),
        ("mailto:Ann@example.com", "ann@example.com"),
        ("jörg@müller.example", "jörg@xn--mller-kva.example"),
        ("Jörg@MÜLLER.example", "jörg@xn--mller-kva.example"),
        ("ann@faß.example", "ann@xn--fa-hia.example"),
        ("ann@xn--fa-hia.example", "ann@xn--fa-hia.example"),
        ("a.n.n+tag@example.com", "a.n.n+tag@example.com"),
        ('"odd@local"@example.com', '"odd@local"@example.com'),
    ],
)
def test_spellings_of_one_address_become_one(written, normal):
    """Space, case, mailto: and the domain's script do not make another person."""
    assert normalise_address(written) == normal


@pytest.mark.parametrize(
    "wrong",
    ["", "ann", "@example.com", "ann@", "a b@example.com", "<ann@example.com>", "ann@exa_m..ple",
     "ann@example.com,bob@example.com", "x" * 321 + "@example.com", "ann\0@example.com"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_repeated(wrong):
    """The error says what is wrong, and does not spread the text."""
    with pytest.raises(BadAddress) as caught:
        normalise_address(wrong)

    assert len(wrong) < 4 or wrong not in str(caught.value)


@given(st.text(max_size=40))
def test_normalising_never_fails_otherwise_and_is_idempotent(text):
    """Any text is refused as BadAddress or has a fixed normal form."""
    try:
        normal = normalise_address(text)
    except BadAddress:
        return

    assert normalise_address(normal) == normal


@pytest.mark.parametrize("weak", [b"", b"secret", b"x" * 31, b"x" * 64, b"abcdefgh" * 8])
def test_weak_keys_are_refused(weak):
    """Empty, short and repetitive keys do not protect anybody."""
    with pytest.raises(ConfigurationError, match="openssl rand"):
        Pseudonyms(weak)


def test_key_is_read_from_environment_as_hex_or_base64():
    """Both usual spellings give the same ids; the variable wins over the file."""
    hexadecimal = {KEY_VARIABLE: SECRET.hex(), KEY_FILE_VARIABLE: "/nowhere"}
    base64 = {KEY_VARIABLE: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"}

    assert {
        Pseudonyms.from_environment(environment).of_name("shop", "1")
        for environment in (hexadecimal, base64)
    } == {Pseudonyms(SECRET).of_name("shop", "1")}


def test_key_is_read_from_a_private_file(tmp_path):
    """A key file works once nobody else can read it."""
    path = tmp_path / "key"
    path.write_text(SECRET.hex() + "\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Pseudonyms.from_file(path)
    path.chmod(0o600)

    found = Pseudonyms.from_environment({KEY_FILE_VARIABLE: str(path)})

    assert found.of_name("shop", "1") == Pseudonyms(SECRET).of_name("shop", "1")


@pytest.mark.parametrize("text", ["", "not a key", "zz" * 32, "ä" * 32])
def test_missing_or_garbled_keys_say_what_to_do(text):
    """Whatever is wrong with the key, the message says how to make one, and not what it was."""
    with pytest.raises(ConfigurationError, match="openssl rand") as caught:
        Pseudonyms.from_environment({KEY_VARIABLE: text} if text else {})

    assert not text or text not in str(caught.value)


def test_secret_does_not_show_nor_travel():
    """Neither printing nor serialising gives the key away."""
    pseudonyms = Pseudonyms(SECRET)

    assert SECRET.hex() not in repr(pseudonyms)
    with pytest.raises(TypeError):
        pickle.dumps(pseudonyms)
