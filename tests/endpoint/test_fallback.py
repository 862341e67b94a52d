"""Recipients nobody has heard of, answered from what is known of their client."""

from __future__ import annotations

import pytest

from sendtide.endpoint import background, build
from sendtide.sinks import MemoryStore, ModelSummary, Owner

from .asking import ANNA, NOW_MS, Client, asking, peak, put, values

NOBODY = "7" * 32


@pytest.fixture
def asked():
    """(store, client) of a server of its own."""
    store = MemoryStore()
    put(store, "acme", ANNA, peak(33))
    with background(build(store)) as url:
        yield store, Client(url)


def publish(store, newest_event_ms=NOW_MS, **more):
    summary = ModelSummary(
        client_id="acme",
        model="send_time",
        as_of_ms=NOW_MS,
        newest_event_ms=newest_event_ms,
        model_version=9,
        hour_scores=[0.5 if hour == 50 else 0.25 for hour in range(168)],
        **more,
    )
    store.write_models(Owner("clients", 0, 1), [summary])


def test_client_stands_in(asked):
    """The client's hours answer for the unknown recipient, named as such; known rows stay."""
    store, client = asked
    publish(store, open_rate=0.3)

    scores = client.infer("send_time", {**asking(NOBODY, ANNA), "outputs": [{"name": "scores"}]})
    found = values(client.infer("open_propensity", asking(NOBODY, ANNA))[1])

    assert found["tier"] == ["client", "recipient"]
    assert found["model_version"] == [9, 41]
    assert found["open_probability"][0] == pytest.approx(0.3)
    assert values(scores[1])["scores"][50] == pytest.approx(0.5)


def test_stale_client_is_said_so(asked):
    """Hours of a client without events for longer than the limit are marked."""
    store, client = asked
    publish(store, newest_event_ms=NOW_MS - 8 * 86_400_000)

    assert values(client.infer("send_time", asking(NOBODY))[1])["stale"] == [True]


def test_another_client_does_not_stand_in(asked):
    """The hours of one client say nothing about another's recipients."""
    store, client = asked
    publish(store)

    found = values(client.infer("send_time", asking(NOBODY, client="rival"))[1])

    assert found["tier"] == ["unknown"]
