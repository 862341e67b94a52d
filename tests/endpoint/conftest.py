"""A real server on a free port over a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sendtide.endpoint import background, build
from sendtide.sinks import MemoryStore

from .asking import ANNA, BERT, Client, peak, put


@pytest.fixture
def store():
    found = MemoryStore()
    put(found, "acme", ANNA, peak(33))  # Tuesday 09:00
    put(found, "acme", BERT, peak(100))
    return found


@pytest.fixture
def client(store) -> Iterator[Client]:
    with background(build(store)) as url:
        yield Client(url)
