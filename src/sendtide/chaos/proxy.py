"""A TCP proxy whose connections can be made slow, narrow, cut, silent or refused while they run.

One event loop in a thread of its own; the methods of `FaultProxy` may be called from any other
thread and return when the change holds. Each direction of a connection is a reader that notes when
data came, a short queue, and a writer that applies the toxics of that moment: latency therefore
delays data without narrowing the wire, as a long way does.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sendtide.chaos.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Stream,
    Timeout,
    Toxic,
)

__all__ = ["FaultProxy"]

T = TypeVar("T")
_READ_BYTES: Final = 65_536
_QUEUED_CHUNKS: Final = 64
_ANSWER_S: Final = 10.0
_BANDWIDTH_STEP_S: Final = 0.02
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


@dataclass(eq=False, slots=True)
class _Connection:
    """A client's connection and the one to the server behind it."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    limits: dict[Toxic, int] = field(default_factory=dict)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def close(self) -> None:
        for timer in self.timers:
            timer.cancel()
        for writer in self.writers:
            writer.close()

    def reset(self) -> None:
        for writer in self.writers:
            with suppress(OSError):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class FaultProxy:
    """Listens on loopback and passes everything on to `target`, as the toxics allow.

    Attributes:
        port: where clients connect; stays the same over `down` and `up`.
        fired: how often each kind of toxic did something, by its class name; "down" for
            connections that were cut or refused by it.
        carried: bytes passed on, by stream.
    """

    def __init__(self, target_port: int, port: int = 0, seed: int = 1) -> None:
        self.target_port = target_port
        self.port = port
        self.fired: Counter[str] = Counter()
        self.carried: Counter[str] = Counter()
        self._toxics: dict[str, Toxic] = {}
        self._rng = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.down()
        self._ask(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()

    # -- faults, from any thread ----------------------------------------------------------------

    def add(self, name: str, toxic: Toxic) -> None:
        """Switch a toxic on, also for connections that are open."""
        self._ask(self._add(name, toxic))

    def remove(self, name: str) -> None:
        """Switch a toxic off; a `Timeout` closes what it held back, since bytes were dropped."""
        self._ask(self._remove(name))

    def clear(self) -> None:
        """Switch all toxics off and listen again."""
        for name in tuple(self._toxics):
            self.remove(name)
        self.up()

    def cut(self) -> int:
        """Reset every open connection once; return how many."""
        return self._ask(self._cut())

    def down(self) -> None:
        """Refuse new connections and cut the open ones."""
        self._ask(self._down())

    def up(self) -> None:
        """Listen."""
        self._ask(self._up())

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    # -- in the loop ------------------------------------------------------------------------------

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    async def _up(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.fired["down"] += await self._cut()

    async def _cut(self) -> int:
        open_now = tuple(self._connections)
        for connection in open_now:
            connection.reset()
        return len(open_now)

    async def _end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _add(self, name: str, toxic: Toxic) -> None:
        self._toxics[name] = toxic
        for connection in tuple(self._connections):
            self._start_timer(connection, toxic)

    async def _remove(self, name: str) -> None:
        toxic = self._toxics.pop(name, None)
        if isinstance(toxic, Timeout):
            for connection in tuple(self._connections):
                connection.close()

    def _start_timer(self, connection: _Connection, toxic: Toxic) -> None:
        if isinstance(toxic, ResetPeer):
            self._later(connection, toxic, toxic.timeout_ms, connection.reset)
        elif isinstance(toxic, Timeout) and toxic.timeout_ms:
            self._later(connection, toxic, toxic.timeout_ms, connection.close)

    def _later(
        self, connection: _Connection, toxic: Toxic, delay_ms: float, act: Callable[[], None]
    ) -> None:
        def fire() -> None:
            if toxic in self._toxics.values():
                self.fired[type(toxic).__name__] += 1
                act()

        connection.timers.append(self._loop.call_later(delay_ms / 1000, fire))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        connection = _Connection((writer, there[1]))
        self._connections.add(connection)
        for toxic in self._toxics.values():
            self._start_timer(connection, toxic)
        try:
            await asyncio.gather(
                self._direction(connection, "upstream", reader, there[1]),
                self._direction(connection, "downstream", there[0], writer),
            )
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _direction(
        self,
        connection: _Connection,
        stream: Stream,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)
        reading = asyncio.create_task(self._read(reader, queue))
        try:
            while (item := await queue.get())[1]:
                await self._pass_on(connection, stream, writer, *item)
            await self._close_slowly(stream)
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            connection.close()
        finally:
            reading.cancel()

    async def _read(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(_READ_BYTES)
            except OSError:
                data = b""
            await queue.put((self._loop.time(), data))

    # -- what toxics do to data -------------------------------------------------------------------

    def _active(self, kind: type[T], stream: Stream) -> list[T]:
        return [t for t in self._toxics.values() if isinstance(t, kind) and t.stream == stream]

    async def _pass_on(
        self,
        connection: _Connection,
        stream: Stream,
        writer: asyncio.StreamWriter,
        came_at: float,
        data: bytes,
    ) -> None:
        for latency in self._active(Latency, stream):
            jitter = self._rng.uniform(-latency.jitter_ms, latency.jitter_ms)
            due = came_at + (latency.latency_ms + jitter) / 1000
            self.fired["Latency"] += 1
            await asyncio.sleep(max(0.0, due - self._loop.time()))
        if self._active(Timeout, stream):
            self.fired["Timeout"] += 1
            return
        limited = self._within_limit(connection, stream, data)
        for piece, pause_s in self._slices(stream, limited):
            self.carried[stream] += len(piece)  # first: whoever has the bytes finds them counted
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if len(limited) < len(data) or any(left <= 0 for left in connection.limits.values()):
            self.fired["LimitData"] += 1
            connection.close()

    def _within_limit(self, connection: _Connection, stream: Stream, data: bytes) -> bytes:
        toxics = self._active(LimitData, stream)
        for gone in connection.limits.keys() - set(self._toxics.values()):
            del connection.limits[gone]
        for toxic in toxics:
            left = connection.limits.get(toxic, toxic.bytes)
            data = data[: max(0, left)]
            connection.limits[toxic] = left - len(data)
        return data

    def _slices(self, stream: Stream, data: bytes) -> list[tuple[bytes, float]]:
        """Pieces to write and the pause after each, in seconds."""
        pieces = [(data, 0.0)] if data else []
        for slicer in self._active(Slicer, stream):
            self.fired["Slicer"] += 1
            pieces = [
                (part, slicer.delay_us / 1e6)
                for piece, _ in pieces
                for part in self._sliced(piece, slicer)
            ]
        for width in self._active(Bandwidth, stream):
            self.fired["Bandwidth"] += 1
            step = max(1, int(width.rate_kb_s * 1000 * _BANDWIDTH_STEP_S))
            pieces = [
                (piece[i : i + step], pause_s + len(piece[i : i + step]) / width.rate_kb_s / 1000)
                for piece, pause_s in pieces
                for i in range(0, len(piece), step)
            ]
        return pieces

    def _sliced(self, data: bytes, slicer: Slicer) -> list[bytes]:
        parts, at = [], 0
        while at < len(data):
            spread = self._rng.randint(-slicer.size_variation, slicer.size_variation)
            size = max(1, slicer.average_size + spread)
            parts.append(data[at : at + size])
            at += size
        return parts

    async def _close_slowly(self, stream: Stream) -> None:
        for toxic in self._active(SlowClose, stream):
            self.fired["SlowClose"] += 1
            await asyncio.sleep(toxic.delay_ms / 1000)
