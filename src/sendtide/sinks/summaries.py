"""What is published beside recipient records: small typed rows, one definition for both sides.

Numbers that are not known yet are None; None is never written as 0.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = [
    "ClientActivity",
    "ClientLift",
    "ModelMetrics",
    "ModelSummary",
    "PartitionCounts",
    "PartitionLag",
    "SourceFreshness",
    "WorkerBeat",
]

Count = Annotated[int, Meta(ge=0)]


class ModelSummary(Struct, kw_only=True, frozen=True):
    """Newest numbers of one model of one client.

    drift: largest calibrated effect over features, `drift_feature` names it, `drift_convention`
    the statistic, e.g. `psi.refdecile`, `drift_state` is none, warning or firing. hour_scores: 168
    opens per send by hour of the week, client level; best_hour is its largest.
    log_loss, auc, brier: progressive (predict, then learn), as is ece, the expected calibration
    error of propensities.
    gain: of a challenger, log loss of the built-in model minus its own on the same rows, between
    gain_low and gain_high at all times at once; promotion is waiting or advised.
    events: examples seen; learned: of these, with a label learned from. as_of_ms: event time up
    to which all of this holds; newest_event_ms: the newest event seen.
    """

    client_id: str
    model: str
    as_of_ms: int
    newest_event_ms: int
    model_version: Count = 0
    events: Count = 0
    learned: Count = 0
    predictions: Count = 0
    windows: Count = 0
    events_per_s: float = 0.0
    drift: float | None = None
    drift_p_value: float | None = None
    drift_feature: str | None = None
    drift_convention: str | None = None
    drift_state: str | None = None
    log_loss: float | None = None
    auc: float | None = None
    brier: float | None = None
    ece: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    promotion: str | None = None
    open_rate: float | None = None
    best_hour: Annotated[int, Meta(ge=0, le=167)] | None = None
    hour_scores: list[float] | None = None


class ClientLift(Struct, kw_only=True, frozen=True):
    """What one client's recipients did beside its control group's, since `since_ms`.

    metric: lift.open or lift.click. lift: difference of the rates, the control group's taken off;
    low and high hold at all times at once with 95%, so they may be looked at as often as one likes;
    all None with too few sends. verdict: lift or harm if the interval is on one side of 0.
    as_of_ms: of the newest label counted.
    """

    client_id: str
    metric: str
    verdict: Literal["no lift yet", "lift", "harm"]
    lift: float | None = None
    low: float | None = None
    high: float | None = None
    rest_rate: float | None = None
    control_rate: float | None = None
    rest_sends: Count = 0
    control_sends: Count = 0
    since_ms: int
    as_of_ms: int


class SourceFreshness(Struct, kw_only=True, frozen=True):
    """How fresh one client's events from one source are, as seen by one partition.

    Lags are arrival minus event time, in seconds, of the events since the running window began
    (`windows.size`), None without any. late: events behind the watermark, since the beginning.
    """

    client_id: str
    source: str
    partition: int
    newest_event_ms: int
    as_of_ms: int
    lag_p50_s: float | None = None
    lag_p95_s: float | None = None
    lag_p99_s: float | None = None
    late: Count = 0


class PartitionCounts(Struct, kw_only=True, frozen=True):
    """Absolute counts out of one topic partition's state; of one client, or of all (None)."""

    client_id: str | None
    topic: str
    partition: int
    counts: dict[str, int]


class PartitionLag(Struct, kw_only=True, frozen=True):
    """How far one topic partition is behind, and whether that is well (`monitoring.lag`).

    lag_records: in the log and not applied. lag_s: an upper bound of the age of the oldest of them,
    by its Kafka timestamp. uncommitted_records: applied, and the group's offset not yet past them.
    unattended_s: how long its records waited for this worker to take it over, None before one came.
    lost_places: how often its client had lost its place in it and was sent back, since it began.
    """

    topic: str
    partition: int
    status: Literal["ok", "warning", "stall", "stop", "rewind"]
    lag_records: Count
    lag_s: float
    uncommitted_records: Count
    unattended_s: float | None = None
    lost_places: Count = 0


class WorkerBeat(Struct, kw_only=True, frozen=True):
    """A sign of life with the speed and the health of one worker process.

    lags: of its partitions, as of the last look. snapshot_age_s: of the oldest snapshot of a
    partition that has moved since, None if none has. rebalances_per_minute: times partitions came
    or went in the last minute.
    """

    worker: str
    at_ms: int
    started_at_ms: int
    events_per_s: float = 0.0
    predictions_per_s: float = 0.0
    partitions: Count = 0
    freshness_p50_s: float | None = None
    freshness_p99_s: float | None = None
    snapshot_age_s: float | None = None
    rebalances_per_minute: Count = 0
    lags: list[PartitionLag] = []


class ClientActivity(Struct, kw_only=True, frozen=True):
    """A client and when something of it was written last."""

    client_id: str
    as_of_ms: int


class ModelMetrics(Struct, kw_only=True, frozen=True):
    """A summary with what only the reader's clock can tell: `freshness_s` is now - newest event."""

    freshness_s: float
    stale: bool
    summary: ModelSummary
