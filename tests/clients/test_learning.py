"""Learning: River's predictions row by row, honest quality measures, opens per send."""

import numpy as np
from river import linear_model, metrics, optim

from clients.blocks import START_MS, block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.learning import RATE_STRENGTH, binned_auc
from sendtide.events.examples import HISTORY_COLUMNS
from sendtide.events.hashing import hash_text
from sendtide.events.rhythm import BIN_HOURS, EVIDENCE
from sendtide.models import ModelDirectory
from sendtide.models.open_propensity import FEATURES, PRIOR_RATE, features

SETTINGS = ClientSettings(learning_rate=0.05)


def test_predictions_and_quality_are_rivers() -> None:
    """Each client's predictions equal its own River model fed one row at a time, as do its sums."""
    rows = example_rows(600)
    partition = ClientPartition(0, SETTINGS)
    found = np.concatenate(
        [partition.apply(b).learned.prediction for b in cut(rows, "label", [97, 5])]
    )
    models = [
        linear_model.LogisticRegression(optim.SGD(0.05), l2=0.0, intercept_lr=0.01)
        for _ in range(3)
    ]
    seen, measures = np.zeros((3, 2)), [(metrics.LogLoss(), metrics.ROCAUC(1000)) for _ in range(3)]
    for i in range(600):
        client, y = int(rows["client"][i]), bool(rows["opened"][i])
        rate = (seen[client, 1] + RATE_STRENGTH * PRIOR_RATE) / (seen[client, 0] + RATE_STRENGTH)
        one = {name: rows[name][i : i + 1] for name in HISTORY_COLUMNS}
        x = features(one, rows["content"][i : i + 1], np.array([rate]))[0]
        x = dict(zip(FEATURES, x.tolist(), strict=True))
        p = models[client].predict_proba_one(x)[True]
        assert abs(p - found[i]) < 1e-9
        for measure in measures[client]:
            measure.update(y, p)
        models[client].learn_one(x, y)
        seen[client] += (1, y)
    for summary in partition.summaries()[1::2]:
        client = int(summary.client_id[-1])
        assert abs(summary.log_loss - measures[client][0].get()) < 1e-9
        assert abs(summary.auc - measures[client][1].get()) < 0.005
        assert summary.open_rate == seen[client, 1] / seen[client, 0]


def test_auc_counts_pairs() -> None:
    """The binned AUC equals the share of ordered pairs, ties counting half."""
    counts = np.array([[3, 1], [2, 2], [0, 4]])
    scores = [(b, y) for b in range(3) for y in range(2) for _ in range(counts[b, y])]
    pairs = [(p > n) + (p == n) / 2 for p, py in scores for n, ny in scores if py == 1 and ny == 0]
    assert abs(binned_auc(counts) - np.mean(pairs)) < 1e-12
    assert binned_auc(np.array([[5, 0]])) is None


def test_an_hour_at_which_much_is_sent_is_not_therefore_good() -> None:
    """Most opens fall into the busy hour, but the best hour is the one with most opens per send."""
    rows = example_rows(4000, clients=1)
    rng = np.random.default_rng(9)
    rows["hour_of_week"][:] = np.where(rng.random(4000) < 0.9, 10, 100)
    chance = np.where(rows["hour_of_week"] == 10, 0.2, 0.5)
    rows["opened"][:] = rng.random(4000) < chance
    rows["evidence"][:] = 0
    partition = ClientPartition(0, SETTINGS)
    partition.apply(block(rows, "label"))
    hours = partition.summaries()[0]
    assert (
        rows["opened"][rows["hour_of_week"] == 10].sum()
        > 3 * rows["opened"][rows["hour_of_week"] == 100].sum()
    )
    assert hours.best_hour // 24 == 100 // 24
    assert abs(hours.best_hour - 100) <= BIN_HOURS
    assert hours.hour_scores[100] > 1.5 * hours.hour_scores[10]


def test_published_states_give_readers_the_same_numbers() -> None:
    """A directory fed with the states gives the bank's probability and the client's hours."""
    rows = example_rows(900)
    partition = ClientPartition(0, SETTINGS)
    partition.apply(block(rows, "label"))
    states = partition.take_models()
    directory = ModelDirectory()
    for state in [states[-1], *states[:-1]]:
        directory.apply(state.to_bytes())
    later = example_rows(50, seed=8)
    clients = np.array([hash_text(f"client-{c}") for c in later["client"]], np.uint64)
    history = {name: later[name] for name in HISTORY_COLUMNS}
    told = directory.open_probability(clients, later["hour_of_week"], later["content"], history)
    ranks = partition.roster.client_rows(["client-0", "client-1", "client-2"], later["client"])
    _, own = partition.learning.expose(ranks, {**history, "content": later["content"]})
    assert np.abs(told - own).max() < 1e-6
    none = np.zeros((50, EVIDENCE), np.float32)
    slots = directory.slots(clients, np.zeros(50, np.uint64), none)
    summary = {s.client_id: s for s in partition.summaries()[::2]}
    own_hours = summary[f"client-{later['client'][0]}"]
    assert set(slots.tiers.tolist()) == {2}
    assert slots.versions[0] == own_hours.model_version == own_hours.learned
    flat = np.array(own_hours.hour_scores)
    assert np.abs(slots.scores[0] - flat).max() < 1e-5


def test_models_are_handed_out_when_they_changed() -> None:
    """Only clients that learned since the last time are published, with a higher version."""
    partition = ClientPartition(0, SETTINGS)
    rows = example_rows(300)
    partition.apply(block(rows, "label"))
    first = {s.key(): s.model_version for s in partition.take_models()}
    assert partition.take_models() == []
    more = example_rows(1, seed=5, first=300)
    partition.apply(block(more, "label"))
    second = {s.key(): s.model_version for s in partition.take_models()}
    assert len(first) == 7
    assert len(second) == 3
    assert all(second[key] == first[key] + 1 for key in second)
    partition.apply(block(example_rows(5, seed=6, first=400), "exposure"))
    assert partition.take_models() == []
    assert partition.summaries()[0].newest_event_ms > START_MS
