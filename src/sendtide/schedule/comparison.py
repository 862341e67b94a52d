"""How far schedules of small random cases are from the exact optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sendtide.schedule.optimum import optimum
from sendtide.schedule.problem import HOUR_MS, Constraints, Requests
from sendtide.schedule.solve import solve

__all__ = ["Comparison", "compare", "random_case"]

_NOW_MS = 1_790_000_000_000 // (24 * HOUR_MS) * 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Relative gaps of value over the cases in which as many were planned as can be.

    fewer_planned: the other cases.
    """

    cases: int
    fewer_planned: int
    gap_median: float
    gap_p95: float
    gap_worst: float


def random_case(seed: int, n: int, people: int) -> tuple[Requests, Constraints]:
    """A seeded case of n requests to so many people with every rule on, about half of them tight.

    Windows of 6 to 48 hours within two days, two providers, curves with a daily rhythm.
    """
    rng = np.random.default_rng(seed)
    start = _NOW_MS + rng.integers(0, 24, n) * HOUR_MS
    rhythm = 0.15 + 0.1 * np.sin(2 * np.pi * (np.arange(168) - rng.integers(0, 24, (n, 1))) / 24)
    curves = np.clip(rhythm * rng.gamma(4, 0.25, (n, 1)) + rng.normal(0, 0.02, (n, 168)), 0, 1)
    requests = Requests(
        recipient=rng.integers(1, people + 1, n).astype(np.uint64),
        provider=rng.integers(0, 2, n).astype(np.int32),
        zone=np.zeros(n, np.uint64),
        window_start_ms=start,
        window_end_ms=start + rng.integers(6, 49, n) * HOUR_MS,
        value=rng.choice([1.0, 1.0, 2.0], n),
        curve=np.arange(n, dtype=np.int32),
        curves=curves.astype(np.float32),
    )
    rate = max(1, round(n / 24 * rng.uniform(0.5, 2.0)))
    rules = Constraints(
        not_before_ms=_NOW_MS,
        quiet=(22 * 60, 7 * 60),
        per_day=int(rng.integers(1, 3)),
        per_week=3,
        spacing_ms=4 * HOUR_MS,
        rates=np.array([rate, max(1, rate // 2)], np.int64),
        warm_up_day=_NOW_MS // (24 * HOUR_MS),
        warm_up=(int(n * 0.6),),
    )
    return requests, rules


def compare(cases: int, n: int, people: int, seed: int = 0) -> Comparison:
    """Solve so many random cases both ways."""
    gaps, fewer = [], 0
    for case in range(cases):
        requests, rules = random_case(seed + case, n, people)
        best, ours = optimum(requests, rules), solve(requests, rules)
        kept = ours.relaxed == 0
        if int(kept.sum()) < best.planned:
            fewer += 1
            continue
        value = float((requests.value * ours.open_probability)[kept].sum())
        gaps.append(max(0.0, 1.0 - value / best.value) if best.value else 0.0)
    median, p95, worst = np.quantile(gaps or [np.nan], [0.5, 0.95, 1.0]).tolist()
    return Comparison(cases, fewer, median, p95, worst)
