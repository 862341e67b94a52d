"""Subjects and variants asked over real HTTP: threshold, base rate, propensities, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sendtide.endpoint import DecisionLog, Inferrer, background, build
from sendtide.events.creative import creative_of
from sendtide.models.content_directory import (
    ContentDirectory,
    subject_columns,
    variant_columns,
)
from sendtide.models.registry import ModelState
from sendtide.models.subject import SubjectBank
from sendtide.models.variants import VariantBank
from sendtide.sinks import MemoryStore

from .asking import ANNA, NOW_MS, Client, put, record, values

GOOD, BAD = "You are invited", "Your invoice"


def _state(kind, columns):
    return ModelState(
        client_id="acme",
        model=kind,
        kind=kind,
        model_version=7,
        learned=7,
        newest_event_ms=NOW_MS - 9_000,
        columns=columns,
    ).to_bytes()


@pytest.fixture(scope="module")
def directory():
    """A client in which one subject and one variant are opened, the others are not."""
    subjects, variants, n = SubjectBank(), VariantBank(), 400
    subjects.grow(1), variants.grow(1)
    codes, rows = np.arange(n) % 2, np.zeros(n, np.int64)
    made = np.concatenate([creative_of(subject=text) for text in (GOOD, BAD)])
    subjects.learn(rows, made, codes, np.full(n, 0.3), codes == 0)
    made = np.concatenate([creative_of(variant=v, campaign="may") for v in ("hero", "plain")])
    variants.learn(rows, made, codes, codes == 0)
    found = ContentDirectory()
    found.apply(_state("subject", subject_columns(subjects.weights[0])))
    found.apply(_state("variant", variant_columns(variants.model(0))))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return tmp_path_factory.mktemp("decisions") / "chosen.jsonl"


@pytest.fixture(scope="module")
def served(directory, written):
    store = MemoryStore()
    put(store, "acme", ANNA, record(open_probability=0.3))
    log = DecisionLog(written)
    inferrer = Inferrer(store, content=directory, subject_threshold=0.45, log=log)
    with background(build(store, None, inferrer)) as url:
        yield Client(url)


def _asking(**columns):
    kinds = {int: "INT64", bool: "BOOL", str: "BYTES"}
    inputs = [
        {"name": name, "shape": [len(data)], "datatype": kinds[type(data[0])], "data": data}
        for name, data in columns.items()
    ]
    return {"inputs": inputs}


def test_a_subject_that_worked_is_engaging(served):
    """Ranked as the labels were, against the recipient's own rate and the set threshold."""
    asked = _asking(client_id=["acme"] * 3, subject=[GOOD, BAD, "?"], recipient_id=[ANNA] * 3)
    status, answer = served.infer("subject", asked)

    found = values(answer)
    assert status == 200
    assert found["open_probability"][0] > 0.45 > 0.3 > found["open_probability"][1]
    assert found["base_probability"] == pytest.approx([0.3] * 3)
    assert found["open_probability"][2] == pytest.approx(0.3, abs=0.05)
    assert found["engaging"] == [True, False, False]
    assert found["model_version"] == [7] * 3
    assert found["tier"] == ["recipient"] * 3


def test_nobody_known_is_answered_with_null(served):
    """Without a recipient and without a client's numbers there is no base rate to start from."""
    _, answer = served.infer("subject", _asking(client_id=["other"], subject=[GOOD]))

    found = values(answer)
    assert (found["open_probability"], found["engaging"]) == ([None], [False])
    assert (found["tier"], found["stale"]) == (["unknown"], [True])


def test_the_variant_that_worked_is_drawn_with_its_propensity(served, written):
    """Shares add up to one; over many decisions the draws are as frequent as they say."""
    drawn, told, before = 0, 0.0, len(written.read_text().splitlines())
    for number in range(200):
        asked = _asking(
            client_id=["acme"] * 2,
            campaign_id=["new"] * 2,
            variant=["a", "b"],
            decision_id=[f"d-{number}"] * 2,
        )
        found = values(served.infer("variant", asked)[1])
        assert sum(found["propensity"]) == pytest.approx(1.0)
        assert sum(found["chosen"]) == 1
        drawn, told = drawn + found["chosen"][0], told + found["propensity"][0]
    assert abs(drawn - told) < 25
    lines = [json.loads(line) for line in written.read_text().splitlines()[before:]]
    assert [line["decision_id"] for line in lines] == [f"d-{number}" for number in range(200)]
    assert sum(line["variant"] == "a" for line in lines) == drawn
    assert all(0 < line["propensity"] <= 1 and line["model_version"] == 7 for line in lines)
    asked["inputs"][1]["data"] = ["may", "may"]
    asked["inputs"][2]["data"] = ["plain", "hero"]
    found = values(served.infer("variant", asked)[1])
    assert found["open_probability"][1] > 0.8 > 0.2 > found["open_probability"][0]
    assert found["chosen"] == [False, True]
    assert found["event_time_ms"] == [NOW_MS - 9_000] * 2


def test_one_request_may_hold_many_decisions_and_repeats_them(served):
    """Rows of a client, campaign and decision belong together; asked again, the same is drawn."""
    asked = _asking(
        client_id=["acme"] * 4 + ["other"] * 2,
        variant=["a", "b", "b", "a", "a", "b"],
        decision_id=["1", "1", "2", "2", "1", "1"],
        clickable_images=[1, 2, 2, 1, 1, 2],
        augmented=[True, False, False, True, True, False],
        angle=["front", "back", "back", "front", "front", "back"],
    )
    first, again = (values(served.infer("variant", asked)[1]) for _ in range(2))
    assert first.pop("age_s")[0] <= again.pop("age_s")[0]
    assert first == again
    for rows in ((0, 1), (2, 3), (4, 5)):
        assert sum(first["chosen"][i] for i in rows) == 1
        assert sum(first["propensity"][i] for i in rows) == pytest.approx(1.0)
    assert first["open_probability"][4:] == [None, None]
    assert first["tier"] == ["client"] * 4 + ["unknown"] * 2


@pytest.mark.parametrize(
    ("model", "columns", "word"),
    [
        ("subject", {"client_id": ["acme"]}, "client_id and subject"),
        ("subject", {"client_id": ["acme"], "subject": ["x" * 999]}, "999 characters"),
        ("variant", {"client_id": ["acme"] * 2, "variant": ["a", "a"]}, "stands twice"),
        ("variant", {"client_id": ["acme"], "variant": ["a b"]}, "'a b'"),
        ("variant", {"client_id": ["acme"], "variant": ["a"], "image_width": [-1]}, "out of range"),
        ("variant", {"client_id": ["acme"], "variant": ["a"], "augmented": [1]}, "augmented"),
    ],
)
def test_what_cannot_be_answered_is_refused(served, model, columns, word):
    """With 400 and a sentence that says what to change."""
    status, answer = served.infer(model, _asking(**columns))
    assert status == 400
    assert word in answer["error"]


def test_a_server_without_kafka_says_so():
    """503 with what to do, not an invented number."""
    with background(build(MemoryStore())) as url:
        status, answer = Client(url).infer("subject", _asking(client_id=["acme"], subject=[GOOD]))
    assert status == 503
    assert "--kafka" in answer["error"]
