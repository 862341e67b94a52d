"""Learning: River's predictions row by row, honest quality measures, opens per send."""

import numpy as np
import pytest
from river import linear_model, metrics, optim

from clients.blocks import START_MS, block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.clients.quality import Quality, binned_auc
from sendtide.events.errors import ConfigurationError
from sendtide.events.examples import HISTORY_COLUMNS
from sendtide.events.hashing import hash_text
from sendtide.events.rhythm import BIN_HOURS, EVIDENCE
from sendtide.lab import calibration_error
from sendtide.models import ModelDirectory
from sendtide.models.bank import LinearSettings
from sendtide.models.propensity import FEATURES, TARGETS, ClientRates
from sendtide.models.propensity_bank import PropensitySettings

SETTINGS = ClientSettings()
SGD = PropensitySettings("sgd", LinearSettings(learning_rate=0.05), calibrated=False)
LABELS = ("opened", "clicked", "unsubscribed", "complained", "bounced")


def test_predictions_and_quality_are_rivers() -> None:
    """With SGD each client's predictions equal its own River model fed one row at a time."""
    rows = example_rows(600)
    partition = ClientPartition(0, ClientSettings(propensity=SGD))
    found = np.concatenate(
        [partition.apply(b).learned.prediction for b in cut(rows, "label", [97, 5])]
    )
    models = [
        linear_model.LogisticRegression(optim.SGD(0.05), l2=0.0, intercept_lr=0.01)
        for _ in range(3)
    ]
    rates, zero = [ClientRates(1) for _ in range(3)], np.zeros(1, np.int32)
    measures = [(metrics.LogLoss(), metrics.ROCAUC(1000)) for _ in range(3)]
    for i in range(600):
        client, y = int(rows["client"][i]), bool(rows["opened"][i])
        one = {name: rows[name][i : i + 1] for name in HISTORY_COLUMNS}
        outcome = np.array([[1, y, bool(rows["clicked"][i])]])
        x = rates[client].count(zero, one, rows["content"][i : i + 1], outcome)[0]
        x = dict(zip(FEATURES, x.tolist(), strict=True))
        p = models[client].predict_proba_one(x)[True]
        assert abs(p - found[i]) < 1e-9
        for measure in measures[client]:
            measure.update(y, p)
        models[client].learn_one(x, y)
    for summary in partition.summaries():
        if summary.model != "open-propensity":
            continue
        client = int(summary.client_id[-1])
        assert abs(summary.log_loss - measures[client][0].get()) < 1e-9
        assert abs(summary.auc - measures[client][1].get()) < 0.01
        assert summary.open_rate == rates[client].counts[0, 1] / rates[client].counts[0, 0]


def test_every_target_is_scored_on_what_was_predicted_before() -> None:
    """Log loss, calibration and ranks of all five equal those of the rows that came out."""
    rows = example_rows(3_000, clients=1)
    partition = ClientPartition(0, SETTINGS)
    learned = [partition.apply(b).learned for b in cut(rows, "label", [400])]
    predicted = np.concatenate([part.propensities for part in learned])
    for target, name in enumerate(LABELS):
        label, p = rows[name] != 0, predicted[:, target]
        kept = partition.learning.quality.measures(0, target)
        exact = -np.where(label, np.log(p), np.log1p(-p)).mean()
        assert kept["log_loss"] == pytest.approx(exact, abs=1e-12)
        assert kept["brier"] == pytest.approx(((p - label) ** 2).mean(), abs=1e-12)
        assert kept["ece"] == pytest.approx(calibration_error(label, p), abs=1e-12)
    assert {s.model for s in partition.summaries()} == {
        "send-time",
        *(f"{target}-propensity" for target in TARGETS),
        *("subject", "variant"),
    }


def test_a_bounced_send_teaches_the_bounce_and_nothing_else() -> None:
    """All other numbers are those of a log without it."""
    rows = example_rows(500, clients=1)
    bounced = np.arange(500) % 5 == 0
    rows["bounced"][bounced] = 1
    without = {name: column[~bounced] for name, column in rows.items()}
    both = [ClientPartition(0, SETTINGS) for _ in range(2)]
    both[0].apply(block(rows, "label"))
    both[1].apply(block(without, "label"))
    one, other = (p.learning for p in both)
    assert one.quality.labels[0, TARGETS.index("bounce")].tolist() == [500, 100]
    for target in range(4):
        assert one.quality.measures(0, target) == other.quality.measures(0, target)
    np.testing.assert_array_equal(one.rates.counts, other.rates.counts)
    np.testing.assert_array_equal(one.exposures, other.exposures)


