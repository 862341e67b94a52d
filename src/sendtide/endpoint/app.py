"""The Open Inference Protocol v2 over ASGI: one endpoint for every model of every client.

`GET /v2`, `/v2/health/live`, `/v2/health/ready`, `/v2/models`, `/v2/models/M[/versions/V]`,
`.../ready`, `POST /v2/models/M[/versions/V]/infer`. The client is an input (`client_id`), so 2,000
clients need no 2,000 names. `V` is `1`, the version of the models' inputs and outputs; the version
of the weights behind each row is the output `model_version`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from sendtide.endpoint.access import GRANT
from sendtide.endpoint.answers import MODELS, ServedModel
from sendtide.endpoint.content import CONTENT_MODELS
from sendtide.endpoint.inference import Inferrer
from sendtide.endpoint.meters import Meters
from sendtide.endpoint.web import (
    Receive,
    Refusal,
    Scope,
    Send,
    answer,
    answer_json,
    header,
    read_body,
)
from sendtide.events.errors import SendtideError, Unavailable
from sendtide.sinks import Reader

__all__ = ["Endpoint"]

logger = logging.getLogger(__name__)

BODY_BYTES: Final = 1 << 20
THREADS: Final = 4
LIMIT_WAITING: Final = 64
"""Requests that may wait for a thread; beyond it the answer is 503 at once, not a long wait."""
INTERFACE_VERSION: Final = "1"
_RETRY: Final = [(b"retry-after", b"1")]
_SERVED: Final = {**MODELS, **CONTENT_MODELS}


def _package_version() -> str:
    try:
        return version("sendtide")
    except PackageNotFoundError:
        return "0+unknown"


class Endpoint:
    """The ASGI application under `/v2`."""

    def __init__(
        self,
        reader: Reader,
        inferrer: Inferrer | None = None,
        meters: Meters | None = None,
        *,
        body_bytes: int = BODY_BYTES,
    ) -> None:
        self._reader = reader
        self._inferrer = inferrer or Inferrer(reader)
        self._meters = meters or Meters()
        self._body_bytes = body_bytes
        self._threads = ThreadPoolExecutor(THREADS, "infer")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        given_id = _request_id(scope)
        extra = [(b"x-request-id", given_id.encode())]
        with self._meters.request() as outcome:
            try:
                await self._route(scope, receive, send, given_id)
            except Refusal as refusal:
                outcome.status = refusal.status
                extra += refusal.headers
                await answer_json(send, refusal.status, {"error": str(refusal)}, extra)
            except Unavailable as error:
                outcome.status = 503
                await answer_json(send, 503, {"error": str(error)}, [*extra, *_RETRY])
            except Exception:
                outcome.status = 500
                logger.exception("request %s failed", given_id)
                sentence = f"internal error; the log names it as request {given_id}"
                await answer_json(send, 500, {"error": sentence}, extra)

    async def _route(self, scope: Scope, receive: Receive, send: Send, given_id: str) -> None:
        parts = [part for part in scope["path"].split("/") if part][1:]
        method = scope["method"]
        if parts[-1:] == ["infer"]:
            if method != "POST":
                raise Refusal(405, "infer is a POST", [(b"allow", b"POST")])
            await self._infer(_model(parts[:-1]), scope, receive, send, given_id)
            return
        if method != "GET":
            raise Refusal(405, f"{method} is not allowed here", [(b"allow", b"GET")])
        await answer_json(send, *await self._about(parts), [(b"x-request-id", given_id.encode())])

    async def _about(self, parts: list[str]) -> tuple[int, dict[str, Any]]:
        """Everything that is not an inference."""
        if not parts:
            return 200, _server()
        if parts == ["health", "live"]:
            return 200, {"live": True, "ready": True}
        if parts == ["health", "ready"]:
            ready = await self._is_ready()
            return 200 if ready else 503, {"live": True, "ready": ready}
        if parts == ["models"]:
            return 200, {"models": list(_SERVED)}
        if parts[-1] == "ready":
            name, ready = _model(parts[:-1]).name, await self._is_ready()
            return 200 if ready else 503, {"name": name, "ready": ready}
        return 200, _metadata(_model(parts))

    async def _is_ready(self) -> bool:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._reader.clients, 1)
        except SendtideError:
            return False
        return True

    async def _infer(
        self, model: ServedModel, scope: Scope, receive: Receive, send: Send, given_id: str
    ) -> None:
        body = await read_body(scope, receive, self._body_bytes)
        json_bytes = _json_bytes(scope)
        if self._waiting >= LIMIT_WAITING:
            raise Refusal(503, f"{LIMIT_WAITING} requests are waiting; try again soon", _RETRY)
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._inferrer.infer, model, body, json_bytes, scope[GRANT], given_id
            )
        finally:
            self._waiting -= 1
        self._meters.rows(model.name, found.rows)
        headers = [(b"x-request-id", given_id.encode())]
        kind = b"application/json"
        if found.json_bytes is not None:
            kind = b"application/octet-stream"
            headers.append((b"inference-header-content-length", str(found.json_bytes).encode()))
        await answer(send, 200, found.body, kind, headers)


def _request_id(scope: Scope) -> str:
    """The caller's own id if it is a plain short word, otherwise a new one."""
    given = (header(scope, b"x-request-id") or b"").decode("latin-1")
    if 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum():
        return given
    return uuid.uuid4().hex


def _json_bytes(scope: Scope) -> int | None:
    length = header(scope, b"inference-header-content-length")
    if length is None:
        return None
    if not length.isdigit():
        raise Refusal(400, f"Inference-Header-Content-Length is {length[:40]!r}, not a number")
    return int(length[:12])


def _model(parts: list[str]) -> ServedModel:
    """`models/M` or `models/M/versions/V` to its model."""
    name = parts[1] if len(parts) > 1 and parts[0] == "models" else None
    if name is None or (len(parts) != 2 and (len(parts) != 4 or parts[2] != "versions")):
        raise Refusal(404, "there is nothing here; see GET /v2/models")
    if name not in _SERVED:
        raise Refusal(404, f"model {name[:80]!r} is unknown; served: {', '.join(_SERVED)}")
    if len(parts) == 4 and parts[3] != INTERFACE_VERSION:
        msg = f"version {parts[3][:40]!r} of {name} is unknown; served: {INTERFACE_VERSION}"
        raise Refusal(404, msg)
    return _SERVED[name]


def _server() -> dict[str, Any]:
    return {
        "name": "sendtide",
        "version": _package_version(),
        "extensions": ["binary_tensor_data", "explain"],
    }


def _metadata(model: ServedModel) -> dict[str, Any]:
    def entries(tensors: dict[str, str]) -> list[dict[str, Any]]:
        shapes = {"scores": [-1, 168]}
        return [
            {"name": name, "datatype": kind, "shape": shapes.get(name, [-1])}
            for name, kind in tensors.items()
        ]

    return {
        "name": model.name,
        "versions": [INTERFACE_VERSION],
        "platform": "sendtide_live_state",
        "inputs": entries(model.inputs),
        "outputs": entries(model.outputs),
        "properties": {"description": model.about},
    }
