"""What a worker is measured against: stock Faust that only counts, and fetching plus decoding.

Each runs in a process of its own (`sendtide bench stock-faust` and `consume-decode`, hidden).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import faust
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from sendtide.commands.options import (
    JsonFile,
    Kafka,
    KafkaConfig,
    PipelineFile,
    pipeline_of,
    servers_of,
)
from sendtide.commands.output import publish
from sendtide.events.errors import Unavailable
from sendtide.events.topics import ENGAGEMENTS, REQUESTS, SENDS, Topic

__all__ = ["consume_decode", "consume_only", "stock_faust"]

_LONGEST_S: Final = 10.0
_PATIENCE_S: Final = 60.0
_BATCH: Final = 20_000
_LOOK_EVERY: Final = 500


def consume_decode(
    events: int,
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    json: JsonFile = None,
) -> None:
    """Fetch with confluent-kafka and decode each value with orjson; nothing else."""
    loads = orjson.loads

    def decode(messages: list[Message]) -> None:
        for message in messages:
            loads(message.value())

    chosen = (kafka, kafka_config, pipeline)
    publish(_consumed(events, (SENDS, ENGAGEMENTS), chosen, decode), json)


def consume_only(
    events: int,
    kafka: Kafka = None,
    kafka_config: KafkaConfig = None,
    pipeline: PipelineFile = None,
    json: JsonFile = None,
) -> None:
    """Fetch the requests with confluent-kafka and do nothing with them."""
    chosen = (kafka, kafka_config, pipeline)
    publish(_consumed(events, (REQUESTS,), chosen, len), json)


def _consumed(
    events: int,
    topics: Sequence[Topic],
    chosen: tuple[str | None, list[str] | None, Path | None],
    work: Callable[[list[Message]], object],
) -> dict[str, float]:
    """Read `events` records of the topics from their beginning, handing each fetch to `work`."""
    kafka, kafka_config, file = chosen
    deployment = pipeline_of(file)
    settings = servers_of(kafka, kafka_config).client()
    consumer = Consumer({**settings, "group.id": "rival", "enable.auto.commit": False})
    consumer.assign(
        [
            TopicPartition(deployment.topics.full_name(topic), number, OFFSET_BEGINNING)
            for topic in topics
            for number in range(deployment.topics.partitions_of(topic))
        ]
    )
    first = consumer.consume(1, _PATIENCE_S)
    if not first:
        msg = "no record arrived; is the broker still there?"
        raise Unavailable(msg)
    started, done = time.perf_counter(), 1
    deadline = started + _PATIENCE_S
    while done < events and time.perf_counter() < deadline:
        messages = consumer.consume(_BATCH, 0.1)
        work(messages)
        done += len(messages)
    seconds = time.perf_counter() - started
    consumer.close()
    return {"events": done, "events_per_s": (done - 1) / seconds}


def stock_faust(
    events: int,
    kafka: Kafka = None,
    pipeline: PipelineFile = None,
    group: str = "stock-faust",
    json: JsonFile = None,
) -> None:
    """Count events in an agent of Faust as it comes, for ten seconds at most."""
    deployment = pipeline_of(pipeline)
    names = [deployment.topics.full_name(topic) for topic in (SENDS, ENGAGEMENTS)]
    brokers = servers_of(kafka).brokers.split(",")
    app = _faust(group, brokers)
    counted: dict[str, float] = {}
    finished = asyncio.Event()

    async def count(stream: Any) -> None:
        done, started = 0, 0.0
        async for _ in stream:
            done += 1
            if done == 1:
                started = time.perf_counter()
            if done % _LOOK_EVERY == 0 or done >= events:
                seconds = time.perf_counter() - started
                if done >= events or seconds > _LONGEST_S:
                    counted.update(events=done, events_per_s=(done - 1) / seconds)
                    finished.set()
                    return

    app.agent(app.topic(*names))(count)
    asyncio.run(_until(app, finished))
    publish(counted, json)
    # Its consumer thread may hang on leaving the group; the figure is written.
    os._exit(0)


def _faust(group: str, brokers: list[str]) -> Any:
    return faust.App(
        group,
        broker=[f"kafka://{broker}" for broker in brokers],
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",  # values are decoded as JSON, which is Faust's own default
        web_enabled=False,
        datadir=tempfile.mkdtemp(prefix="sendtide-bench-"),
        topic_disable_leader=True,
        broker_session_timeout=6,
        broker_heartbeat_interval=2,
        broker_request_timeout=20,
    )


async def _until(app: Any, finished: asyncio.Event) -> None:
    await app.start()
    try:
        await asyncio.wait_for(finished.wait(), _PATIENCE_S)
    except TimeoutError as error:
        msg = "stock Faust received nothing for a minute"
        raise Unavailable(msg) from error
