"""A worker process: a Faust app, an agent per topic, loops that publish and write down."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import faust

from sendtide.events.errors import Unavailable
from sendtide.events.topics import EXAMPLES, INPUTS, MODELS
from sendtide.models import ModelDirectory
from sendtide.sinks import RedisSink, Retention, WorkerBeat
from sendtide.stages.client import ClientStage, client_settings
from sendtide.stages.guarantee import transactional_id
from sendtide.stages.health import Health
from sendtide.stages.lost_places import LostPlaces
from sendtide.stages.model_feed import ModelFeed
from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.ownership import Ownership
from sendtide.stages.recipient import RecipientStage
from sendtide.stages.settings import WorkerSettings
from sendtide.stages.snapshots import snapshot_store
from sendtide.stages.stage import Stage
from sendtide.stages.topic_watch import TopicWatch
from sendtide.stages.warm_up import warm_up
from sendtide.stages.watchdog import Watchdog, show_on_signal
from sendtide.transport import (
    Companions,
    Outputs,
    Settings,
    Tenure,
    TopicPartition,
    chunk_topic,
    configure,
)
from sendtide.transport import run_worker as run_app
from sendtide.transport.driver import register

__all__ = ["Worker", "run_worker"]

logger = logging.getLogger(__name__)

_BEAT_S: Final = 1.0
_LOOK_S: Final = 5.0
_PATIENCE_S: Final = 30.0
"""To be told where to begin: longer than a broker takes to come back."""
_COLLECTOR: Final = (50_000, 20, 20)
"""Thresholds of its three generations."""


class _App(faust.App):
    """Without Faust's data folder: there are no Faust tables, state is in snapshots."""

    def _create_directories(self) -> None:
        """Make none."""


