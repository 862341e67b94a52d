"""The dashboard as an ASGI application: one page, its assets, and the numbers it asks for.

`GET /` the page, `/assets/*`, `/api/live` everything for the overview, `/api/client/<client>` the
hours and sources of one client, `/api/card/<client>/<model>` a model's card, and `/card/...` the
same as a page. The dashboard's page is static: numbers arrive as JSON and are written as text
nodes; a card's page escapes every text. So no name of a tenant is ever read as markup.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote

from sendtide.dashboard.card import model_card
from sendtide.dashboard.card_page import card_html
from sendtide.dashboard.live import Gathered, Live, client_detail
from sendtide.endpoint import GRANT, Grant
from sendtide.endpoint.web import Receive, Scope, Send, answer, answer_json
from sendtide.events.errors import ConfigurationError, CorruptData, SendtideError, Unavailable
from sendtide.sinks import Reader

__all__ = ["Dashboard"]

logger = logging.getLogger(__name__)

SAMPLE_S: Final = 1.0
_KINDS: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = [
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_RETRY: Final = [(b"retry-after", b"1")]


def _assets() -> dict[str, tuple[bytes, bytes]]:
    """Path to (content type, bytes) of everything static; nothing else can be asked for."""
    found = {}
    for file in (files("sendtide.dashboard") / "assets").iterdir():
        kind = _KINDS.get(file.name[file.name.rfind(".") :])
        if kind:
            found[f"/assets/{file.name}"] = (kind, file.read_bytes())
    found["/"] = found.pop("/assets/index.html")
    return found


class Dashboard:
    """Serves the page; between `start` and `stop` it samples the read model once a second."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._live = Live(reader)
        self._newest = Gathered()
        self._trouble: str | None = "no sample has been taken yet"
        self._sampler: asyncio.Task[None] | None = None
        self._assets = _assets()

    async def start(self) -> None:
        """Begin to sample."""
        self._sampler = asyncio.create_task(self._sample(), name="dashboard-sampler")

    async def stop(self) -> None:
        """Stop sampling."""
        if self._sampler:
            self._sampler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampler

    async def _sample(self) -> None:
        while True:
            await self._sample_once()
            await asyncio.sleep(SAMPLE_S)

    async def _sample_once(self) -> None:
        try:
            self._newest = await asyncio.to_thread(self._live.gather)
            self._trouble = None
        except SendtideError as error:
            self._trouble = str(error)
        except Exception:  # the page must outlive a mistake in one sample
            logger.exception("a dashboard sample failed")
            self._trouble = "a sample failed; see the log"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        del receive  # every request is a GET without a body
        if scope["method"] not in ("GET", "HEAD"):
            await answer_json(send, 405, {"error": "only GET"}, [(b"allow", b"GET")])
            return
        path, grant = scope["path"], scope[GRANT]
        if path in self._assets:
            kind, body = self._assets[path]
            await answer(send, 200, body, kind, _HEADERS)
        elif path == "/api/live":
            await answer_json(send, 200, self._overview(grant), _HEADERS)
        elif path.startswith("/api/client/"):
            await self._client(path.removeprefix("/api/client/"), grant, send)
        elif path.startswith(("/api/card/", "/card/")):
            await self._card(scope["raw_path"].decode("latin-1"), grant, send)
        else:
            await answer_json(send, 404, {"error": "there is nothing here; see /"}, _HEADERS)

    def _overview(self, grant: Grant) -> dict[str, Any]:
        """Everything, or for a key with some clients only, their rows without the totals of all."""
        newest, everything = self._newest, grant.clients is None
        return {
            "now_ms": newest.now_ms,
            "trouble": self._trouble,
            "everything": everything,
            "kpi": newest.kpi if everything else None,
            "history": newest.history if everything else None,
            "phases": newest.phases if everything else [],
            "models": [row for row in newest.models if grant.covers(row["client"])],
        }

    async def _card(self, path: str, grant: Grant, send: Send) -> None:
        """`path` as it was sent: a name's own slash is escaped in it."""
        as_page = path.startswith("/card/")
        names = path.removeprefix("/api").removeprefix("/card/").partition("/")
        client, model = unquote(names[0]), unquote(names[2])
        if not grant.covers(client):
            error = {"error": f"key {grant.name!r} may not read this client"}
            await answer_json(send, 403, error, _HEADERS)
            return
        now_ms = time.time_ns() // 1_000_000
        try:
            card = await asyncio.to_thread(model_card, self._reader, client, model, now_ms)
        except (ConfigurationError, CorruptData) as error:
            await answer_json(send, 400, {"error": str(error)}, _HEADERS)
        except Unavailable as error:
            await answer_json(send, 503, {"error": str(error)}, [*_HEADERS, *_RETRY])
        else:
            if card is None:
                await answer_json(send, 404, {"error": "no such model has reported"}, _HEADERS)
            elif as_page:
                page = card_html(card, served=True).encode()
                await answer(send, 200, page, _KINDS[".html"], _HEADERS)
            else:
                await answer_json(send, 200, card, _HEADERS)

    async def _client(self, client: str, grant: Grant, send: Send) -> None:
        if not grant.covers(client):
            error = {"error": f"key {grant.name!r} may not read this client"}
            await answer_json(send, 403, error, _HEADERS)
            return
        try:
            found = await asyncio.to_thread(client_detail, self._reader, client)
            await answer_json(send, 200, found, _HEADERS)
        except ConfigurationError as error:
            await answer_json(send, 400, {"error": str(error)}, _HEADERS)
        except Unavailable as error:
            await answer_json(send, 503, {"error": str(error)}, [*_HEADERS, *_RETRY])