def test_rare_targets_stay_near_their_prior() -> None:
    """After a hundred sends without a complaint none is thought impossible, or likely."""
    rows = example_rows(100, clients=1)
    for name in ("unsubscribed", "complained", "bounced"):
        rows[name][:] = 0
    partition = ClientPartition(0, SETTINGS)
    predicted = partition.apply(block(rows, "label")).learned.propensities
    for target, prior in ((2, 0.002), (3, 0.0005), (4, 0.01)):
        assert predicted[:, target].min() > prior / 50
        assert predicted[:, target].max() < prior * 5


def test_calibration_on_a_stream() -> None:
    """Progressive predictions of a seeded stream of 20,000 sends have an ECE of 0.02 at most."""
    rows = example_rows(20_000, clients=1, seed=4)
    for learner in ("kalman", "sgd"):
        linear = LinearSettings(learning_rate=0.05)
        settings = ClientSettings(propensity=PropensitySettings(learner, linear))
        partition = ClientPartition(0, settings)
        learned = [partition.apply(b).learned for b in cut(rows, "label", [2_000])]
        late = np.arange(20_000) >= 2_000
        for target, name in enumerate(LABELS):
            p = np.concatenate([part.propensities[:, target] for part in learned])
            assert calibration_error(rows[name][late] != 0, p[late]) <= 0.02, (learner, name)


def test_scaling_mends_what_is_out_of_scale() -> None:
    """A bank with far too large a step is badly calibrated alone, and well with Platt scaling."""
    rows = example_rows(20_000, clients=1, seed=4)
    errors = []
    for calibrated in (False, True):
        wild = PropensitySettings("sgd", LinearSettings(learning_rate=0.5), calibrated)
        partition = ClientPartition(0, ClientSettings(propensity=wild))
        p = partition.apply(block(rows, "label")).learned.prediction
        errors.append(calibration_error(rows["opened"] != 0, p))
    assert errors[0] > 0.04
    assert errors[1] < errors[0] / 2


def test_opens_are_always_learned() -> None:
    """Drift and challengers rest on them."""
    with pytest.raises(ConfigurationError, match="lack open"):
        ClientSettings(targets=("click",))
    partition = ClientPartition(0, ClientSettings(targets=("open",)))
    partition.apply(block(example_rows(50), "label"))
    models = {s.model for s in partition.summaries()} - {"subject", "variant"}
    assert models == {"send-time", "open-propensity"}


def test_binned_ranks_are_close_to_exact_ones() -> None:
    """Of rare events too, whose probabilities all lie below 0.01."""
    rng = np.random.default_rng(3)
    p = 1 / (1 + np.exp(-rng.normal(-6.5, 1.0, 200_000)))
    y = rng.random(200_000) < p
    quality = Quality(1)
    quality.grow(1)
    quality.add(np.zeros(200_000, np.int32), 0, p, y)
    order = np.argsort(p)
    ranks = np.empty(200_000)
    ranks[order] = np.arange(1, 200_001)
    n = y.sum()
    exact = (ranks[y].sum() - n * (n + 1) / 2) / (n * (200_000 - n))
    assert quality.measures(0, 0)["auc"] == pytest.approx(exact, abs=0.002)


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
    told = directory.propensities(clients, later["time_ms"], later["content"], history)
    ranks = partition.roster.client_rows(["client-0", "client-1", "client-2"], later["client"])
    own = partition.learning.predict(ranks, later)
    assert np.abs(told - own).max() < 1e-6
    none = np.zeros((50, EVIDENCE), np.float32)
    slots = directory.slots(clients, np.zeros(50, np.uint64), none)
    summary = {s.client_id: s for s in partition.summaries() if s.model == "send-time"}
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
    more["creative"][:] = 1  # a subject without a variant
    partition.apply(block(more, "label"))
    second = {s.key(): s.model_version for s in partition.take_models()}
    assert len(first) == 13
    assert len(second) == 4
    assert all(second[key] == first[key] + 1 for key in second)
    partition.apply(block(example_rows(5, seed=6, first=400), "exposure"))
    assert partition.take_models() == []
    assert partition.summaries()[0].newest_event_ms > START_MS
