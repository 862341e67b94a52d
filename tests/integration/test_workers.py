"""Several workers share the partitions: one joins under load, one leaves, the ledger stays exact.

The same program on the embedded servers, on Apache Kafka with Debian's Redis, and on both in
containers where a Docker engine answers.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import pytest
import redis as redis_client
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.redis import RedisContainer

from sendtide.commands.deployment import topic_specs
from sendtide.lab import Scenario, event_records
from sendtide.local import start_broker, start_kafka, start_redis, start_valkey, stop_kafka
from sendtide.pipeline import load_pipeline
from sendtide.transport import create_topics
from servers import require, require_docker
from whole import assert_exact, produce, start_worker, wait_for

EVENTS = 60_000
PIPELINE = """
[topics]
partitions = 4
[join]
machine_within = "0s"
horizon = "3d"
[snapshots]
interval = "1s"
[windows]
size = "1h"
[drift]
reference_rows = 100
minimum_count = 10
"""


@contextmanager
def embedded(folder):
    """The servers that come as wheels."""
    broker, valkey = start_broker(folder), start_valkey(folder)
    yield broker.address, valkey.address
    valkey.stop()
    broker.stop()


@contextmanager
def proper(folder):
    """Apache Kafka and Redis proper on loopback."""
    require("java", "mvn", package="default-jre-headless maven")
    require("redis-server", package="redis-server")
    kafka, redis = start_kafka(folder / "kafka"), start_redis(["redis-server"], folder)
    yield kafka[0].address, redis.address
    redis.stop()
    stop_kafka(kafka)


@contextmanager
def containers(folder):
    """Both as their makers' images."""
    require_docker()
    with KafkaContainer().with_kraft() as kafka, RedisContainer() as redis:
        host, port = redis.get_container_host_ip(), redis.get_exposed_port(6379)
        yield kafka.get_bootstrap_server(), f"redis://{host}:{port}/0"


@pytest.fixture(
    params=[
        embedded,
        proper,
        pytest.param(containers, marks=pytest.mark.containers),
    ]
)
def servers(request, tmp_path):
    """(bootstrap of Kafka, URL of Redis)."""
    with request.param(tmp_path) as addresses:
        yield addresses


def partitions_of(store):
    """Partitions of both stages per worker, as their last signs of life say."""
    beats = [json.loads(store.get(key)) for key in store.keys("sendtide:1:worker:*")]
    return {beat["worker"]: beat["partitions"] for beat in beats}


def wait_until_shared(store, workers, timeout_s=60.0):
    """Until so many workers hold all eight partitions between them, each at least one."""
    deadline = time.monotonic() + timeout_s
    while True:
        held = [count for count in partitions_of(store).values() if count]
        if len(held) == workers and sum(held) == 8:
            return
        assert time.monotonic() < deadline, partitions_of(store)
        time.sleep(0.1)


def units_of(store, worker):
    """(group, partition) to seconds its records waited for the worker, None before one has come."""
    groups = {"email.sends": "recipients", "ml.examples": "clients"}
    lags = json.loads(store.get(f"sendtide:1:worker:{worker}"))["lags"]
    return {
        (groups[lag["topic"]], lag["partition"]): lag.get("unattended_s")
        for lag in lags
        if lag["topic"] in groups
    }


def wait_for_units(store, worker, condition, timeout_s=60.0):
    """Until its last look at its partitions is as wished for."""
    deadline = time.monotonic() + timeout_s
    while not condition(units := units_of(store, worker)):
        assert time.monotonic() < deadline, units
        time.sleep(0.1)
    return units


def epochs(store, units):
    """Rises whenever a partition is given to a worker."""
    return {unit: int(store.get("sendtide:1:fence:{}:{}".format(*unit))) for unit in units}


def everything_on(kafka, topic):
    """All values of a topic."""
    settings = {"bootstrap.servers": kafka, "group.id": "reader", "enable.partition.eof": True}
    reader = Consumer(settings)
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(4)])
    values, ended = [], 0
    while ended < 4:
        message = reader.poll(20.0)
        assert message is not None
        if message.error():
            ended += 1
        else:
            values.append(json.loads(message.value()))
    reader.close()
    return values


def test_a_worker_joins_and_one_leaves_under_load(servers, tmp_path):
    """Two rebalances while records flow: nothing lost, nothing counted twice, answers for all."""
    kafka, redis = servers
    (tmp_path / "p.toml").write_text(PIPELINE)
    pipeline = load_pipeline(tmp_path / "p.toml")
    create_topics({"bootstrap.servers": kafka}, topic_specs(pipeline))
    scenario = Scenario(seed=8, clients=20, recipients=3_000, request_share=0.02)
    records = [row for part in event_records(EVENTS, scenario) for row in part]
    third = len(records) // 3
    store = redis_client.Redis.from_url(redis)

    first = start_worker(tmp_path, kafka, redis, 1)
    produce(kafka, records[:third])
    wait_for(store, third // 4, first)
    second = start_worker(tmp_path, kafka, redis, 2)
    produce(kafka, records[third : 2 * third])
    wait_until_shared(store, 2)
    wait_for(store, third + third // 4, first, second)
    held = partitions_of(store)["worker-2"]
    stays = epochs(store, wait_for_units(store, "worker-2", lambda units: len(units) == held))
    assert first.stop(60.0) == 0
    produce(kafka, records[2 * third :])
    wait_for(store, len(records), second)
    wait_until_shared(store, 1)
    waits = wait_for_units(store, "worker-2", lambda u: len(u) == 8 and None not in u.values())
    assert max(waits.values()) < 60
    assert epochs(store, stays) == stays, "what did not move was interrupted"
    time.sleep(2.0)
    assert second.stop(60.0) == 0

    assert_exact(store, records)
    asked = {json.loads(v)["id"] for topic, _, v, _ in records if topic == "email.requests"}
    answered = {answer["id"] for answer in everything_on(kafka, "ml.predictions")}
    assert answered == asked
    assert len(asked) > 300
    assert "psi" in {metric["metric"] for metric in everything_on(kafka, "ml.metrics")}
