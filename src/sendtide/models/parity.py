"""Measures whether the compiled bank gives River's numbers, and how much faster it is."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from river import linear_model, optim, preprocessing

from sendtide.models.bank import LinearBank, LinearSettings

__all__ = ["Parity", "measure_parity"]

_REPEATS: Final = 5
"""The bank needs about a millisecond, so one timing of it would be mostly chance."""


@dataclass(frozen=True, slots=True)
class Parity:
    """max_difference: over predictions and final weights. speed_ratio: bank over River, rows/s."""

    max_difference: float
    speed_ratio: float
    events: int


def _river(settings: LinearSettings) -> Any:
    model = linear_model.LogisticRegression(
        optimizer=optim.SGD(settings.learning_rate),
        l2=settings.l2,
        intercept_lr=settings.intercept_learning_rate,
    )
    return preprocessing.StandardScaler() | model if settings.scale else model


def measure_parity(
    settings: LinearSettings, events: int = 10_000, features: int = 20, seed: int = 1
) -> Parity:
    """Predict, then learn the same rows with both, one client, and compare."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, (events, features))
    truth = rng.normal(0.0, 0.5, features)
    y = rng.random(events) < 1 / (1 + np.exp(-(x - 1.0) @ truth))
    names = [f"f{j}" for j in range(features)]
    dictionaries = [dict(zip(names, row, strict=True)) for row in x.tolist()]

    model = _river(settings)
    river_predictions = np.empty(events)
    started = time.perf_counter()
    for i, (row, label) in enumerate(zip(dictionaries, y.tolist(), strict=True)):
        river_predictions[i] = model.predict_proba_one(row).get(True, 0.5)
        model.learn_one(row, label)
    river_s = time.perf_counter() - started

    rows = np.zeros(events, np.int32)
    LinearBank(features, settings).learn(rows[:1], x[:1], y[:1])  # compiled before it is timed
    durations = []
    for _ in range(_REPEATS):
        bank = LinearBank(features, settings)
        started = time.perf_counter()
        predictions = bank.learn(rows, x, y)
        durations.append(time.perf_counter() - started)
    bank_s = statistics.median(durations)

    final = model["LogisticRegression"] if settings.scale else model
    weights = np.array([final.weights.get(name, 0.0) for name in names])
    difference = max(
        float(np.abs(predictions - river_predictions).max()),
        float(np.abs(bank.weights[0] - weights).max()),
        abs(float(bank.intercepts[0]) - final.intercept),
    )
    return Parity(difference, river_s / bank_s, events)
