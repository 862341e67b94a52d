"""Challengers: River's own numbers, kept through a restart, and never in the way."""

import numpy as np
import pytest
from river import linear_model, metrics, preprocessing, tree

from clients.blocks import block, example_rows
from sendtide.clients import ChallengerSettings, ClientPartition, ClientSettings
from sendtide.events.columns import pack, unpack
from sendtide.models.propensity import FEATURES

SCALED = "preprocessing.StandardScaler | linear_model.LogisticRegression"


def _partition(*challengers: ChallengerSettings, **more) -> ClientPartition:
    return ClientPartition(0, ClientSettings(challengers=challengers, **more))


def _standings(partition: ClientPartition, client: str) -> dict:
    row = partition.roster.names.index(client)
    return {standing.model: standing for standing in partition.challengers.standings(row)}


@pytest.mark.parametrize(
    ("classes", "params", "river"),
    [
        (SCALED, {}, preprocessing.StandardScaler() | linear_model.LogisticRegression()),
        (
            "tree.HoeffdingTreeClassifier",
            {"grace_period": 25},
            tree.HoeffdingTreeClassifier(grace_period=25),
        ),
    ],
)
def test_it_is_the_model_river_would_have_trained(classes, params, river):
    """Progressive losses equal those of River's own loop and metrics over the same rows."""
    own = ChallengerSettings(name="other", classes=classes, params=tuple(params.items()))
    partition, rows = _partition(own), example_rows(900, clients=2)
    partition.apply(block(rows, "label"))
    chosen = rows["client"] == 1
    row = partition.roster.names.index("client-1")

    alone = ClientPartition(0, ClientSettings())
    seen = []
    learn = alone.learning.learn
    alone.learning.learn = lambda *a: seen.append((a[0], learn(*a))) or seen[-1][1]
    alone.apply(block(rows, "label"))
    [(client_rows, lesson)] = seen
    loss, area = metrics.LogLoss(), metrics.ROCAUC(n_thresholds=1001)
    for values, opened in zip(lesson.x[client_rows == row], rows["opened"][chosen], strict=True):
        named = dict(zip(FEATURES, values.tolist(), strict=True))
        answer = river.predict_proba_one(named) or {True: 0.5}
        loss.update(bool(opened), answer)
        area.update(bool(opened), answer)
        river.learn_one(named, bool(opened))

    standing = _standings(partition, "client-1")["other"]
    assert standing.learned == chosen.sum() > 300
    assert standing.log_loss == pytest.approx(loss.get(), rel=1e-9)
    assert standing.auc == pytest.approx(area.get(), abs=5e-3)


def test_only_the_named_clients_have_it():
    """`clients` of a challenger is a choice among those with models."""
    own = ChallengerSettings(name="few", classes=SCALED, clients=frozenset({"client-2"}))
    partition = _partition(own)
    partition.apply(block(example_rows(200), "label"))
    assert _standings(partition, "client-0") == {}
    assert _standings(partition, "client-2")["few"].learned > 0
    models = {(s.client_id, s.model) for s in partition.summaries()}
    assert ("client-2", "few") in models
    assert ("client-1", "few") not in models


def test_one_that_raises_is_put_aside_with_its_reason():
    """The alert says what to do; every other model goes on, also after a restart."""
    broken = ChallengerSettings(name="broken", classes="naive_bayes.MultinomialNB")
    fine = ChallengerSettings(name="fine", classes=SCALED)
    partition, rows = _partition(broken, fine), example_rows(400, clients=1)
    rows["content"][:] = -1e6
    first = partition.apply(block(rows, "label", 0, slice(0, 200)))
    [alert] = [a for a in first.alerts if a.model == "broken"]
    assert "learns no more" in alert.description
    assert "pipeline file" in alert.description
    meta, columns = unpack(pack(*partition.snapshot()))
    again = ClientPartition.restore(0, partition.settings, meta, columns)
    second = again.apply(block(rows, "label", 0, slice(200, 400)))
    assert [a for a in second.alerts if a.model == "broken"] == []
    assert _standings(again, "client-0")["fine"].learned == 400
    assert again.counts()["labels"] == 400


