"""A worker killed with SIGKILL under load loses nothing and counts nothing twice, on Apache Kafka.

The judge is a recount of the produced bytes in plain Python, which shares no code with the package.
"""

from __future__ import annotations

import signal
import time

import pytest
import redis as redis_client

from sendtide.commands.deployment import topic_specs
from sendtide.lab import Scenario, event_records
from sendtide.local import start_kafka, start_valkey, stop_kafka
from sendtide.pipeline import load_pipeline
from sendtide.transport import create_topics
from servers import require
from whole import assert_exact, produce, start_worker, totals, wait_for

EVENTS = 120_000
KILLS = 3
PARTITIONS = 4
PIPELINE = f"""
[topics]
partitions = {PARTITIONS}
[join]
machine_within = "0s"
horizon = "3d"
[snapshots]
interval = "1s"
"""


@pytest.fixture
def servers(tmp_path):
    """Apache Kafka and Valkey on loopback, ended by pid."""
    require("java", "mvn", package="default-jre-headless maven")
    kafka, valkey = start_kafka(tmp_path / "kafka"), start_valkey(tmp_path)
    yield kafka[0].address, valkey.address
    valkey.stop()
    stop_kafka(kafka)


def test_three_kills_under_load_leave_an_exact_ledger(servers, tmp_path):
    """State and published counts per client and recipient equal the recount of what was sent."""
    kafka, redis = servers
    (tmp_path / "p.toml").write_text(PIPELINE)
    pipeline = load_pipeline(tmp_path / "p.toml")
    create_topics({"bootstrap.servers": kafka}, topic_specs(pipeline))
    scenario = Scenario(seed=5, clients=40, recipients=8_000, request_share=0)
    records = [row for part in event_records(EVENTS, scenario) for row in part]
    store = redis_client.Redis.from_url(redis)

    killed_at = []
    worker = start_worker(tmp_path, kafka, redis, 0)
    for number in range(KILLS):
        parts = KILLS + 1
        share = slice(number * len(records) // parts, (number + 1) * len(records) // parts)
        produce(kafka, records[share])
        wait_for(store, share.start + (share.stop - share.start) // 4, worker)
        killed_at.append(totals(store)["in"])
        worker.process.send_signal(signal.SIGKILL)
        assert worker.process.wait() == -signal.SIGKILL
        worker = start_worker(tmp_path, kafka, redis, number + 1)
    produce(kafka, records[share.stop :])
    wait_for(store, len(records), worker)
    time.sleep(2.0)
    worker.stop(60.0)

    assert any(at < (n + 1) * len(records) // (KILLS + 1) for n, at in enumerate(killed_at)), (
        "no kill fell into work in flight"
    )
    assert_exact(store, records)
