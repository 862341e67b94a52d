"""Hours are judged by opens per send, at every level of the hierarchy."""

from __future__ import annotations

import numpy as np

from sendtide.events.hashing import hash_text
from sendtide.models import ALL_CLIENTS, ModelDirectory, ModelState, SendTime
from sendtide.models.send_time import PRIOR_RATE, add_counts, score_recipients, shrunk_rates


def state(client, exposures, opens, segments=(), kind="send_time"):
    names = np.array([hash_text(s) for s, _, _ in segments], np.uint64)
    tables = [np.array([t[i] for t in segments]).reshape(-1, 168) for i in (1, 2)]
    return ModelState(
        client_id=client,
        model="send-time",
        kind=kind,
        model_version=3,
        learned=int(exposures.sum()),
        newest_event_ms=0,
        columns={
            "exposures": exposures,
            "opens": opens,
            "segments": names,
            "segment_exposures": tables[0],
            "segment_opens": tables[1],
        },
    )


def simulated(seed=3, rows=3_000):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 168, rows), rng.random(rows) < 0.3, rng.integers(0, 5, rows)


def test_the_compiled_scores_equal_the_readable_model():
    """The directory and the River-interface model give the same probability for every hour."""
    hours, opened, people = simulated()
    model = SendTime()
    exposures, opens = np.zeros((1, 168), np.int64), np.zeros((1, 168), np.int64)
    personal = np.zeros((2, 5, 24), np.uint8)
    for hour, label, person in zip(hours, opened, people, strict=True):
        x = {"client": "c", "segment": "s", "recipient": str(person), "hour_of_week": hour}
        model.learn_one(x, bool(label))
        personal[:, person, hour % 24] += np.array([1, label], np.uint8)
    add_counts(np.zeros(len(hours), np.int64), hours, opened, exposures, opens)
    directory = ModelDirectory()
    totals = state(ALL_CLIENTS, exposures[0], opens[0])
    directory.apply(totals.to_bytes())
    segments = [("s", exposures[0], opens[0])]
    directory.apply(state("c", exposures[0], opens[0], segments).to_bytes())

    clients, names = np.full(5, hash_text("c"), np.uint64), np.full(5, hash_text("s"), np.uint64)
    scores, tier, effective, version = directory.slots(clients, names, *personal)

    for person in range(5):
        for hour in range(0, 168, 13):
            x = {"client": "c", "segment": "s", "recipient": str(person), "hour_of_week": hour}
            assert abs(scores[person, hour] - model.predict_proba_one(x)[True]) < 1e-6
    assert tier.tolist() == [0] * 5
    assert effective.sum() == 3_000
    assert version.tolist() == [3] * 5


def test_an_hour_does_not_look_good_for_being_used_often():
    """A sender who always sends at nine does not make nine o'clock the best hour."""
    exposures, opens = np.zeros(168, np.int64), np.zeros(168, np.int64)
    exposures[9], opens[9] = 10_000, 1_000
    exposures[33], opens[33] = 500, 150

    rates = shrunk_rates(exposures, opens, np.full(168, PRIOR_RATE))

    assert opens[9] > opens[33]
    assert rates[33] > rates[9]


def test_an_unknown_client_is_answered_by_what_all_clients_know():
    """Nothing known: the flat prior; then the sum over partitions; tier says so."""
    directory = ModelDirectory()
    nobody = np.array([1], np.uint64), np.array([0], np.uint64)
    none = np.zeros((1, 24), np.uint8)
    scores, tier, _, _ = directory.slots(*nobody, none, none)
    assert np.allclose(scores, PRIOR_RATE)
    assert tier[0] == 3

    for origin in (0, 1):
        exposures, opens = np.full(168, 1_000), np.full(168, 500)
        totals = state(ALL_CLIENTS, exposures, opens)
        totals.origin = origin
        directory.apply(totals.to_bytes())
    scores, tier, _, _ = directory.slots(*nobody, none, none)
    assert np.allclose(scores, (1_000 + 8 * PRIOR_RATE) / 2_008)
    assert tier[0] == 3


def test_scores_are_probabilities_whatever_the_counts():
    """Level and shape can push a score up, never above 1."""
    exposures = np.full((1, 24), 255, np.uint8)
    scores = score_recipients(
        exposures, exposures, np.zeros(1, np.int64), np.full((1, 168), 0.5), 1
    )

    assert scores.max() <= 1.0
    assert scores.min() > 0.9
