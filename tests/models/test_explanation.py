"""Contributions: they add up, they are Shapley's, and they are the client's own."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from clients.blocks import block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.errors import CorruptData
from sendtide.events.examples import ExampleBlock
from sendtide.models.bank import LinearSettings
from sendtide.models.explanation import ClientExplainer
from sendtide.models.propensity import FEATURES, TARGETS
from sendtide.models.propensity_bank import PropensitySettings
from sendtide.models.registry import ModelState

LEARNERS = {
    "kalman": PropensitySettings("kalman"),
    "sgd": PropensitySettings("sgd", LinearSettings(learning_rate=0.05)),
}


def taught(learner: str, n: int = 1_500) -> tuple[ClientPartition, dict[str, ModelState]]:
    """A partition that has learned, and the states it would publish, as they travel."""
    partition = ClientPartition(0, ClientSettings(propensity=LEARNERS[learner]))
    partition.apply(block(example_rows(n), "label"))
    states = [ModelState.from_bytes(state.to_bytes()) for state in partition.take_models()]
    return partition, {s.client_id: s for s in states if s.kind == "propensity"}


def asked(seed: int, client: int, n: int = 60) -> ExampleBlock:
    """Rows of one client that nobody has learned, some of them long after the last label."""
    rows = example_rows(n, clients=3, seed=seed, first=5_000_000)
    rows["client"][:] = client
    return block(rows, "exposure")


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("target", TARGETS)
def test_baseline_and_contributions_add_up_to_the_prediction(learner, target):
    """To 1e-6 on log-odds, for every target and client, days after the last label too."""
    partition, states = taught(learner)
    for client, state in states.items():
        new = asked(7, int(client[-1]))
        p = partition.predict(new)[:, TARGETS.index(target)]
        explainer = ClientExplainer(state)
        x = explainer.features(new.columns, new.columns["content"])
        found = explainer.explain(target, x, new.columns["time_ms"])
        parts = found.baseline + found.contributions.sum(axis=1) + found.doubt
        np.testing.assert_allclose(parts, np.log(p / (1 - p)), atol=1e-6)


def test_they_are_the_shapley_values_of_the_score_against_the_mean():
    """By Shapley's own sum over subsets of five features, the others held at the mean."""
    _, states = taught("sgd")
    explainer = ClientExplainer(states["client-1"])
    new = asked(8, 1, n=1)
    x, time = explainer.features(new.columns, new.columns["content"]), new.columns["time_ms"]
    players = (0, 1, 4, 6, 9)
    others = [j for j in range(len(FEATURES)) if j not in players]
    x[0, others] = explainer.mean[0, others]
    found = explainer.explain("open", x, time)

    def score(present):
        mixed = explainer.mean.copy()
        mixed[0, list(present)] = x[0, list(present)]
        return explainer.explain("open", mixed, time).log_odds[0]

    for j in players:
        rest = [k for k in players if k != j]
        value = sum(
            (score((*some, j)) - score(some)) / (len(players) * comb(len(rest), size))
            for size in range(len(rest) + 1)
            for some in combinations(rest, size)
        )
        assert found.contributions[0, j] == pytest.approx(value, abs=1e-9)


def test_the_average_message_of_a_client_is_its_baseline():
    """At the mean of what was learned every contribution is nothing, and the mean is exact."""
    partition, states = taught("kalman")
    row = partition.roster.names.index("client-2")
    seen = []
    alone = ClientPartition(0, ClientSettings(propensity=LEARNERS["kalman"]))
    learn = alone.learning.learn
    alone.learning.learn = lambda *a: seen.append((a[0], learn(*a))) or seen[-1][1]
    alone.apply(block(example_rows(1_500), "label"))
    [(rows, lesson)] = seen
    explainer = ClientExplainer(states["client-2"])
    np.testing.assert_allclose(explainer.mean[0], lesson.x[rows == row].mean(axis=0), atol=1e-12)
    found = explainer.explain("open", explainer.mean, np.array([2_000_000_000_000]))
    assert np.all(found.contributions == 0)
    assert found.doubt[0] == pytest.approx(0, abs=1e-12)
    assert found.log_odds[0] == found.baseline[0]


def test_importance_is_the_mean_absolute_contribution():
    """Close to the average over the very rows learned; what never varies has none."""
    _, states = taught("sgd", n=6_000)
    explainer = ClientExplainer(states["client-0"])
    rows = example_rows(6_000)
    mine = {name: column[rows["client"] == 0] for name, column in rows.items()}
    mine["content"][:, 0] = 60.0
    x = explainer.features(mine, mine["content"])
    found = explainer.explain("open", x, mine["time_ms"])
    importance = explainer.importance("open", int(mine["time_ms"].max()))
    assert list(importance.values()) == sorted(importance.values(), reverse=True)
    mean = np.abs(found.contributions).mean(axis=0)
    for name in ("recent_log_odds", "lifetime_log_odds", "open_recency", "words"):
        assert importance[name] == pytest.approx(mean[FEATURES.index(name)], rel=0.1), name


def test_a_state_without_features_is_refused():
    """Hours of the week have no features; the sentence says so."""
    state = ModelState(
        client_id="a", model="send-time", kind="send_time", model_version=1, learned=1,
        newest_event_ms=1,
    )  # fmt: skip
    with pytest.raises(CorruptData, match="only propensities have features"):
        ClientExplainer(state)
