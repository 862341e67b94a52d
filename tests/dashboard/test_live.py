"""What is gathered for the page."""

from __future__ import annotations

import pytest

from sendtide.dashboard.live import HISTORY, Live, client_detail
from sendtide.events.errors import Unavailable
from sendtide.sinks import (
    ClientLift,
    MemoryStore,
    ModelSummary,
    Owner,
    PartitionCounts,
    RedisReader,
    SourceFreshness,
    WorkerBeat,
)

NOW_MS = 1_790_000_600_000
OWNER = Owner("clients", 0, 1)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now_ms = NOW_MS

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(now_ms=clock)


def summary(client="acme", model="send_time", **more):
    base = {"as_of_ms": NOW_MS, "newest_event_ms": NOW_MS - 500, "learned": 10}
    return ModelSummary(client_id=client, model=model, **{**base, **more})


def counted(store, topic="email.sends", **counts):
    row = PartitionCounts(client_id=None, topic=topic, partition=0, counts=counts)
    store.write_counts(OWNER, [row])


def test_nothing_yet(store, clock):
    """An empty store gives zeros and unknowns, not errors, and no phase claims to be live."""
    found = Live(store, clock).gather()

    assert found.kpi["events_per_s"] == 0
    assert found.kpi["drift"] is None
    assert found.kpi["freshness_p99_s"] is None
    assert found.models == []
    assert {phase["state"] for phase in found.phases} == {"waiting"}


def test_buckets_add_up(store, clock):
    """Events in are the sum of the five buckets over all topics."""
    counted(store, applied=90, late=3, open=50)
    counted(store, "email.engagements", applied=5, dead_letter=2)

    events = Live(store, clock).gather().kpi["events"]

    assert events == {
        "applied": 95, "duplicate": 0, "late": 3, "dead_letter": 2, "erased": 0, "in": 100,
    }  # fmt: skip


def test_speed_from_beats(store, clock):
    """Workers alive are added up."""
    for worker, speed in (("w-1", 100.0), ("w-2", 20.0)):
        beat = WorkerBeat(
            worker=worker,
            at_ms=NOW_MS,
            started_at_ms=NOW_MS,
            events_per_s=speed,
            freshness_p99_s=speed / 100,
        )
        store.beat(beat)

    kpi = Live(store, clock).gather().kpi

    assert (kpi["events_per_s"], kpi["workers"], kpi["freshness_p99_s"]) == (120.0, 2, 1.0)


def test_speed_without_beats(store, clock):
    """Without a beat, the speed is the difference of two samples."""
    live = Live(store, clock)
    counted(store, applied=100, predictions=10)
    assert live.gather().kpi["events_per_s"] == 0

    counted(store, applied=400, predictions=40)
    clock.now_ms += 2000
    kpi = live.gather().kpi

    assert (kpi["events_per_s"], kpi["predictions_per_s"]) == (150.0, 15.0)


def test_worst_drift_is_named(store, clock):
    """The drift shown is the largest, with its client, model and feature."""
    store.write_models(
        OWNER,
        [
            summary("a", drift=0.1, drift_feature="words"),
            summary("b", drift=0.3, drift_feature="links", drift_state="firing"),
            summary("c"),
        ],
    )

    kpi = Live(store, clock).gather().kpi

    assert (kpi["drift"], kpi["drift_where"], kpi["drift_feature"]) == (
        0.3, "b / send_time", "links",
    )  # fmt: skip
    assert kpi["drifting"] == 1


def test_history_is_bounded(store, clock):
    """Only the last two minutes of samples are kept."""
    live = Live(store, clock)
    store.write_models(OWNER, [summary(drift=0.1)])

    for _ in range(HISTORY + 30):
        clock.now_ms += 1000
        found = live.gather()

    assert len(found.history["drift"]) == HISTORY
    assert len(found.models[0]["history"]) == HISTORY


def test_history_of_gone_models_is_forgotten(store, clock):
    """A model that has expired takes its samples with it."""
    live = Live(store, clock)
    store.write_models(OWNER, [summary(drift=0.1)])
    live.gather()

    clock.now_ms += 8 * 86_400_000
    live.gather()

    assert not [key for key in live._series if key.startswith("model:")]


