"""Faust topics whose events are whole chunks instead of single messages."""

from __future__ import annotations

from typing import Any

import faust
from faust.events import Event

from sendtide.transport.settings import settings_of

__all__ = ["ChunkTopic", "chunk_topic"]


class ChunkTopic(faust.Topic):
    """A topic that hands an agent one `Chunk` per event: `async for chunk in stream`."""

    def _compile_decode(self) -> None:
        """Pass a chunk through as it is: bytes are decoded by the application, in columns."""

        async def decode(message: Any, *, propagate: bool = False) -> Event:  # noqa: ARG001
            return Event(self.app, None, message.value, None, message)

        self.decode = decode


def chunk_topic(app: faust.App, name: str) -> ChunkTopic:
    """Return the topic `name` of `app`, delivered in chunks. It is never created by Faust."""
    settings_of(app).chunk_topics.add(name)
    return ChunkTopic(app, topics=[name], value_serializer="raw", key_serializer="raw")
