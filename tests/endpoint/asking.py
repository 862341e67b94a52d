"""A client that asks over real HTTP, and records to be asked about."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

import numpy as np

from sendtide.events.records import RECIPIENT_LAYOUT, RECIPIENT_RECORD, encode_scores
from sendtide.sinks import Owner, RecipientRows

NOW_MS = time.time_ns() // 1_000_000
ANNA, BERT = "0" * 31 + "a", "f" * 16 + "0" * 15 + "b"


@dataclass
class Client:
    """Asks one server; every answer is (status, headers, body)."""

    url: str

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    def get(self, path, **headers):
        status, _, body = self.ask("GET", path, None, headers)
        return status, json.loads(body)

    def infer(self, model, request, headers=None, version=""):
        body = request if isinstance(request, bytes) else json.dumps(request)
        status, _, answer = self.ask("POST", f"/v2/models/{model}{version}/infer", body, headers)
        return status, json.loads(answer)


def record(**fields):
    row = np.zeros(1, RECIPIENT_RECORD)
    row["layout"] = RECIPIENT_LAYOUT
    row["event_time_ms"] = NOW_MS - 60_000
    row["model_version"] = 41
    row["open_probability"] = 0.25
    for name, value in fields.items():
        row[name] = value
    return row


def peak(hour, high=0.8, low=0.1):
    """A record whose best hour of the week is `hour`."""
    probabilities = np.full((1, 168), low)
    probabilities[0, hour] = high
    scale, scores = encode_scores(probabilities)
    return record(best_hour=hour, score_scale=scale, scores=scores)


def put(store, client, recipient, row):
    halves = np.array([[int(recipient[:16], 16), int(recipient[16:], 16)]], np.uint64)
    rows = RecipientRows(clients=[client], client_index=np.zeros(1, int), recipients=halves)
    store.write_recipients(Owner("recipients", 0, 1), rows, row)


def asking(*recipients, client="acme", **more):
    n = len(recipients)
    inputs = [
        {"name": "client_id", "shape": [n], "datatype": "BYTES", "data": [client] * n},
        {"name": "recipient_id", "shape": [n], "datatype": "BYTES", "data": list(recipients)},
    ]
    for name, data in more.items():
        kind = "BYTES" if name == "timezone" else "INT64"
        inputs.append({"name": name, "shape": [n], "datatype": kind, "data": data})
    return {"inputs": inputs}


def values(answer):
    return {output["name"]: output["data"] for output in answer["outputs"]}