def test_phases_say_what_is_measured(store, clock):
    """A phase is live only with numbers behind it; business value waits for sends."""
    live = Live(store, clock)
    counted(store, applied=99, dead_letter=1)
    store.write_models(OWNER, [summary(auc=0.8, log_loss=0.3, model_version=2)])

    phases = {phase["name"]: phase for phase in live.gather().phases}

    assert phases["Data preparation"]["says"] == "99.0% of events applied, 1 dead letters"
    assert "AUC 0.800" in phases["Model development"]["says"]
    assert phases["Deployment"]["state"] == "live"
    assert phases["Monitoring"]["state"] == "waiting"
    assert phases["Business value"]["state"] == "waiting"

    counted(store, "email.engagements", conversion=4)
    assert live.gather().phases[-1] == {
        "name": "Business value",
        "state": "live",
        "says": "4 conversions",
        "missing": "worth",
    }


def lift(client="acme", metric="lift.open", verdict="no lift yet", **more):
    """12,031 control sends, and between -0.4 and +0.9 points unless told otherwise."""
    ends = {"lift": 0.0025, "low": -0.004, "high": 0.009, "control_sends": 12_031}
    times = {"since_ms": NOW_MS - 9, "as_of_ms": NOW_MS}
    row = {**ends, **times, **more}
    return ClientLift(client_id=client, metric=metric, verdict=verdict, **row)


def test_business_value_is_the_lift_in_plain_words(store, clock):
    """No lift yet, with the interval; then a lift; of several clients how many, and the largest."""
    live = Live(store, clock)

    def said(*rows):
        store.write_models(OWNER, [summary(row.client_id) for row in rows])
        store.write_lifts(OWNER, rows)
        phase = live.gather().phases[-1]
        assert phase["state"] == "live"
        return phase["says"]

    nothing = "no lift yet: between -0.4 and +0.9 points, 12,031 control sends"
    bare = "no conversions reported yet"
    assert said(lift()) == f"opens: {nothing}; {bare}"
    up = lift(verdict="lift", lift=0.012, low=0.003, high=0.021, control_sends=90)
    told = "lift: +1.2 points, between +0.3 and +2.1 points, 90 control sends"
    assert said(up) == f"opens: {told}; {bare}"
    both = said(up, lift("b.co"), lift("b.co", metric="lift.click"))
    assert both == f"opens lifted at 1 of 2 clients, harmed at 0; b.co: {nothing}; {bare}"
    few = lift(lift=None, low=None, high=None, control_sends=3)
    assert "no lift yet: too little to tell, 3 control sends" in client_says(store, few)


def client_says(store, row):
    store.write_lifts(OWNER, [row])
    return [found["says"] for found in client_detail(store, "acme", NOW_MS)["lifts"]]


def test_without_a_control_group_there_is_no_business_value_yet(store, clock):
    """A share of 0 leaves the phase waiting, whatever the rest did."""
    store.write_models(OWNER, [summary()])
    store.write_lifts(OWNER, [lift(lift=None, low=None, high=None, control_sends=0)])
    assert Live(store, clock).gather().phases[-1]["state"] == "waiting"


def test_client_detail(store):
    """Hours come from the model that has them; partitions of a source become one row."""
    scores = [0.1] * 168
    store.write_models(OWNER, [summary(hour_scores=scores), summary(model="open_propensity")])
    for partition, newest, lag in ((0, 100, 0.5), (1, 2000, 0.25)):
        row = SourceFreshness(
            client_id="acme",
            source="ses",
            partition=partition,
            newest_event_ms=NOW_MS - newest,
            as_of_ms=NOW_MS,
            lag_p99_s=lag,
            late=partition,
        )
        store.write_freshness(OWNER, [row])

    found = client_detail(store, "acme", NOW_MS)

    assert found["hours"] == {"model": "send_time", "scores": scores}
    (source,) = found["sources"]
    assert (source["freshness_s"], source["lag_p99_s"], source["late"]) == (0.1, 0.5, 1)


def test_store_away(clock):
    """Without a store the gathering fails as a whole."""
    with pytest.raises(Unavailable):
        Live(RedisReader("redis://127.0.0.1:1/0"), clock).gather()
