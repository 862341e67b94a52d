"""The endpoint as a foreign client sees it, over real HTTP."""

from __future__ import annotations

import gzip
import json
import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from sendtide.endpoint import background, build
from sendtide.events.errors import Unavailable
from sendtide.events.records import RARE_TARGETS
from sendtide.sinks import RedisReader

from .asking import ANNA, BERT, NOW_MS, Client, asking, put, record, values

PROPENSITIES = [f"{target}_propensity" for target in ("open", *RARE_TARGETS)]
SERVED = ["send_time", *PROPENSITIES, "subject", "variant"]

MONDAY_MS = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def test_health_has_both_keys(client):
    """Health bodies are JSON with `live` and `ready`: clients read one or the other."""
    assert client.get("/v2/health/live") == (200, {"live": True, "ready": True})
    assert client.get("/v2/health/ready") == (200, {"live": True, "ready": True})


def test_server_metadata_with_and_without_slash(client):
    """`/v2` and `/v2/` are the same place."""
    status, body = client.get("/v2")

    extensions = ["binary_tensor_data", "explain"]
    assert (status, body["name"], body["extensions"]) == (200, "sendtide", extensions)
    assert client.get("/v2/") == (status, body)


@pytest.mark.parametrize("name", ["send_time", "open_propensity"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_model_metadata(client, name, version):
    """Every model tells its inputs and outputs, with and without a version in the path."""
    status, body = client.get(f"/v2/models/{name}{version}")

    assert (status, body["name"], body["versions"]) == (200, name, ["1"])
    assert {x["name"] for x in body["inputs"]} >= {"client_id", "recipient_id"}
    assert {x["name"] for x in body["outputs"]} >= {"open_probability", "stale", "model_version"}
    assert client.get(f"/v2/models/{name}{version}/ready") == (200, {"name": name, "ready": True})


def test_models_are_listed(client):
    """`GET /v2/models` names them all."""
    assert client.get("/v2/models") == (200, {"models": SERVED})


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v2/models/churn", ", ".join(SERVED)),
        ("/v2/models/send_time/versions/7", "served: 1"),
        ("/v2/nothing", "GET /v2/models"),
        ("/nowhere", "GET /v2"),
    ],
)
def test_unknown_places(client, path, word):
    """404 is JSON and says what there is."""
    status, body = client.get(path)

    assert status == 404
    assert word in body["error"]


def test_wrong_method(client):
    """405 names the allowed method."""
    status, headers, body = client.ask("GET", "/v2/models/send_time/infer")

    assert (status, headers["allow"]) == (405, "POST")
    assert "error" in json.loads(body)


def test_open_propensity(client):
    """The probability is the record's, and the answer names version, newest event and age."""
    status, body = client.infer("open_propensity", {**asking(ANNA), "id": "mine"})
    found = values(body)

    assert status == 200
    assert found["open_probability"] == [0.25]
    assert (found["model_version"], found["tier"], found["stale"]) == ([41], ["recipient"], [False])
    assert found["event_time_ms"] == [NOW_MS - 60_000]
    assert (body["id"], body["model_version"]) == ("mine", "41")
    assert body["parameters"]["newest_event_ms"] == NOW_MS - 60_000
    assert body["parameters"]["age_s"] >= 60


def test_each_propensity_by_its_name(store, client):
    """All five models answer out of the one record; strangers get null, never a number."""
    rare = np.array([[0.03, 0.002, 0.0004, 0.01]])
    put(store, "acme", BERT, record(propensities=rare))
    expected = dict(zip(PROPENSITIES, [0.25, *rare[0].tolist()], strict=True))
    for name, value in expected.items():
        _, body = client.infer(name, asking(BERT, "f" * 32))
        found = values(body)[name.replace("propensity", "probability")]
        assert found[0] == pytest.approx(value)
        assert found[1] is None


def test_send_time_inside_a_window(client):
    """The best hour inside the window is chosen, for each row its own."""
    request = asking(
        ANNA,
        BERT,
        window_start_ms=[MONDAY_MS] * 2,
        window_end_ms=[MONDAY_MS + 7 * 24 * HOUR_MS] * 2,
    )

    _, body = client.infer("send_time", request)
    found = values(body)

    assert found["send_at_ms"] == [MONDAY_MS + 33 * HOUR_MS, MONDAY_MS + 100 * HOUR_MS]
    assert found["open_probability"] == pytest.approx([0.8, 0.8])


def test_best_hour_outside_the_window_is_not_taken(client):
    """A window that ends before the best hour is answered from inside it."""
    end = MONDAY_MS + 33 * HOUR_MS
    request = asking(ANNA, window_start_ms=[MONDAY_MS + 1], window_end_ms=[end])

    _, body = client.infer("send_time", request)
    found = values(body)

    assert found["send_at_ms"] == [MONDAY_MS + 1]
    assert found["open_probability"] == pytest.approx([0.1], abs=0.002)


