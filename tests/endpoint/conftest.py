"""A real server on a free port over a store in memory, shared by this room's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sendtide.endpoint import ControlGroup, Inferrer, background, build
from sendtide.sinks import MemoryStore

from .asking import ANNA, BERT, Client, peak, put


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[MemoryStore, Client]]:
    found = MemoryStore()
    nobody = ControlGroup(share=0.0)  # best hours are asked about; `test_control` has the group
    with background(build(found, None, Inferrer(found, control=nobody))) as url:
        yield found, Client(url)


@pytest.fixture
def store(served):
    """The served store with two recipients of one client."""
    found, _ = served
    put(found, "acme", ANNA, peak(33))  # Tuesday 09:00
    put(found, "acme", BERT, peak(100))
    return found


@pytest.fixture
def client(served, store) -> Client:
    return served[1]
