"""River models as plain values: read back they go on as if nothing had happened."""

import json
import os
import random

import pytest
from river import tree

from sendtide.events.errors import ConfigurationError, CorruptData
from sendtide.models.named import named_classifier, probability
from sendtide.models.river_state import plain, revived

FEATURES = ("a", "b", "c")
MODELS = [
    ("linear_model.LogisticRegression", {}),
    ("preprocessing.StandardScaler | linear_model.LogisticRegression", {}),
    ("preprocessing.StandardScaler | linear_model.SoftmaxRegression", {}),
    ("linear_model.PAClassifier", {}),
    ("tree.HoeffdingTreeClassifier", {"grace_period": 20}),
    ("tree.HoeffdingAdaptiveTreeClassifier", {"grace_period": 20}),
    ("tree.ExtremelyFastDecisionTreeClassifier", {"grace_period": 20}),
    ("forest.ARFClassifier", {"n_models": 3}),
    ("forest.AMFClassifier", {"n_estimators": 3}),
    ("naive_bayes.GaussianNB", {}),
    ("neighbors.KNNClassifier", {}),
    ("facto.FMClassifier", {}),
    ("ensemble.BaggingClassifier", {"model": "river.tree.HoeffdingTreeClassifier", "n_models": 3}),
    ("ensemble.ADWINBaggingClassifier", {"model": "river.naive_bayes.GaussianNB", "n_models": 3}),
]


def _rows(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        x = {name: rng.gauss(0, 1) for name in FEATURES}
        yield x, x["a"] + 0.5 * rng.gauss(0, 1) > 0


@pytest.mark.parametrize(("classes", "params"), MODELS)
def test_read_back_it_learns_and_answers_as_before(classes, params):
    """400 rows before the snapshot, 200 after: not one answer differs, random draws included."""
    model = named_classifier(classes, params, FEATURES)
    for x, y in _rows(400, 1):
        model.learn_one(x, y)
    again = revived(json.loads(json.dumps(plain(model))))
    answers = set()
    for x, y in _rows(200, 2):
        assert probability(model, x) == probability(again, x)
        answers.add(round(probability(model, x), 6))
        model.learn_one(x, y)
        again.learn_one(x, y)
    assert len(answers) > 3


def test_reading_shares_nothing_with_the_original():
    """Learning on one does not change the other, and shared parts are shared again."""
    model = named_classifier(*MODELS[0], FEATURES)
    again = revived(plain(model))
    [(x, _)] = _rows(1, 3)
    again.learn_one(x, True)
    assert probability(model, x) == 0.5 != probability(again, x)
    part = [1.0]
    first, second = revived(plain([part, part]))
    assert first is second


@pytest.mark.parametrize(
    "value",
    [
        ["made", ["name", "os", "system"], ["true"], None, None, None],
        ["name", "subprocess", "Popen"],
        ["name", "builtins", "eval"],
        ["name", "builtins", "getattr"],
        ["name", "river.base.base", "typing"],
        ["name", "river.base.base", "inspect.os.system"],
        ["method", ["list", []], "append"],
        ["same", 7],
        ["unheard-of"],
        [],
    ],
)
def test_a_stranger_s_state_can_name_nothing_else(value):
    """What is not on the short list is refused before it is called."""
    with pytest.raises(CorruptData):
        revived(value)


def test_what_cannot_be_kept_is_told():
    """A model with a function of the user's own in it is refused by name."""
    model = tree.HoeffdingTreeClassifier()
    model.hook = os.getpid
    with pytest.raises(ConfigurationError, match="getpid"):
        plain(model)


@pytest.mark.parametrize(
    ("classes", "params", "says"),
    [
        ("tree.HoeffdingTree", {}, "there is no river.tree.HoeffdingTree"),
        ("forests.ARFClassifier", {}, "there is no river.forests"),
        ("tree.HoeffdingTreeRegressor", {}, "is no classifier"),
        ("tree.HoeffdingTreeClassifier", {"depth": 3}, "allowed: grace_period"),
        ("ensemble.BaggingClassifier", {}, "refuses its params"),
        ("tree.HoeffdingTreeClassifier | naive_bayes.GaussianNB", {}, "is no transformer"),
        ("base.typing", {}, "is no class"),
    ],
)
def test_a_mistake_in_the_file_says_what_is_wrong(classes, params, says):
    """Told at start, not by the first event."""
    with pytest.raises(ConfigurationError, match=says):
        named_classifier(classes, params, FEATURES)