def test_hours_are_local(client):
    """Tuesday 09:00 in New York is 14:00 UTC in November."""
    request = asking(
        ANNA,
        window_start_ms=[MONDAY_MS],
        window_end_ms=[MONDAY_MS + 7 * 24 * HOUR_MS],
        timezone=["America/New_York"],
    )

    _, body = client.infer("send_time", request)

    assert values(body)["send_at_ms"] == [MONDAY_MS + (33 + 5) * HOUR_MS]


def test_window_inside_one_hour(client):
    """A window shorter than an hour still has one candidate: its start."""
    start = MONDAY_MS + 33 * HOUR_MS + 600_000
    request = asking(ANNA, window_start_ms=[start], window_end_ms=[start + 1])

    _, body = client.infer("send_time", request)

    assert values(body)["send_at_ms"] == [start]


def test_scores_on_request(client):
    """The 168 scores are sent only when asked for, as [n, 168]."""
    plain = client.infer("send_time", asking(ANNA))[1]
    full = client.infer("send_time", {**asking(ANNA, BERT), "outputs": [{"name": "scores"}]})[1]

    assert "scores" not in values(plain)
    (output,) = full["outputs"]
    assert (output["shape"], output["datatype"]) == ([2, 168], "FP32")
    assert np.argmax(np.reshape(output["data"], (2, 168)), axis=1).tolist() == [33, 100]


def test_unknown_recipient_is_said_so(client):
    """A recipient nobody wrote is `unknown` and stale, with no made-up number."""
    _, body = client.infer("send_time", asking("1" * 32, ANNA))
    found = values(body)

    assert found["tier"] == ["unknown", "recipient"]
    assert found["stale"] == [True, False]
    assert found["open_probability"][0] is None
    assert found["send_at_ms"][0] == -1
    assert body["parameters"]["unknown_rows"] == 1


def test_stale_record_is_said_so(client, store):
    """A record without an event for longer than the limit is answered, and marked."""
    put(store, "acme", ANNA, record(event_time_ms=NOW_MS - 8 * 86_400_000))

    _, body = client.infer("open_propensity", asking(ANNA))

    assert values(body)["stale"] == [True]
    assert body["parameters"]["stale_rows"] == 1


