"""What a scrape sees."""

from __future__ import annotations

import re
import time

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from sendtide.sinks import (
    ClientLift,
    MemoryStore,
    ModelSummary,
    Owner,
    PartitionCounts,
    PartitionLag,
    RedisReader,
    SourceFreshness,
    WorkerBeat,
)
from sendtide.sinks.prometheus import ReadModelCollector, render

NOW_MS = 1_790_000_600_000
OWNER = Owner("clients", 0, 1)
GRAMMAR = re.compile(
    r"sendtide(_[a-z0-9]+)+_(seconds|ratio|probability|nats|count|records|events_per_second|"
    r"predictions_per_second|total)"
)


def scraped(reader, top_clients=50):
    registry = CollectorRegistry()
    registry.register(ReadModelCollector(reader, top_clients))
    families = text_string_to_metric_families(render(registry).decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def filled():
    store = MemoryStore(now_ms=lambda: NOW_MS)
    for i in range(5):
        row = ModelSummary(
            client_id=f"c{i}",
            model="send_time",
            as_of_ms=NOW_MS + i,
            newest_event_ms=NOW_MS - 1500,
            drift=0.2,
        )
        store.write_models(OWNER, [row])
    ends = {"lift": 0.01, "low": -0.004, "high": 0.024}
    times = {"verdict": "no lift yet", "since_ms": NOW_MS, "as_of_ms": NOW_MS}
    known = ClientLift(client_id="c4", metric="lift.open", control_sends=70, **ends, **times)
    unknown = ClientLift(client_id="c4", metric="lift.click", control_sends=3, **times)
    store.write_lifts(OWNER, [known, unknown])
    counts = {"applied": 70, "late": 2}
    for partition in (0, 1):
        row = PartitionCounts(
            client_id=None, topic="email.sends", partition=partition, counts=counts
        )
        store.write_counts(OWNER, [row])
    for partition, age_ms, lag_s, late in ((0, 4_000, 0.5, 2), (1, 2_000, None, 3)):
        row = SourceFreshness(
            client_id="c4",
            source="ses",
            partition=partition,
            newest_event_ms=time.time_ns() // 1_000_000 - age_ms,
            as_of_ms=NOW_MS,
            lag_p99_s=lag_s,
            late=late,
        )
        store.write_freshness(OWNER, [row])
    lag = PartitionLag(
        topic="email.sends",
        partition=3,
        status="stall",
        lag_records=7,
        lag_s=2.5,
        uncommitted_records=4,
        unattended_s=1.25,
        lost_places=2,
    )
    beat = WorkerBeat(
        worker="w-1", at_ms=NOW_MS, started_at_ms=NOW_MS, events_per_s=9.0, lags=[lag]
    )
    store.beat(beat)
    return store


def test_freshness_of_a_source_is_merged_over_partitions():
    """The newest event, the worst known lag, all that was late."""
    found = scraped(filled())
    assert 2.0 <= found["sendtide_source_freshness_seconds", "c4", "ses"] < 4.0
    assert found["sendtide_source_lag_seconds", "0.99", "c4", "ses"] == 0.5
    assert ("sendtide_source_lag_seconds", "0.5", "c4", "ses") not in found
    assert found["sendtide_source_late_events_total", "c4", "ses"] == 5


def test_numbers_of_the_read_model():
    """Events add up over partitions; freshness, drift and speeds are gauges."""
    found = scraped(filled())

    assert found["sendtide_events_total", "applied", "email.sends"] == 140
    assert found["sendtide_events_total", "email.sends", "late"] == 4
    assert found["sendtide_model_freshness_seconds", "c4", "send_time"] == 1.5
    assert found["sendtide_model_drift_ratio", "c4", "send_time"] == 0.2
    assert found["sendtide_worker_speed_events_per_second", "w-1"] == 9
    assert found["sendtide_store_up_ratio",] == 1


def test_a_lift_comes_with_its_interval():
    """Estimate and ends, absent where there are too few sends; and how many there are."""
    found = scraped(filled())
    ends = {k[2]: v for k, v in found.items() if k[0] == "sendtide_client_lift_ratio"}
    assert ends == {"estimate": 0.01, "low": -0.004, "high": 0.024}
    assert found["sendtide_client_control_sends_count", "c4", "open"] == 70
    assert found["sendtide_client_control_sends_count", "c4", "click"] == 3


def test_the_lag_of_a_partition_and_its_verdict():
    """What a worker saw at its last look; the verdict is a label, so that a rule can name it."""
    found = scraped(filled())
    place = ("3", "email.sends")
    assert found["sendtide_partition_lag_records", *place] == 7
    assert found["sendtide_partition_lag_seconds", *place] == 2.5
    assert found["sendtide_partition_uncommitted_records", *place] == 4
    assert found["sendtide_partition_unattended_seconds", *place] == 1.25
    assert found["sendtide_partition_lost_places_total", *place] == 2
    assert found["sendtide_partition_status_ratio", *place, "stall"] == 1


def test_unknown_numbers_have_no_sample():
    """A number that is not known yet is absent, not zero."""
    assert not [key for key in scraped(filled()) if key[0] == "sendtide_model_auc_ratio"]


def test_clients_are_bounded():
    """Only the clients written last are labels."""
    found = scraped(filled(), top_clients=2)

    assert {key[1] for key in found if key[0] == "sendtide_model_drift_ratio"} == {"c3", "c4"}


def test_names_follow_the_grammar():
    """Every name is namespace, noun, unit, and `_total` for counters."""
    names = {key[0] for key in scraped(filled())}

    assert len(names) > 5
    assert [name for name in names if not GRAMMAR.fullmatch(name)] == []


def test_store_away():
    """Without the store there is one sample that says so, and no error."""
    assert scraped(RedisReader("redis://127.0.0.1:1/0")) == {("sendtide_store_up_ratio",): 0}
