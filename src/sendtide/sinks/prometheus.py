"""Prometheus metrics out of the read model, computed when they are scraped.

Names follow `<namespace>_<noun>_<unit>[_total]`. Series are bounded: topics and counts are fixed
sets, workers are those alive, and a client is a label only for the `top_clients` written last;
recipients never are. Counters are the absolute counts of partition state, so they survive
restarts of every process and do not depend on which process is scraped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sendtide.events.errors import SendtideError
from sendtide.sinks.contract import Reader
from sendtide.sinks.summaries import (
    ClientLift,
    ModelMetrics,
    PartitionLag,
    SourceFreshness,
    WorkerBeat,
)

__all__ = ["CONTENT_TYPE", "ReadModelCollector", "render"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_TOP_CLIENTS: Final = 50

_MODEL_GAUGES: Final = {
    "sendtide_model_freshness_seconds": ("Now minus the newest event", "freshness_s"),
    "sendtide_model_drift_ratio": ("Largest drift over features", "drift"),
    "sendtide_model_drift_probability": ("Its calibrated p-value", "drift_p_value"),
    "sendtide_model_log_loss_nats": ("Progressive log loss", "log_loss"),
    "sendtide_model_auc_ratio": ("Progressive AUC", "auc"),
    "sendtide_model_brier_ratio": ("Progressive Brier score", "brier"),
    "sendtide_model_calibration_error_ratio": ("Progressive calibration error", "ece"),
    "sendtide_model_speed_events_per_second": ("Examples a second", "events_per_s"),
}
_WORKER_GAUGES: Final = {
    "sendtide_worker_speed_events_per_second": ("Events a second", "events_per_s"),
    "sendtide_worker_speed_predictions_per_second": ("Predictions a second", "predictions_per_s"),
    "sendtide_worker_freshness_p99_seconds": ("Event to prediction, p99", "freshness_p99_s"),
    "sendtide_worker_partitions_count": ("Partitions owned", "partitions"),
    "sendtide_worker_snapshot_age_seconds": (
        "Oldest snapshot of a partition that moved since",
        "snapshot_age_s",
    ),
    "sendtide_worker_rebalances_count": (
        "Times partitions came or went in the last minute",
        "rebalances_per_minute",
    ),
}
_LAG_GAUGES: Final = {
    "sendtide_partition_lag_records": ("In the log and not applied", "lag_records"),
    "sendtide_partition_lag_seconds": ("Age of the oldest of them, at most", "lag_s"),
    "sendtide_partition_uncommitted_records": ("Applied, not committed", "uncommitted_records"),
    "sendtide_partition_unattended_seconds": (
        "How long records waited until this worker took it over",
        "unattended_s",
    ),
}


_LAGS: Final = {"0.5": "lag_p50_s", "0.95": "lag_p95_s", "0.99": "lag_p99_s"}


class ReadModelCollector:
    """A `prometheus_client` collector over a `Reader`."""

    def __init__(self, reader: Reader, top_clients: int = DEFAULT_TOP_CLIENTS) -> None:
        self._reader = reader
        self._top_clients = top_clients

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape; asking must not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families; `sendtide_store_up_ratio` is 0, and alone, when the store is away."""
        up = GaugeMetricFamily("sendtide_store_up_ratio", "1 if the read model answers")
        try:
            totals = self._reader.totals()
            workers = self._reader.workers()
            models = self._reader.metrics(limit=self._top_clients)
            lifts = self._reader.lifts(limit=self._top_clients)
            sources = [
                row
                for client in self._reader.clients(self._top_clients)
                for row in self._reader.freshness(client.client_id)
            ]
        except SendtideError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield _events(totals)
        yield from _worker_families(workers)
        yield from _lag_families([lag for beat in workers for lag in beat.lags])
        yield from _model_families(models)
        yield from _lift_families(lifts)
        yield from _source_families(sources, time.time_ns() // 1_000_000)


def _events(totals: dict[str, dict[str, int]]) -> Metric:
    family = CounterMetricFamily(
        "sendtide_events", "Events by topic and what became of them", labels=["topic", "bucket"]
    )
    for topic, counts in totals.items():
        for bucket, number in counts.items():
            family.add_metric([topic, bucket], number)
    return family


def _worker_families(workers: list[WorkerBeat]) -> Iterator[Metric]:
    for name, (about, field) in _WORKER_GAUGES.items():
        family = GaugeMetricFamily(name, about, labels=["worker"])
        for beat in workers:
            _add(family, [beat.worker], getattr(beat, field))
        yield family


def _lag_families(lags: list[PartitionLag]) -> Iterator[Metric]:
    labels = ["topic", "partition"]
    for name, (about, field) in _LAG_GAUGES.items():
        family = GaugeMetricFamily(name, about, labels=labels)
        for lag in lags:
            _add(family, [lag.topic, str(lag.partition)], getattr(lag, field))
        yield family
    status = GaugeMetricFamily(
        "sendtide_partition_status_ratio",
        "1 for what the lag rules say of it",
        labels=[*labels, "status"],
    )
    for lag in lags:
        status.add_metric([lag.topic, str(lag.partition), lag.status], 1)
    yield status
    lost = CounterMetricFamily(
        "sendtide_partition_lost_places_total",
        "Times its worker's client had lost its place and was sent back to it",
        labels=labels,
    )
    for lag in lags:
        lost.add_metric([lag.topic, str(lag.partition)], lag.lost_places)
    yield lost


def _model_families(models: list[ModelMetrics]) -> Iterator[Metric]:
    for name, (about, field) in _MODEL_GAUGES.items():
        family = GaugeMetricFamily(name, about, labels=["client", "model"])
        for row in models:
            own = row.freshness_s if field == "freshness_s" else getattr(row.summary, field)
            _add(family, [row.summary.client_id, row.summary.model], own)
        yield family


def _lift_families(lifts: list[ClientLift]) -> Iterator[Metric]:
    """end: the estimate, and low and high of the interval that may be looked at at any time."""
    labels = ["client", "outcome"]
    ends = GaugeMetricFamily(
        "sendtide_client_lift_ratio",
        "Rate outside the control group minus the control group's",
        labels=[*labels, "end"],
    )
    sends = GaugeMetricFamily(
        "sendtide_client_control_sends_count", "Sends of the control group", labels=labels
    )
    for row in lifts:
        place = [row.client_id, row.metric.removeprefix("lift.")]
        sends.add_metric(place, row.control_sends)
        for end, value in (("estimate", row.lift), ("low", row.low), ("high", row.high)):
            _add(ends, [*place, end], value)
    yield from (ends, sends)


def _source_families(rows: list[SourceFreshness], now_ms: int) -> Iterator[Metric]:
    """Over partitions: the newest event, the worst lag, the sum of what was late."""
    labels = ["client", "source"]
    age = GaugeMetricFamily(
        "sendtide_source_freshness_seconds", "Now minus the newest event", labels=labels
    )
    lag = GaugeMetricFamily(
        "sendtide_source_lag_seconds", "Arrival minus event time", labels=[*labels, "quantile"]
    )
    late = CounterMetricFamily(
        "sendtide_source_late_events", "Events behind the watermark", labels=labels
    )
    for key, group in groupby(rows, key=lambda row: (row.client_id, row.source)):
        parts = list(group)
        age.add_metric(key, (now_ms - max(row.newest_event_ms for row in parts)) / 1000)
        late.add_metric(key, sum(row.late for row in parts))
        for quantile, field in _LAGS.items():
            known = [own for row in parts if (own := getattr(row, field)) is not None]
            if known:
                lag.add_metric([*key, quantile], max(known))
    yield from (age, lag, late)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


def render(*registries: CollectorRegistry | Any) -> bytes:
    """The text of one scrape over several registries."""
    return b"".join(generate_latest(registry) for registry in registries)
