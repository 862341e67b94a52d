"""Explained answers: the parts add up to the answer they stand beside, over HTTP."""

import numpy as np
import pytest

from clients.blocks import block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.records import decode_scores, encode_scores, history_of
from sendtide.models.levels import LEVELS, level_curves
from sendtide.models.propensity import FEATURES
from sendtide.sinks import Owner, StateRow

from .asking import ANNA, BERT, NOW_MS, asking, put, record, values
from .test_app import HOUR_MS, MONDAY_MS

CLIENT = "client-1"


@pytest.fixture(scope="module")
def partition():
    """What 2,000 labels of three clients taught."""
    found = ClientPartition(0, ClientSettings())
    found.apply(block(example_rows(2_000), "label"))
    return found


@pytest.fixture(scope="module")
def states(partition):
    return {(s.client_id, s.kind): s for s in partition.take_models()}


@pytest.fixture
def told(store, states):
    """The store with the states of all clients and two recipients of one of them."""
    rows = [
        StateRow(client_id=client, kind=kind, value=state.to_bytes())
        for (client, kind), state in states.items()
        if client != "all"
    ]
    store.write_states(Owner("clients", 0, 1), rows)
    scores = np.random.default_rng(2).uniform(0.1, 0.6, (1, 168))
    scale, steps = encode_scores(scores)
    for recipient, sends, opens in ((ANNA, 20, 12), (BERT, 9, 0)):
        row = record(
            sends=sends, opens=opens, clicks=opens // 4, hours_since_send=30.0, score_scale=scale,
            hours_since_open=np.nan if opens == 0 else 31.0, scores=steps, period_sends=3,
            period_opens=min(opens, 2), period=NOW_MS // 864_000_000,
        )  # fmt: skip
        put(store, CLIENT, recipient, row)
    return store


@pytest.mark.parametrize("target", ["open", "click", "bounce"])
def test_parts_add_up_to_the_probability_in_the_same_answer(client, told, partition, target):
    """To 1e-6 on log-odds; and that is what stage B itself says of these histories."""
    question = {**asking(ANNA, BERT, client=CLIENT), "parameters": {"explain": True}}
    status, body = client.infer(f"{target}_propensity", question)
    found = values(body)
    assert status == 200
    assert found["contribution_names"] == list(FEATURES)
    parts = np.reshape(found["contributions"], (2, len(FEATURES)))
    total = np.array(found["baseline"]) + parts.sum(axis=1) + np.array(found["doubt"])
    p = np.array(found[f"{target}_probability"])
    np.testing.assert_allclose(total, np.log(p / (1 - p)), atol=1e-6)
    np.testing.assert_allclose(total, found["log_odds"], atol=1e-9)

    records = told.records([CLIENT] * 2, [ANNA, BERT])
    learning, row = partition.learning, partition.roster.names.index(CLIENT)
    rows, content = np.full(2, row, np.int32), np.full((2, 5), np.nan, np.float32)
    x = learning.rates.features(rows, history_of(records), content)
    place = ("open", "click", "unsubscribe", "complaint", "bounce").index(target)
    own = learning.bank.predict(rows, x, records["event_time_ms"].astype(np.int64))[:, place]
    np.testing.assert_allclose(p, own, atol=1e-9)
    assert found["model_version"] == [int(learning.learned()[row])] * 2


def test_levels_add_up_to_how_far_the_slot_is_ahead_of_its_window(client, told, states):
    """The sum is the record's own log-odds of the chosen slot over the mean of the window's."""
    window = {
        "window_start_ms": [MONDAY_MS] * 2,
        "window_end_ms": [MONDAY_MS + 30 * HOUR_MS] * 2,
    }
    question = {**asking(ANNA, BERT, client=CLIENT, **window), "parameters": {"explain": True}}
    _, body = client.infer("send_time", question)
    found = values(body)
    parts = np.reshape(found["contributions"], (2, len(LEVELS)))
    scores = decode_scores(told.records([CLIENT], [ANNA]))[0, :30].astype(float)
    log_odds = np.log(scores / (1 - scores))
    assert found["contribution_names"] == list(LEVELS)
    assert parts[0].sum() == pytest.approx(log_odds.max() - log_odds.mean(), abs=1e-6)
    assert parts[0, 0] == pytest.approx(0, abs=1e-6)  # nobody in particular: all hours equal
    assert parts[0, 2] == pytest.approx(0, abs=1e-9)  # no segment
    assert found["sends"] == [20, 9]
    curves = level_curves(states[CLIENT, "send_time"], 0)
    np.testing.assert_array_equal(curves[1], curves[2])


def test_what_is_not_known_is_not_explained(client, told):
    """A stranger and a client without a state have NaN, never a made-up part."""
    question = {**asking("1" * 32, client=CLIENT), "parameters": {"explain": True}}
    found = values(client.infer("open_propensity", question)[1])
    assert set(found["contributions"]) == {None}
    assert found["open_probability"] == [None]
    question = {**asking(ANNA), "parameters": {"explain": True}}
    assert values(client.infer("open_propensity", question)[1])["log_odds"] == [None]


def test_too_many_rows_are_refused_and_the_extension_is_named(client, told):
    """1,001 rows are more than one request may have explained."""
    question = {**asking(*[ANNA] * 1_001, client=CLIENT), "parameters": {"explain": True}}
    status, body = client.infer("open_propensity", question)
    assert status == 413
    assert "explained" in body["error"]
    assert "explain" in client.get("/v2")[1]["extensions"]
