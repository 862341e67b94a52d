"""A served page over a store in memory."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sendtide.dashboard import Dashboard
from sendtide.endpoint import background, build
from sendtide.sinks import MemoryStore

Ask = Callable[..., tuple[int, dict[str, str], Any]]


def asker(url: str) -> Ask:
    """GET a path; (status, headers, body), the body decoded if it is JSON."""

    def ask(path, headers=None, method="GET"):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        kind = found["content-type"]
        return answer.status, found, json.loads(body) if kind == "application/json" else body

    return ask


def until(ask: Ask, holds, path="/api/live"):
    """Ask until `holds(body)`; the page's samples are taken once a second."""
    for _ in range(100):
        body = ask(path)[2]
        if holds(body):
            return body
        time.sleep(0.05)
    pytest.fail(f"{path} never came to hold: {body}")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def page(store) -> Iterator[Ask]:
    with background(build(store, {"/": Dashboard(store)})) as url:
        yield asker(url)
