"""Faults of those who read: an endpoint that is abused, readers whose connections are dropped."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from sendtide.chaos.proxy import FaultProxy
from sendtide.chaos.toxics import Bandwidth
from sendtide.chaos.trial import Trial
from sendtide.events.topics import SENDS
from sendtide.local import free_port, start_program

__all__ = ["http_abuse", "readers_dropped"]

_ANSWER_S: Final = 10.0
_SLOW_ANSWER_S: Final = 60.0
_DROPS: Final = 10
_SLOW_CLIENTS: Final = 40
_LARGE: Final = 8 << 20
_MANY_ROWS: Final = 10_001
_INFER: Final = "/v2/models/open_propensity/infer"


def readers_dropped(trial: Trial) -> None:
    """Connections of the endpoint, and of who reads its metrics and dashboard, reset again."""
    redis_proxy = trial.undo.enter_context(FaultProxy(trial.stand.redis_port))
    port = _endpoint(trial, redis_proxy.port)
    proxy = trial.undo.enter_context(FaultProxy(port))
    trial.worker()
    trial.start_load()
    trial.wait_share(0.2)
    cut = 0
    for _ in range(_DROPS):
        readers = [_open(proxy.port, path) for path in ("/metrics", "/")]
        trial.note_in_flight()
        cut += proxy.cut() * bool(redis_proxy.cut())
        for reader in readers:
            reader.close()
    trial.fired = cut > 0
    trial.healed()
    for path in ("/metrics", "/", "/v2/health/ready"):
        if (status := _get(proxy.port, path)) != 200:
            trial.notes.append(f"GET {path} is answered with {status} once nothing is dropped")


def http_abuse(trial: Trial) -> None:
    """Bodies that trickle in, are too large or ask too much; others are answered all the while."""
    port = _endpoint(trial, trial.stand.redis_port)
    proxy = trial.undo.enter_context(FaultProxy(port))
    trial.worker()
    trial.start_load()
    trial.wait_share(0.2)
    honest = _Honest(port, trial)
    trial.note_in_flight()
    seen = Counter[int]()
    proxy.add("slow", Bandwidth(stream="upstream", rate_kb_s=0.01))
    slow = [_open(proxy.port, _INFER, bytes(4_000)) for _ in range(_SLOW_CLIENTS)]
    seen[_post(port, bytes(_LARGE))] += 1
    seen[_post(port, _asking([("client-0", f"{n:032x}") for n in range(_MANY_ROWS)]))] += 1
    for connection in slow:
        with suppress(OSError, http.client.HTTPException):
            seen[connection.getresponse().status] += 1
        connection.close()
    trial.fired = seen[408] == _SLOW_CLIENTS and seen[413] == 2 and proxy.fired["Bandwidth"] > 0
    if not trial.fired:
        trial.notes.append(f"abuse is answered with {dict(seen)}")
    proxy.clear()
    trial.notes += honest.end()
    trial.healed()


class _Honest:
    """One who asks, again and again, about a recipient under its client and under another."""

    def __init__(self, port: int, trial: Trial) -> None:
        self._port, self._over, self.answers = port, threading.Event(), 0
        self._wrong: list[str] = []
        sends = [value or b"" for topic, _, value, _ in trial.records if topic == SENDS.name]
        known = [json.loads(value) for value in sends if _whole(value)]
        self._mine = known[0]["client_id"], known[0]["recipient_id"]
        of = {event["recipient_id"]: event["client_id"] for event in known}
        others = [client for client in of.values() if client != self._mine[0]]
        self._other = others[0], self._mine[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            try:
                self._ask()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._wrong.append(f"an honest client is not answered: {error!r}")

    def _ask(self) -> None:
        connection = _open(self._port, _INFER, _asking([self._mine, self._other]))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            self._wrong.append(f"an honest client is answered with {answer.status}")
            return
        tiers = next(out["data"] for out in body["outputs"] if out["name"] == "tier")
        self.answers += 1
        if tiers[1] == "recipient":
            self._wrong.append(f"{self._other} is told what is known of {self._mine}")

    def end(self) -> list[str]:
        """What went wrong."""
        self._over.set()
        self._thread.join()
        return self._wrong[:3] if self.answers else ["no honest client was ever answered"]


def _whole(value: bytes) -> bool:
    with suppress(ValueError):
        event = json.loads(value)
        return isinstance(event, dict) and {"client_id", "recipient_id"} <= event.keys()
    return False


def _endpoint(trial: Trial, redis_port: int) -> int:
    port = free_port()
    command = [sys.executable, "-m", "sendtide.commands", "serve", "--port", str(port)]
    command += ["--redis", f"redis://127.0.0.1:{redis_port}/0"]
    server = start_program("endpoint", command, address="", logs=trial.folder)
    trial.undo.callback(server.stop, _ANSWER_S)
    server.wait_until(lambda: _get(port, "/v2/health/live") == 200, _SLOW_ANSWER_S)
    return port


def _asking(rows: list[tuple[str, str]]) -> bytes:
    columns = zip(("client_id", "recipient_id"), zip(*rows, strict=True), strict=True)
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": "BYTES", "shape": [len(rows)], "data": list(data)}
        for name, data in columns
    ]
    return json.dumps({"inputs": inputs}).encode()


def _open(port: int, path: str, body: bytes | None = None) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SLOW_ANSWER_S)
    connection.request("GET" if body is None else "POST", path, body)
    return connection


def _post(port: int, body: bytes) -> int:
    """The status; 0 without an answer."""
    return _status(port, _INFER, body)


def _get(port: int, path: str) -> int:
    return _status(port, path)


def _status(port: int, path: str, body: bytes | None = None) -> int:
    try:
        connection = _open(port, path, body)
        status = connection.getresponse().status
        connection.close()
    except (OSError, http.client.HTTPException):
        return 0
    return status
