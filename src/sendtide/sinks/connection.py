"""One connection to Redis or Valkey with bounded patience and errors that say what to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sendtide.events.errors import ConfigurationError, Fenced, Unavailable

__all__ = ["connect", "patiently", "shown"]

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_PASSING: Final = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
)
"""What a restart, a failover or a full network brings and time heals."""
_PASSING_NAMES: Final = frozenset({"OutOfMemoryError", "MasterDownError", "TryAgainError"})
_PASSING_WORDS: Final = ("OOM command not allowed", "used memory > 'maxmemory'", "BUSY ")
"""Refusals that pass too: by class, or by text where a script has wrapped them."""


def shown(url: str) -> str:
    """The URL as it may be printed: without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def connect(url: str, timeout_s: float) -> Any:
    """A `redis.Redis` for an ordinary redis-py URL: `redis://`, `rediss://` (TLS), `unix://`.

    ACL users stand in the URL (`rediss://user:password@host:6379/0`). Nothing is sent yet.

    Raises:
        ConfigurationError: the URL is none.
    """
    # Untyped on purpose: redis-py types every answer as "this or an awaitable of it".
    from_url: Any = redis.Redis.from_url
    try:
        return from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 0),
            client_name="sendtide",
            protocol=2,  # the same answer shapes from every server version
        )
    except ValueError as error:
        msg = f"--redis {shown(url)!r} is no Redis URL: {error}"
        raise ConfigurationError(msg) from error


def patiently(work: Callable[[], T], where: str, patience_s: float) -> T:
    """Run `work` again while the server is away, for at most about `patience_s`.

    Raises:
        Unavailable: still no answer; nothing is lost, call again.
        Fenced: a newer owner has written.
        ConfigurationError: the server refuses, and will again (rights, password, wrong type).
    """
    deadline = time.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return work()
        except redis.exceptions.AuthenticationError as error:
            msg = f"Redis at {where} refuses the login: {error}; check user and password in the URL"
            raise ConfigurationError(msg) from error
        except _PASSING as error:
            reason: Any = error
        except redis.exceptions.ResponseError as error:
            reason = _judge(error, where)
        if time.monotonic() + pause_s > deadline:
            msg = f"Redis at {where} does not answer: {reason}; check that it runs and is reachable"
            raise Unavailable(msg) from reason
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _judge(error: redis.exceptions.ResponseError, where: str) -> Exception:
    """Return a refusal that may pass; raise one that will not."""
    text = str(error)
    if "FENCED " in text:
        raise Fenced(text[text.index("FENCED ") :]) from error
    if type(error).__name__ in _PASSING_NAMES or any(word in text for word in _PASSING_WORDS):
        return error
    msg = f"Redis at {where} refuses a command: {text}"
    raise ConfigurationError(msg) from error