class Worker:
    """Everything of one worker, wired; `app` is the Faust app to run."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.app = self._make_app()
        pipeline = settings.pipeline
        hours = pipeline.send_time()
        self.directory = ModelDirectory(
            client_settings(pipeline).propensity,
            pool_clients=hours.pool_clients,
            strength=hours.prior_strength,
        )
        topic = pipeline.topics.full_name
        self.transactional_id = transactional_id(settings)
        self._feed = ModelFeed(settings.client(), topic(MODELS), self.directory)
        self._offsets = OffsetLookup(settings.client(), settings.group, _PATIENCE_S)
        self._watching = OffsetLookup(settings.client(), settings.group)
        self._sinks: list[RedisSink] = []
        self.recipients = RecipientStage(pipeline, self.directory, **self._wiring("recipients"))
        self.clients = ClientStage(pipeline, settings.progressive_log, **self._wiring("clients"))
        self.stages: tuple[Stage[Any], ...] = (self.recipients, self.clients)
        topics = pipeline.topics
        read = {
            topics.full_name(topic): topics.partitions_of(topic) for topic in (*INPUTS, EXAMPLES)
        }
        self._ownership = Ownership(self.stages, read)
        self._topics = TopicWatch(self._watching, read)
        self._health = Health(self.stages, self._watching, LostPlaces(self._fetch_again))
        self._watchdog = Watchdog(settings.watchdog_s)
        self._started_ms = time.time_ns() // 1_000_000
        self._beat_sink = self._new_sink()
        self._last_beat = (time.monotonic(), 0, 0)
        self._add_agents()
        self._add_loops()

    def _make_app(self) -> faust.App:
        settings = self.settings
        register()
        servers = settings.kafka.split(",")
        return _App(
            settings.group,
            broker=";".join(f"rdkafka://{server.strip()}" for server in servers),
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            store="memory://",
            broker_session_timeout=settings.session_timeout_s,
            broker_heartbeat_interval=settings.session_timeout_s / 5,
        )

    def _wiring(self, group: str) -> dict[str, Any]:
        settings = self.settings
        return {
            "deliver": self._deliver,
            "sink": self._new_sink(),
            "snapshots": snapshot_store(
                settings.pipeline, group, url=settings.snapshots_url, key=settings.snapshot_key
            ),
            "offsets": self._offsets,
            "on_failure": self._end,
            "session_timeout_s": settings.session_timeout_s,
            "exactly_once": bool(self.transactional_id),
        }

    async def _deliver(
        self, outputs: Outputs, tenure: Tenure, offsets: Mapping[TopicPartition, int]
    ) -> None:
        await self.app.producer.writer.write(outputs, tenure, offsets)

    async def _fetch_again(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        found: Mapping[TopicPartition, int] = await self.app.consumer.fetch_again(partitions)
        return found

    def _new_sink(self) -> RedisSink:
        ttl_s = self.settings.pipeline.redis.ttl_ms // 1000
        sink = RedisSink(self.settings.redis, Retention(recipient_s=ttl_s))
        self._sinks.append(sink)
        return sink

    def _end(self, error: BaseException) -> None:
        """Crash the app: what is not acknowledged is done again by whoever comes next."""
        self.app.loop.create_task(self.app.crash(error))

    def _add_agents(self) -> None:
        configure(
            self.app,
            Settings(
                rdkafka=dict(self.settings.kafka_config),
                copartition=[self.recipients.topics],
                companions=self._companions(),
                owner=self._ownership,
                transactional_id=self.transactional_id,
                write_interval_s=self.settings.pipeline.outputs.commit_interval_ms / 1000,
                # No longer than it takes until the partitions are another's: who reads the outputs
                # waits for the end of what a dead worker has left open.
                transaction_timeout_s=self.settings.session_timeout_s,
            ),
        )
        for stage in self.stages:
            for topic in stage.topics:
                name = topic.replace(".", "_").replace("-", "_")
                self.app.agent(chunk_topic(self.app, topic), name=name)(_body(stage))

    def _companions(self) -> Companions:
        """Clients' partitions beside recipients' of the same number: each worker has both kinds."""
        topics = self.settings.pipeline.topics
        learners = topics.partitions_of(EXAMPLES)
        if learners > topics.partitions:
            return {}
        return {topics.full_name(EXAMPLES): (self.recipients.topics[0], learners)}

    def _add_loops(self) -> None:
        pipeline = self.settings.pipeline
        self.app.task(self._start)
        for stage in self.stages:
            fast = stage is self.recipients
            every_ms = pipeline.redis.flush_interval_ms if fast else pipeline.publish.metrics_ms
            self._every(every_ms / 1000, stage.publish_all)
            interval_s = pipeline.snapshots.interval_ms / 1000
            self._every(interval_s, partial(stage.write_down_all, interval_s))
        self._every(_BEAT_S, self._beat)
        self._every(_LOOK_S, self._look)

    def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat `work` with `interval_s` between its end and its next start."""

        async def loop() -> None:
            while not self.app.should_stop:
                await asyncio.sleep(interval_s)
                with suppress(asyncio.CancelledError):
                    await self._tried(work)

        self.app.task(loop)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Unavailable as error:
            logger.warning("tried again soon: %s", error)
        except Exception as error:
            self.recipients.fail(error)
            raise

    async def _start(self) -> None:
        """Begin to read models; scores use whatever of them has arrived."""
        self._feed.start()
        self._last_beat = (time.monotonic(), 0, 0)
        self._watchdog.start()
        show_on_signal(asyncio.get_running_loop())

    async def _look(self) -> None:
        """See whether topics are what they were, how far behind each partition is, and why."""
        await asyncio.to_thread(self._topics.look)
        await self._health.look()
        self._watchdog.standing_still(self._health.stalled)

    async def _beat(self) -> None:
        """Say that this worker lives, and how fast it is."""
        self._watchdog.alive()
        counts = [held.counts for held in self.recipients.held.values()]
        events = sum(table.get("in", 0) for topics in counts for table in topics.values())
        made = sum(table.get("predictions", 0) for topics in counts for table in topics.values())
        now = time.monotonic()
        since, events_before, made_before = self._last_beat
        self._last_beat = (now, events, made)
        if now - since > self.settings.session_timeout_s:
            logger.warning(
                "this worker was paused for %.0f s, longer than its session; its partitions may be "
                "others' by now: what it had under way is withdrawn, and it joins anew",
                now - since,
            )
            return  # what it would tell is of before
        ages = self.recipients.take_ages_s()
        beat = WorkerBeat(
            worker=self.settings.name,
            at_ms=time.time_ns() // 1_000_000,
            started_at_ms=self._started_ms,
            events_per_s=max(0.0, (events - events_before) / (now - since)),
            predictions_per_s=max(0.0, (made - made_before) / (now - since)),
            partitions=sum(len(stage.held) for stage in self.stages),
            freshness_p50_s=ages[0],
            freshness_p99_s=ages[1],
            snapshot_age_s=self._health.snapshot_age_s(),
            rebalances_per_minute=self._ownership.rebalances_per_minute(),
            lags=self._health.lags,
        )
        await asyncio.to_thread(self._beat_sink.beat, beat)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; 0 drained, 1 crashed."""
        warm_up(self.settings.pipeline)
        _spare_the_collector()
        try:
            return run_app(self.app)
        finally:
            self._watchdog.stop()
            self._feed.stop()
            for sink in self._sinks:
                sink.close()
            for lookup in (self._offsets, self._watching):
                lookup.close()


def _spare_the_collector() -> None:
    """Look for cyclic garbage once in many thousand objects.

    By default Python looks whenever 700 more objects live than before, and may find millions to
    look through. What was loaded up to here stays, and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)


def _body(stage: Stage[Any]) -> Callable[[Any], Awaitable[None]]:
    """An agent of its own for each topic; Faust tells agents apart by their function."""

    async def agent(stream: Any) -> None:
        await stage.consume(stream)

    return agent


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until it is told to stop; returns its exit code."""
    return Worker(settings).run()
