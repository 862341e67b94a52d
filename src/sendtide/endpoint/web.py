"""The little of HTTP that an ASGI application needs: bounded bodies in, answers and errors out."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson

from sendtide.events.errors import SendtideError

__all__ = [
    "App",
    "Receive",
    "Refusal",
    "Scope",
    "Send",
    "answer",
    "answer_json",
    "header",
    "read_body",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_TIMEOUT_S: Final = 30.0
"""A client that takes longer to send its body loses its place."""
_SAFE: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]


class Refusal(SendtideError):  # noqa: N818 - the word of the trade for a 4xx or 5xx
    """A request that cannot be served, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this lower-case name."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def answer(
    send: Send, status: int, body: bytes, kind: bytes, headers: Headers | None = None
) -> None:
    """Send a whole answer."""
    length = (b"content-length", str(len(body)).encode())
    every = [(b"content-type", kind), length, *_SAFE, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, status: int, value: Any, headers: Headers | None = None) -> None:
    """Send `value` as JSON; numpy arrays are allowed in it, NaN becomes null."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    await answer(send, status, body, b"application/json", headers)


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body, unpacked if it is gzip or deflate.

    Raises:
        Refusal: 413 beyond `limit_bytes` (before or after unpacking), 415 for another packing,
            400 for damaged packing, 408 when the client is too slow.
    """
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the client went away before its body was complete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s") from None
    return _unpacked(b"".join(parts), header(scope, b"content-encoding") or b"", limit_bytes)


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit_bytes} bytes; send fewer rows a request")


def _unpacked(body: bytes, packing: bytes, limit_bytes: int) -> bytes:
    if packing in (b"", b"identity"):
        return body
    if packing not in (b"gzip", b"deflate"):
        msg = f"content-encoding {packing[:40]!r} is unknown; allowed: gzip, deflate, identity"
        raise Refusal(415, msg)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by their first bytes
    try:
        data = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise Refusal(400, f"the {packing.decode()} body is damaged: {error}") from error
    if len(data) > limit_bytes:
        raise _too_large(limit_bytes)
    if not unpacker.eof:
        raise Refusal(400, f"the {packing.decode()} body is cut off")
    return data
