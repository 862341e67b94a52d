"""What the page shows, gathered from the read model once a second whoever looks.

One gathering serves all viewers, so a hundred open pages cost the store as much as one. The last
`HISTORY` samples of each number are kept for the small curves; series are bounded by the models
shown and forgotten with them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sendtide.dashboard.phases import phases
from sendtide.sinks import ModelMetrics, Reader, WorkerBeat
from sendtide.sinks.view import explain_lift

__all__ = ["Gathered", "Live", "client_detail", "client_sources"]

HISTORY: Final = 120
"""Two minutes of one-second samples."""
TOP_CLIENTS: Final = 100
BUCKETS: Final = ("applied", "duplicate", "late", "dead_letter", "erased")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Gathered:
    """One sample of everything, ready to be sent."""

    now_ms: int = 0
    kpi: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[float | None]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)


class Live:
    """Gathers samples and remembers the recent ones. Blocks while it reads."""

    def __init__(self, reader: Reader, now_ms: Callable[[], int] = _now_ms) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._series: dict[str, deque[float | None]] = {}
        self._before: tuple[int, int, int] | None = None

    def gather(self) -> Gathered:
        """Read the store and add one sample to every series.

        Raises:
            Unavailable: the store does not answer; nothing is added.
        """
        now_ms = self._now_ms()
        models = self._reader.metrics(limit=TOP_CLIENTS)
        totals = self._reader.totals()
        workers = self._reader.workers()
        kpi = self._kpi(now_ms, models, totals, workers)
        keys = ("events_per_s", "predictions_per_s", "freshness_p99_s", "drift")
        history = {key: self._sampled(f"kpi:{key}", kpi[key]) for key in keys}
        rows = [self._row(model) for model in models]
        shown = {f"model:{row['client']}:{row['model']}" for row in rows}
        for gone in [k for k in self._series if k.startswith("model:") and k not in shown]:
            del self._series[gone]
        steps = phases(kpi, rows, totals, self._reader.lifts(limit=TOP_CLIENTS))
        return Gathered(now_ms=now_ms, kpi=kpi, history=history, models=rows, phases=steps)

    def _sampled(self, key: str, value: float | None) -> list[float | None]:
        series = self._series.setdefault(key, deque(maxlen=HISTORY))
        series.append(value)
        return list(series)

    def _row(self, model: ModelMetrics) -> dict[str, Any]:
        own = model.summary
        key = f"model:{own.client_id}:{own.model}"
        return {
            "client": own.client_id,
            "model": own.model,
            "freshness_s": model.freshness_s,
            "stale": model.stale,
            "drift": own.drift,
            "drift_p_value": own.drift_p_value,
            "drift_feature": own.drift_feature,
            "drift_convention": own.drift_convention,
            "drift_state": own.drift_state,
            "log_loss": own.log_loss,
            "auc": own.auc,
            "events": own.events,
            "learned": own.learned,
            "events_per_s": own.events_per_s,
            "model_version": own.model_version,
            "best_hour": own.best_hour,
            "as_of_ms": own.as_of_ms,
            "history": self._sampled(key, own.drift if own.drift is not None else own.log_loss),
        }

    def _kpi(
        self,
        now_ms: int,
        models: list[ModelMetrics],
        totals: dict[str, dict[str, int]],
        workers: list[WorkerBeat],
    ) -> dict[str, Any]:
        events = {name: _over(totals, name) for name in BUCKETS}
        events["in"] = _over(totals, "in") or sum(events.values())
        predictions = _over(totals, "predictions")
        speeds = self._speeds(now_ms, events["in"], predictions, workers)
        worst = max(models, key=lambda row: row.summary.drift or 0.0, default=None)
        drift = worst.summary if worst and worst.summary.drift is not None else None
        return {
            "events_per_s": speeds[0],
            "predictions_per_s": speeds[1],
            "freshness_p99_s": _freshness_p99_s(workers, models),
            "drift": drift.drift if drift else None,
            "drift_where": f"{drift.client_id} / {drift.model}" if drift else None,
            "drift_feature": drift.drift_feature if drift else None,
            "drift_p_value": drift.drift_p_value if drift else None,
            "drifting": sum(row.summary.drift_state == "firing" for row in models),
            "workers": len(workers),
            "events": events,
            "predictions": predictions,
            "windows": _over(totals, "windows"),
        }

    def _speeds(
        self, now_ms: int, events: int, predictions: int, workers: list[WorkerBeat]
    ) -> tuple[float, float]:
        """What workers say of themselves; without a beat, the difference of two samples."""
        before, self._before = self._before, (now_ms, events, predictions)
        if workers:
            return (
                sum(beat.events_per_s for beat in workers),
                sum(beat.predictions_per_s for beat in workers),
            )
        if before is None or now_ms <= before[0]:
            return 0.0, 0.0
        seconds = (now_ms - before[0]) / 1000
        return max(0, events - before[1]) / seconds, max(0, predictions - before[2]) / seconds


def _over(totals: dict[str, dict[str, int]], name: str) -> int:
    return sum(counts.get(name, 0) for counts in totals.values())


def _freshness_p99_s(workers: list[WorkerBeat], models: Iterable[ModelMetrics]) -> float | None:
    """The slowest worker's p99; without one, the p99 of the models' freshness."""
    told = [beat.freshness_p99_s for beat in workers if beat.freshness_p99_s is not None]
    if told:
        return max(told)
    ages = sorted(row.freshness_s for row in models)
    return ages[min(len(ages) - 1, int(0.99 * len(ages)))] if ages else None


def client_detail(reader: Reader, client: str, now_ms: int | None = None) -> dict[str, Any]:
    """One client's hours, control group, sources and counts."""
    now_ms = now_ms or _now_ms()
    hours: dict[str, Any] | None = None
    for row in reader.metrics(client):
        if row.summary.hour_scores and len(row.summary.hour_scores) == 168:
            hours = {"model": row.summary.model, "scores": row.summary.hour_scores}
    return {
        "client": client,
        "hours": hours,
        "lifts": [
            {"of": row.metric.removeprefix("lift."), "says": explain_lift(row)}
            for row in reader.lifts(client)
        ],
        "sources": client_sources(reader, client, now_ms),
        "counts": reader.counts(client),
    }


def client_sources(reader: Reader, client: str, now_ms: int) -> list[dict[str, Any]]:
    """Per source: the newest event of any partition, the worst lag, all late events."""
    found: dict[str, dict[str, Any]] = {}
    for row in reader.freshness(client):
        own = found.setdefault(
            row.source, {"source": row.source, "newest_event_ms": 0, "late": 0, "partitions": 0}
        )
        own["newest_event_ms"] = max(own["newest_event_ms"], row.newest_event_ms)
        own["late"] += row.late
        own["partitions"] += 1
        for lag in ("lag_p50_s", "lag_p95_s", "lag_p99_s"):
            both = [x for x in (own.get(lag), getattr(row, lag)) if x is not None]
            own[lag] = max(both, default=None)
    for own in found.values():
        own["freshness_s"] = max(0.0, (now_ms - own["newest_event_ms"]) / 1000)
    return list(found.values())