def test_another_class_or_parameter_starts_anew():
    """A kept model is only used for what the file still says."""
    slow = ChallengerSettings(name="it", classes="tree.HoeffdingTreeClassifier")
    quick = ChallengerSettings(name="it", classes=slow.classes, params=(("grace_period", 20),))
    partition = _partition(slow)
    partition.apply(block(example_rows(100, clients=1), "label"))
    meta, columns = unpack(pack(*partition.snapshot()))
    for own, kept in ((slow, True), (quick, False)):
        settings = ClientSettings(challengers=(own,))
        again = ClientPartition.restore(0, settings, meta, columns)
        assert bool(_standings(again, "client-0")) == kept


def test_clients_without_models_teach_nothing():
    """`clients.with_models` leaves the rest out of models, windows and summaries."""
    some, all_of_them = _partition(clients=frozenset({"client-1"})), _partition()
    rows = example_rows(600)
    for partition in (some, all_of_them):
        for kind in ("label", "exposure"):
            outcome = partition.apply(block(rows, kind))
            assert outcome.accepted == 600
    assert some.roster.names == ["client-1"]
    own = all_of_them.roster.names.index("client-1")
    one, other = some.learning.bank.banks[0], all_of_them.learning.bank.banks[0]
    np.testing.assert_array_equal(one.weights[0], other.weights[own])
    assert some.counts()["labels"] == (rows["client"] == 1).sum()


def test_a_detector_that_is_not_named_is_not_at_work():
    """`drift.detectors` chooses."""
    small = {"reference_rows": 150, "minimum_count": 30, "window_ms": 5_000}
    for names in ({"psi"}, {"adwin"}):
        partition = _partition(detectors=frozenset(names), window_lateness_ms=0, **small)
        rows = example_rows(3000, clients=1)
        metrics_made = 0
        for kind in ("label", "exposure"):
            metrics_made += len(partition.apply(block(rows, kind)).metrics)
        assert (metrics_made > 0) == ("psi" in names)
        assert partition.counts()["exposures"] == 3000


def _hidden(n: int) -> dict:
    """Rows that are opened when their words are neither few nor many: a tree's, not a line's."""
    rows, rng = example_rows(n, clients=1), np.random.default_rng(3)
    words = rng.integers(0, 3, n)
    rows["content"][:, 1] = np.array([100.0, 400.0, 700.0])[words]
    rows["opened"] = (rng.random(n) < np.where(words == 1, 0.85, 0.1)).astype(np.uint8)
    return rows


def test_a_better_challenger_is_advised_once_and_nothing_is_switched():
    """The alert gives gain and interval; advice outlives a restart; blocks may be cut anywhere."""
    forest = ChallengerSettings(
        name="forest", classes="forest.ARFClassifier", params=(("n_models", 3),), promote_after=500
    )
    never = ChallengerSettings(name="never", classes=SCALED)
    partition, rows = _partition(forest, never), _hidden(7_000)
    alerts = partition.apply(block(rows, "label", 0, slice(0, 3_000))).alerts
    meta, columns = unpack(pack(*partition.snapshot()))
    again = ClientPartition.restore(0, partition.settings, meta, columns)
    alerts += again.apply(block(rows, "label", 0, slice(3_000, 7_000))).alerts
    [advice] = [alert for alert in alerts if alert.metric == "gain"]
    assert (advice.model, advice.state) == ("forest", "firing")
    assert advice.value > 0
    assert "nothing is switched" in advice.description
    found = _standings(again, "client-0")
    assert found["forest"].promotion == "advised"
    assert found["never"].promotion is None
    built_in = again.learning.quality.measures(0, 0)["log_loss"]
    assert found["forest"].gain == pytest.approx(built_in - found["forest"].log_loss, abs=1e-9)
    assert 0 < found["forest"].gain_low < found["forest"].gain < found["forest"].gain_high
    whole = _partition(forest, never)
    [same] = [a for a in whole.apply(block(rows, "label")).alerts if a.metric == "gain"]
    assert same == advice
    assert whole.digest() == again.digest()
