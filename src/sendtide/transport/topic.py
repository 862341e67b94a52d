"""Chunk topics: a Faust topic whose agents get one `Chunk` per event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from faust import App, Schema

from sendtide.transport.chunk import Chunk

__all__ = ["ChunkSchema", "chunk_topic"]


class ChunkSchema(Schema):
    """Decodes nothing: the value is the chunk itself, its records are the user's to read."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the decoder the conductor calls once per chunk."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            assert isinstance(message.value, Chunk)
            return create_event(None, message.value, message.headers, message)

        return decode


def chunk_topic(app: App, name: str) -> Any:
    """Declare a topic for an agent that reads `async for chunk in stream`.

    All agents of one topic must agree on chunks or events. It is never created by declaring it;
    see `sendtide.transport.admin`.
    """
    return app.topic(name, schema=ChunkSchema(), internal=False)