def test_binary_both_ways(client):
    """Raw tensors in, raw tensors out, with the lengths in the header and no Content-Type."""
    texts = [b"acme", ANNA.encode()]
    raw = [struct.pack("<I", len(text)) + text for text in texts]
    raw += [struct.pack("<q", MONDAY_MS), struct.pack("<q", MONDAY_MS + 7 * 24 * HOUR_MS)]
    names = ["client_id", "recipient_id", "window_start_ms", "window_end_ms"]
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": [1, 1],
                    "datatype": "BYTES" if i < 2 else "INT64",
                    "parameters": {"binary_data_size": len(raw[i])},
                }
                for i, name in enumerate(names)
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()

    status, headers, body = client.ask(
        "POST",
        "/v2/models/send_time/versions/1/infer",
        head + b"".join(raw),
        {"Inference-Header-Content-Length": str(len(head))},
    )
    length = int(headers["inference-header-content-length"])
    answer, at, found = json.loads(body[:length]), length, {}
    for output in answer["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = body[at : at + size]
        at += size

    assert (status, at) == (200, len(body))
    assert struct.unpack("<q", found["send_at_ms"]) == (MONDAY_MS + 33 * HOUR_MS,)
    assert found["tier"] == struct.pack("<I", 9) + b"recipient"
    assert found["stale"] == b"\x00"


def test_gzip_request(client):
    """A packed body is read like a plain one."""
    packed = gzip.compress(json.dumps(asking(ANNA)).encode())

    status, _ = client.infer("open_propensity", packed, {"Content-Encoding": "gzip"})

    assert status == 200


def test_gzip_bomb(client):
    """A small body that unpacks to much is refused by what it unpacks to."""
    packed = gzip.compress(b" " * 50_000_000)

    status, body = client.infer("open_propensity", packed, {"Content-Encoding": "gzip"})

    assert len(packed) < 100_000
    assert status == 413
    assert "fewer rows" in body["error"]


def changed(**fields):
    request = asking(ANNA)
    request["inputs"][1].update(fields)
    return request


@pytest.mark.parametrize(
    ("request_body", "status", "word"),
    [
        (b"", 400, "no inference request"),
        (b"{", 400, "no inference request"),
        (b"\xff\xfe", 400, "no inference request"),
        (b"[" * 100_000, 400, "no inference request"),
        (b'{"inputs":[{"name":"client_id","shape":[1],"datatype":"BYTES","data":'
         + b"[" * 50_000 + b"]" * 50_000 + b"}]}", 400, "nested too deeply"),
        ({"inputs": []}, 400, "client_id and recipient_id"),
        (changed(data=["not-a-hash"]), 400, "keyed hash of the address"),
        (changed(data=[5]), 400, "BYTES needs str"),
        (changed(data=[None]), 400, "BYTES needs str"),
        (changed(data="x"), 400, "no list"),
        (changed(data=[]), 400, "its shape says 1"),
        (changed(shape=[2]), 400, "another has 1"),
        (changed(shape=[-1]), 400, "allowed: [n]"),
        (changed(shape=[1, 168]), 400, "allowed: [n]"),
        (changed(shape=[10_001]), 413, "limit is 10000"),
        (changed(datatype="FP32"), 400, "unknown or repeated"),
        (changed(name="client_id"), 400, "unknown or repeated"),
        (changed(name="email"), 400, "unknown or repeated"),
        (changed(parameters={"binary_data_size": 7}), 400, "binary_data_size 7"),
        (asking(ANNA, client="a}:b"), 400, "cannot be part of a key"),
        (asking(ANNA, window_start_ms=[MONDAY_MS]), 400, "needed together"),
        (asking(ANNA, window_start_ms=[5], window_end_ms=[6]), 400, "row 0: window 5 to 6"),
        (asking(ANNA, window_start_ms=[2**80], window_end_ms=[6]), 400, "does not fit"),
        (asking(ANNA, window_start_ms=[True], window_end_ms=[6]), 400, "INT64 needs int"),
        (asking(ANNA, window_start_ms=[-(2**63)], window_end_ms=[2**63 - 1]), 400, "row 0"),
        (asking(ANNA, timezone=["Mars/Olympus"]), 400, "no IANA time zone"),
        ({**asking(ANNA), "outputs": [{"name": "secrets"}]}, 400, "output 'secrets' is unknown"),
    ],
)  # fmt: skip
def test_bad_requests(client, request_body, status, word):
    """Each mistake is answered by its status and a sentence that names it, never by a 500."""
    found, body = client.infer("send_time", request_body)

    assert found == status
    assert word in body["error"]


def test_too_large_body(client):
    """A body beyond 1 MiB is refused."""
    status, body = client.infer("send_time", b" " * ((1 << 20) + 1))

    assert status == 413
    assert "1048576" in body["error"]


def test_ten_thousand_rows(client):
    """The largest batch is answered whole and in order."""
    request = asking(*([ANNA, BERT] * 5_000))
    request["outputs"] = [{"name": "open_probability"}, {"name": "model_version"}]

    status, body = client.infer("send_time", gzip.compress(json.dumps(request).encode()),
                                {"Content-Encoding": "gzip"})  # fmt: skip

    assert status == 200
    assert values(body)["model_version"] == [41] * 10_000


def test_request_id_is_echoed(client):
    """A plain request id comes back; anything else is replaced."""
    _, given, _ = client.ask("GET", "/v2", None, {"X-Request-Id": "abc-123"})
    _, made, _ = client.ask("GET", "/v2", None, {"X-Request-Id": "bad id {}"})

    assert given["x-request-id"] == "abc-123"
    assert len(made["x-request-id"]) == 32


def test_store_away():
    """Without a store: not ready, and inference says when to come back."""
    reader = RedisReader("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        reader.clients()
    with background(build(reader)) as url:
        client = Client(url)
        body = json.dumps(asking(ANNA))
        status, headers, answer = client.ask("POST", "/v2/models/send_time/infer", body)

        assert (status, headers["retry-after"]) == (503, "1")
        assert "does not answer" in json.loads(answer)["error"]
        assert client.get("/v2/health/ready") == (503, {"live": True, "ready": False})
        assert client.get("/v2/health/live") == (200, {"live": True, "ready": True})
        assert b"sendtide_store_up_ratio 0.0" in client.ask("GET", "/metrics")[2]


def test_metrics(store):
    """Prometheus sees requests by status and rows by model, and no client's recipients."""
    with background(build(store)) as url:
        client = Client(url)
        client.infer("send_time", asking(ANNA, BERT))
        client.infer("send_time", b"{")
        text = client.ask("GET", "/metrics")[2].decode()

    assert 'sendtide_endpoint_requests_total{status="200"} 1.0' in text
    assert 'sendtide_endpoint_requests_total{status="400"} 1.0' in text
    assert 'sendtide_endpoint_rows_total{model="send_time"} 2.0' in text
    assert ANNA not in text
