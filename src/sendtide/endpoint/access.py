"""Who may ask: API keys, each for named clients only; on loopback without keys, everyone here.

A key file is TOML, one table per key. Only hashes are kept in it; a key is 256 random bits, so a
single SHA-256 is as good as a slow hash::

    [keys.reporting]
    sha256 = "9f86d081884c7d65..."
    clients = ["acme", "b.co"]        # or ["*"] for all

A key comes as `Authorization: Bearer <key>`, as `X-API-Key: <key>`, or, for browsers, as the
password of HTTP Basic. Without a key file only loopback is served, and only under a loopback name:
a page of the open web that points its own name at 127.0.0.1 is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
import secrets
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sendtide.endpoint.web import App, Receive, Refusal, Scope, Send, answer_json, header
from sendtide.events.errors import ConfigurationError

__all__ = ["GRANT", "Grant", "Guard", "Keys", "is_loopback", "new_key"]

GRANT: Final = "sendtide.grant"
"""Where the guard leaves the caller's grant in the ASGI scope."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPEN_PATHS: Final = frozenset({"/v2/health/live", "/v2/health/ready"})
"""Probes carry no tenant's data and no key."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may see. clients: None means all."""

    name: str
    clients: frozenset[str] | None

    def check(self, clients: Iterable[str]) -> None:
        """Refuse (403) if a client is not in the grant."""
        if self.clients is None:
            return
        foreign = sorted(set(clients) - self.clients)
        if foreign:
            msg = f"key {self.name!r} may not read client {foreign[0][:64]!r}; ask for its own key"
            raise Refusal(403, msg)

    def covers(self, client: str) -> bool:
        """Whether this client may be seen."""
        return self.clients is None or client in self.clients


EVERYTHING: Final = Grant("loopback", None)


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    sha256: str
    clients: list[str]


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, _Key]


class Keys:
    """The keys of one file, looked up by hash."""

    def __init__(self, grants: dict[str, Grant]) -> None:
        self._grants = grants

    @property
    def names(self) -> frozenset[str]:
        """Names of all keys."""
        return frozenset(grant.name for grant in self._grants.values())

    @classmethod
    def from_file(cls, path: Path) -> Keys:
        """Read a key file.

        Raises:
            ConfigurationError: unreadable, or not as the module's docstring shows.
        """
        try:
            file = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _KeyFile)
        except (OSError, ValueError) as error:
            msg = f"API key file {path}: {error}; it needs [keys.<name>] with sha256 and clients"
            raise ConfigurationError(msg) from error
        grants: dict[str, Grant] = {}
        for name, key in file.keys.items():
            if len(key.sha256) != 64 or set(key.sha256) - set("0123456789abcdef"):
                msg = f"API key file {path}: keys.{name}.sha256 must be 64 lower-case hex digits"
                raise ConfigurationError(msg)
            clients = None if "*" in key.clients else frozenset(key.clients)
            grants[key.sha256] = Grant(name, clients)
        return cls(grants)

    def find(self, scope: Scope) -> Grant | None:
        """The grant of the key in a request's headers, None without a known key."""
        secret = _presented(scope)
        if secret is None:
            return None
        return self._grants.get(hashlib.sha256(secret).hexdigest())


def _presented(scope: Scope) -> bytes | None:
    plain = header(scope, b"x-api-key")
    if plain is not None:
        return plain
    kind, _, value = (header(scope, b"authorization") or b"").partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip()
    if kind.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return None
    return None


def new_key(name: str, clients: Sequence[str]) -> tuple[str, str]:
    """A fresh secret, shown once, and the lines that let a key file know it.

    Raises:
        ConfigurationError: a name of the key or a client that is none.
    """
    for word in (name, *clients):
        if word != "*" and not _NAME.fullmatch(word):
            msg = f'{word!r} is no name; allowed: 1 to 64 letters, digits, ".", "_" and "-"'
            raise ConfigurationError(msg)
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    listed = ", ".join(f'"{client}"' for client in clients)
    return secret, f'[keys."{name}"]\nsha256 = "{digest}"\nclients = [{listed}]\n'


def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets a request through to `app` with its grant, or refuses it."""

    def __init__(self, app: App, keys: Keys | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            try:
                scope[GRANT] = self._grant(scope)
            except Refusal as refusal:
                await answer_json(send, refusal.status, {"error": str(refusal)}, refusal.headers)
                return
        await self._app(scope, receive, send)

    def _grant(self, scope: Scope) -> Grant:
        if self._keys is None:
            name = (header(scope, b"host") or b"").decode("latin-1")
            host = name if name.endswith("]") else name.rpartition(":")[0] or name
            if not is_loopback(host):
                msg = f"host {host[:80]!r} is not this machine; without API keys only loopback is"
                raise Refusal(403, msg)
            return EVERYTHING
        grant = self._keys.find(scope)
        if grant is None:
            ask = [(b"www-authenticate", b'Basic realm="sendtide", charset="UTF-8"')]
            msg = "an API key is needed: Authorization: Bearer <key>, or X-API-Key: <key>"
            raise Refusal(401, msg, ask)
        return grant
