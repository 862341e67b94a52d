"""Runs ASGI applications on uvicorn: mounted by path, guarded, loopback by default."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import uvicorn
from prometheus_client import CollectorRegistry

from sendtide.endpoint.access import GRANT, Guard, Keys, is_loopback
from sendtide.endpoint.app import Endpoint
from sendtide.endpoint.inference import Inferrer
from sendtide.endpoint.meters import Meters
from sendtide.endpoint.web import App, Receive, Scope, Send, answer, answer_json
from sendtide.events.errors import ConfigurationError
from sendtide.sinks import Reader
from sendtide.sinks.prometheus import CONTENT_TYPE, ReadModelCollector, render

__all__ = ["MetricsPage", "Mount", "background", "build", "listen", "make_server", "serve"]

LIMIT_CONNECTIONS: Final = 1_000
KEEP_ALIVE_S: Final = 15
SHUTDOWN_S: Final = 5


@runtime_checkable
class Startable(Protocol):
    """An application with a task of its own."""

    async def start(self) -> None:
        """Called before the first request."""
        ...

    async def stop(self) -> None:
        """Called after the last."""
        ...


class Mount:
    """Hands a request to the application whose prefix its path starts with."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        """apps: prefix to application, e.g. "/v2", "/metrics"; "/" takes the rest."""
        self._apps = sorted(apps.items(), key=lambda pair: len(pair[0]), reverse=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"].rstrip("/")
        for prefix, app in self._apps:
            if prefix == "/" or path == prefix or path.startswith(prefix + "/"):
                await app(scope, receive, send)
                return
        await answer_json(send, 404, {"error": "there is nothing here; see GET /v2"})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop the applications that have something running."""
        apps: list[object] = [app for _, app in self._apps]
        running = [app for app in apps if isinstance(app, Startable)]
        while True:
            message = await receive()
            stopping = message["type"] == "lifespan.shutdown"
            for app in running:
                await (app.stop() if stopping else app.start())
            await send({"type": f"{message['type']}.complete"})
            if stopping:
                return


class MetricsPage:
    """`/metrics` for Prometheus."""

    def __init__(self, *registries: CollectorRegistry) -> None:
        self._registries = registries

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """ASGI. A key for some clients only may not see the numbers of all."""
        if scope[GRANT].clients is not None:
            error = 'metrics cover all clients; ask for a key with clients = ["*"]'
            await answer_json(send, 403, {"error": error})
            return
        text = await asyncio.to_thread(render, *self._registries)
        await answer(send, 200, text, CONTENT_TYPE.encode())


def build(
    reader: Reader, pages: Mapping[str, App] | None = None, inferrer: Inferrer | None = None
) -> App:
    """The endpoint, its metrics and further `pages` (prefix to application) as one application."""
    read_model = CollectorRegistry()
    read_model.register(ReadModelCollector(reader))
    meters = Meters()
    return Mount(
        {
            "/v2": Endpoint(reader, inferrer, meters),
            "/metrics": MetricsPage(meters.registry, read_model),
            **(pages or {}),
        }
    )


def make_server(app: App, host: str, port: int, key_file: Path | None = None) -> uvicorn.Server:
    """A server that is ready to run; port 0 takes a free one.

    Raises:
        ConfigurationError: beyond loopback without API keys, or a bad key file.
    """
    if key_file is None and not is_loopback(host):
        msg = (
            f"--host {host} is reachable from other machines, and everyone there could read every "
            "client's data; give an API key file (--keys FILE), or use --host 127.0.0.1"
        )
        raise ConfigurationError(msg)
    keys = Keys.from_file(key_file) if key_file else None
    return uvicorn.Server(
        uvicorn.Config(
            Guard(app, keys),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            limit_concurrency=LIMIT_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )


@contextmanager
def background(
    app: App, host: str = "127.0.0.1", port: int = 0, key_file: Path | None = None
) -> Iterator[str]:
    """Serve from a thread for as long as the context lasts; gives the URL once it answers.

    Raises:
        ConfigurationError: as `make_server`, or the port is taken.
    """
    listener = listen(host, port)
    server = make_server(app, host, listener.getsockname()[1], key_file)
    thread = threading.Thread(target=server.run, args=([listener],), name="endpoint", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_S + 5)
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, forbidden, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        msg = f"cannot listen on {host} port {port}: {error.strerror}; take another port (--port)"
        raise ConfigurationError(msg) from error
    return listener


def serve(
    app: App, host: str = "127.0.0.1", port: int = 8080, key_file: Path | None = None
) -> None:
    """Serve until interrupted.

    Raises:
        ConfigurationError: as `make_server` and `listen`.
    """
    server = make_server(app, host, port, key_file)
    with closing(listen(host, port)) as listener:
        server.run([listener])
