"""Addresses to recipient ids: a keyed hash, so that no topic, snapshot or log holds an address.

    client key    = HMAC-SHA-256(secret, "sendtide recipient key" + NUL + client_id)
    recipient id  = first 128 bits of HMAC-SHA-256(client key, normalised address), in hex

One secret, a key per client: the same person has unrelated ids at two clients, and who learns one
client's key learns nothing about another. Whoever holds the secret can test a guessed address, so
it belongs in a secret store, never beside the data; changing it makes every recipient a new one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import idna

from sendtide.events.errors import ConfigurationError, RefusedRecord

__all__ = ["KEY_FILE_VARIABLE", "KEY_VARIABLE", "BadAddress", "Pseudonyms", "normalise_address"]

KEY_VARIABLE: Final = "SENDTIDE_PSEUDONYM_KEY"
KEY_FILE_VARIABLE: Final = "SENDTIDE_PSEUDONYM_KEY_FILE"
_MIN_KEY_BYTES: Final = 32  # the hash's own strength; shorter can be guessed sooner
_MIN_DISTINCT_BYTES: Final = 12  # 32 random bytes have fewer about once in 10^12 draws
_MAX_CLIENTS_CACHED: Final = 100_000
_MAX_ADDRESS_BYTES: Final = 320  # RFC 3696: 64 + "@" + 255
_STANDARD_BASE64: Final = str.maketrans("-_", "+/")
_HOW: Final = (
    f"make one with `openssl rand -hex 32` and give it in {KEY_VARIABLE} or as a file in "
    f"{KEY_FILE_VARIABLE}"
)


class BadAddress(RefusedRecord):
    """The text is not an e-mail address; the message does not repeat it."""


def normalise_address(address: str) -> str:
    """Return the one spelling of an address under which its owner is known.

    Surrounding space and a `mailto:` go, letters become composed and lower case, the domain
    becomes its ASCII form (IDNA 2008 with UTS 46 mapping). The local part's case is dropped too:
    RFC 5321 lets it matter, no large provider does. Dots and `+tags` stay, since they matter at
    most providers.

    Raises:
        BadAddress: no local part, no domain, inner space or control characters, or too long.
    """
    text = re.sub(r"^(?:mailto:\s*)+", "", address.strip(), flags=re.IGNORECASE)
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        msg = f"text of {len(address)} characters is not an address; expected name@domain"
        raise BadAddress(msg)
    if re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff<>,;]", text):
        msg = "address holds a space, control character, bracket or separator; give one address"
        raise BadAddress(msg)
    try:
        domain = idna.encode(domain.rstrip("."), uts46=True, transitional=False).decode()
    except idna.IDNAError as error:
        msg = "the address's domain is not a valid internet name (IDNA 2008)"
        raise BadAddress(msg) from error
    normal = f"{unicodedata.normalize('NFC', local).lower()}@{domain}"
    if len(normal.encode()) > _MAX_ADDRESS_BYTES:
        msg = f"address of {len(normal.encode())} bytes; at most {_MAX_ADDRESS_BYTES} are allowed"
        raise BadAddress(msg)
    return normal


class Pseudonyms:
    """Makes recipient ids; holds the secret and shows it to nobody."""

    __slots__ = ("_clients", "_secret")

    def __init__(self, secret: bytes) -> None:
        """Take at least 32 random bytes.

        Raises:
            ConfigurationError: empty, short, or visibly not random.
        """
        if len(secret) < _MIN_KEY_BYTES:
            msg = (
                f"pseudonym key of {len(secret)} bytes is too weak; {_MIN_KEY_BYTES} needed: {_HOW}"
            )
            raise ConfigurationError(msg)
        if len(set(secret)) < _MIN_DISTINCT_BYTES:
            msg = f"pseudonym key has only {len(set(secret))} different bytes, not random: {_HOW}"
            raise ConfigurationError(msg)
        self._secret = secret
        self._clients: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return "Pseudonyms(<secret>)"

    def __reduce__(self) -> str:
        msg = "a pseudonym key is not to be serialised"
        raise TypeError(msg)

    @classmethod
    def from_text(cls, text: str) -> Pseudonyms:
        """Read a key written as hex or base64 (at least 32 bytes once decoded).

        Raises:
            ConfigurationError: neither, or weak.
        """
        stripped = text.strip()
        if re.fullmatch(r"(?:[0-9a-fA-F]{2})*", stripped):
            return cls(bytes.fromhex(stripped))
        try:
            secret = base64.b64decode(stripped.translate(_STANDARD_BASE64), validate=True)
        except ValueError as error:
            msg = f"pseudonym key is neither hex nor base64: {_HOW}"
            raise ConfigurationError(msg) from error
        return cls(secret)

    @classmethod
    def from_file(cls, path: Path) -> Pseudonyms:
        """Read a key file; a file others can read is refused.

        Raises:
            ConfigurationError: unreadable, readable by others, or not a strong key.
        """
        try:
            mode, text = path.stat().st_mode, path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"cannot read the pseudonym key file {path}: {error}"
            raise ConfigurationError(msg) from error
        if mode & 0o007:
            msg = f"pseudonym key file {path} can be read by anybody; run `chmod 600 {path}`"
            raise ConfigurationError(msg)
        return cls.from_text(text)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Pseudonyms:
        """Find the key in the environment: the variable first, then the file it names.

        Raises:
            ConfigurationError: neither is set, or what is set is not a strong key.
        """
        if KEY_VARIABLE in environment:
            return cls.from_text(environment[KEY_VARIABLE])
        if environment.get(KEY_FILE_VARIABLE):
            return cls.from_file(Path(environment[KEY_FILE_VARIABLE]))
        msg = f"input holds addresses, but there is no pseudonym key to hash them with: {_HOW}"
        raise ConfigurationError(msg)

    def of_address(self, client_id: str, address: str) -> str:
        """Return the recipient id of an address at a client: 32 hex digits.

        Raises:
            BadAddress: not an address.
        """
        return self.of_name(client_id, normalise_address(address))

    def of_name(self, client_id: str, name: str) -> str:
        """Return the recipient id of any stable name, such as a subscriber number, unaltered."""
        key = self._clients.get(client_id)
        if key is None:
            text = b"sendtide recipient key\0" + client_id.encode()
            key = hmac.digest(self._secret, text, hashlib.sha256)
            if len(self._clients) >= _MAX_CLIENTS_CACHED:
                self._clients.clear()
            self._clients[client_id] = key
        return hmac.digest(key, name.encode(), hashlib.sha256)[:16].hex()
