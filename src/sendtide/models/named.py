"""River classifiers by their names in a pipeline file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from sendtide.events.errors import ConfigurationError
from sendtide.models.river_state import plain, revived

__all__ = ["named_classifier", "probability"]

_PROBE_ROWS: Final = 64
_RIVER: Final = "river."
_SEED: Final = 0
"""Of models that draw: a replay must give the same model again."""


def named_classifier(classes: str, params: Mapping[str, Any], features: tuple[str, ...]) -> Any:
    """A fresh `river.base.Classifier` of opens, tried out on a few rows.

    Args:
        classes: below `river`, the classifier last, transformers before it, with " | " between.
        params: of the last class; text that begins with "river." is a model, as wrappers take one.
        features: names of what it will be given.

    Raises:
        ConfigurationError: no such class, not a classifier, wrong parameters, no probabilities, or
            a state that cannot be written into a snapshot.
    """
    *before, last = classes.split(" | ")
    model = _instance(last, params)
    base = import_module("river.base")
    if not isinstance(model, base.Classifier):
        msg = f"river.{last} is no classifier; name one, as tree.HoeffdingTreeClassifier"
        raise ConfigurationError(msg)
    for path in reversed(before):
        transformer = _instance(path, {})
        if not isinstance(transformer, base.Transformer):
            msg = f"river.{path} is no transformer; only the last class may be a classifier"
            raise ConfigurationError(msg)
        model = transformer | model
    _try_out(classes, model.clone(), features)
    return model


def probability(model: Any, x: Mapping[str, float]) -> float:
    """P(open) in the model's own words; 1/2 while it knows nothing."""
    answer = model.predict_proba_one(x)
    return float(answer.get(True, 0.0)) if answer else 0.5


def _instance(path: str, params: Mapping[str, Any]) -> Any:
    module, _, name = f"river.{path}".rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        msg = f"there is no {module}.{name} in the River that is installed; see River's API pages"
        raise ConfigurationError(msg) from error
    if not isinstance(found, type):
        msg = f"{module}.{name} is no class"
        raise ConfigurationError(msg)
    known = inspect.signature(found).parameters
    seeded: dict[str, Any] = {"seed": _SEED} if "seed" in known else {}
    for key, given in params.items():
        is_model = isinstance(given, str) and given.startswith(_RIVER)
        seeded[key] = _instance(given.removeprefix(_RIVER), {}) if is_model else given
    try:
        return found(**seeded)
    except Exception as error:
        msg = f"{module}.{name} refuses its params: {error}; allowed: {', '.join(known) or 'none'}"
        raise ConfigurationError(msg) from error


def _try_out(classes: str, model: Any, features: tuple[str, ...]) -> None:
    """Learn, write down and read back before there is anything to lose."""
    try:
        for row in range(_PROBE_ROWS):
            x = {name: float((row * (place + 3)) % 7) for place, name in enumerate(features)}
            probability(model, x)
            model.learn_one(x, row % 3 == 0)
        again = revived(json.loads(json.dumps(plain(model))))
        same = probability(again, x) == probability(model, x)
    except NotImplementedError as error:
        msg = f"river.{classes} gives no probabilities; name a classifier that does"
        raise ConfigurationError(msg) from error
    except Exception as error:
        msg = f"river.{classes} cannot be used: {error}"
        raise ConfigurationError(msg) from error
    if not same:
        msg = f"river.{classes} cannot be used: read back from a snapshot it answers otherwise"
        raise ConfigurationError(msg)
