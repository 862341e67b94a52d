"""Faust's consumer on librdkafka: from the poll thread to the agents and back to the offsets.

The way of a chunk::

    poll thread         event loop
    fetch ────fetched──► ledger.register ─► feed of its topic ─► conductor ─► agent
       ▲                                                                        │ next / ack()
       └── pause, resume ◄── InFlight ◄── ledger.finish ◄───────────────────────┘
                                              └─ committable ─► commit: timer, revoke, stop

What of Faust is not used: its fetcher's way of asking for messages (it only starts ours), its
acknowledgement lists, its stop-the-world rebalance, tables, and the assignor's topics.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from faust.transport import base
from faust.types import TP

from sendtide.transport.assignments import Assignments, LoopListener
from sendtide.transport.backpressure import InFlight
from sendtide.transport.broker import Broker
from sendtide.transport.chunk import Chunk
from sendtide.transport.committer import Committer
from sendtide.transport.errors import ChunkAbandonedError, ConfigurationError, TransportError
from sendtide.transport.feeds import Feeds
from sendtide.transport.message import STALE, Envelope, event_envelope
from sendtide.transport.poller import Poller
from sendtide.transport.rebalance import CopartitionGroups, TopicPartition
from sendtide.transport.settings import consumer_config, settings_of
from sendtide.transport.topic import ChunkSchema

__all__ = ["Consumer"]

_log = logging.getLogger(__name__)

#: Of the poll loop, which may be within a rebalance.
_ANSWER_S = 5.0


class Consumer(base.Consumer):
    """`app.consumer`: one librdkafka consumer, its assignments and what agents have in flight."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.in_transaction:
            msg = "processing_guarantee exactly_once is Faust's own and not supported here"
            raise ConfigurationError(msg)
        self.settings = settings_of(self.app)
        self.groups = CopartitionGroups(self.settings.copartition, self.settings.companions)
        self.in_flight = InFlight(
            self.settings.max_bytes, self.settings.max_chunks, self.settings.max_events
        )
        self.assignments = Assignments(
            self, self.groups, self.settings.owner, self.settings.revoke_timeout_s
        )
        self._config = consumer_config(self.app, self.transport.url, self.settings)
        self._poller: Poller | None = None
        self._broker: Broker | None = None
        self.feeds = Feeds(self, self.assignments, self.in_flight, self.settings.chunk_messages)
        # Faust's compiled streams keep lists of what they acknowledge unless it lies below this.
        self._committed_offset: Any = defaultdict(lambda: sys.maxsize)
        self._announce_lock = asyncio.Lock()
        self._failing = False
        self.committer = Committer(
            self.assignments,
            self._flush_outputs,
            self.app.crash,
            self._note_commit,
            transactional=bool(self.settings.transactional_id),
        )

    # -- life ---------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Hook into the app's shutdown: agents must finish before Faust cancels them."""
        await super().on_start()
        self.app.on_before_shutdown.connect(self._drain, weak=False)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the leaders of `topics`, and let the app go on without an assignment.

        Raises:
            TopicMismatchError: copartitioned topics differ in partitions, or a companion has grown.
            ConfigurationError: the app uses something that this transport does not have.
        """
        wanted = {topic for topic in topics if not topic.endswith("-__assignor-__leader")}
        self._refuse_unsupported()
        self._sort_topics(wanted)
        if self._poller is None:
            self._poller = self._new_poller()
            self._broker = Broker(self._config)
        if members := self.groups.topics():
            assert self._broker is not None
            self.groups.verify(await self._broker.partition_counts(members))
        self._poller.subscribe(self.groups.subscription(wanted))
        # A member may get nothing, and a group takes its time: the app is up without it.
        self.spawn(self.announce())

    async def _drain(self, *_: Any, **__: Any) -> None:
        """Finish what agents have begun, hand every unit back to its owner, commit."""
        await self.assignments.release_all()

    async def on_stop(self) -> None:
        """Commit what is left and leave the group, within the close timeout."""
        await self.assignments.release_all()
        poller, self._poller = self._poller, None
        if poller is None:
            return
        timeout_s = self.settings.close_timeout_s
        closing = asyncio.get_running_loop().run_in_executor(None, poller.close, timeout_s)
        try:
            await asyncio.wait_for(asyncio.shield(closing), timeout_s + 1)
        except TimeoutError:
            _log.error("did not leave the group within %s s; the broker will notice", timeout_s)
        if self._broker is not None:
            self._broker.close()

    def _new_poller(self) -> Poller:
        listener = LoopListener(
            asyncio.get_running_loop(),
            self.assignments,
            self.feeds.receive,
            self,
        )
        return Poller(
            self._config,
            self.groups,
            self.in_flight,
            listener,
            fetch_messages=self.settings.chunk_messages,
            fetch_bytes=self.settings.fetch_bytes,
            fetch_wait_s=self.settings.fetch_wait_s,
            revoke_timeout_s=self.settings.revoke_timeout_s + 1.0,
        )

    def _refuse_unsupported(self) -> None:
        if self.app.client_only:
            msg = "client-only mode is not supported: start the app, or only its producer"
            raise ConfigurationError(msg)
        if self.app.tables:
            names = sorted(self.app.tables)
            msg = (
                f"Faust tables {names} cannot be used with rdkafka://: cooperative assignment does "
                "not keep changelogs beside their sources. Keep state with a PartitionOwner"
            )
            raise ConfigurationError(msg)

    def _sort_topics(self, wanted: set[str]) -> None:
        """Tell chunk topics from ordinary ones, by what their agents declared."""
        chunk_topics: set[str] = set()
        event_topics: set[str] = set()
        for channel in self.app.topics:
            chosen = chunk_topics if isinstance(channel.schema, ChunkSchema) else event_topics
            chosen.update(wanted & set(channel.topics))
        if both := chunk_topics & event_topics:
            msg = f"topics {sorted(both)} have agents for chunks and agents for events; choose one"
            raise ConfigurationError(msg)
        self.in_flight.count_chunks(chunk_topics)
        for agent in self.app.agents.values():
            if isinstance(getattr(agent.channel, "schema", None), ChunkSchema):
                agent._on_error = self._agent_failed

    async def _agent_failed(self, agent: Any, error: BaseException) -> None:
        """Stop the process: a supervisor's restart would go on after the chunk that failed."""
        self._failing = True
        self.assignments.withdraw()
        _log.error("agent %s failed on a chunk; stopping, the chunk is not acknowledged", agent)
        await self.app.crash(error)

    async def _left(self, chunk: Chunk) -> None:
        """An agent ended, or left its loop, on a chunk: nobody would ever acknowledge it."""
        await asyncio.sleep(0.1)  # the agent's own error, if there is one, is the better reason
        if not self.app.should_stop and not self.app.crashed:
            msg = (
                f"an agent left {chunk!r} without asking for the next; it is not acknowledged and "
                "will be delivered again. Let agents of chunk topics loop for ever"
            )
            await self.app.crash(ChunkAbandonedError(msg))

    async def _drain_messages(self, fetcher: Any) -> None:  # noqa: ARG002
        """Feed agents; Faust's fetcher runs this once the app may process messages."""

        async def deliver(envelope: Envelope) -> None:
            if not self.flow_active:
                await self.can_resume_flow.wait()
            if envelope.generation_id != STALE and not self._failing:
                await self.callback(envelope)

        await self.feeds.run(deliver)

    async def group_metadata(self) -> Any:
        """What proves this member's generation to the broker, as the poll thread knows it.

        Raises:
            TransportError: this member is of no group, or not any more.
        """
        if self._poller is None:
            msg = "there is no member whose generation could be proven"
            raise TransportError(msg)
        return await asyncio.wrap_future(self._poller.group_metadata())

    # -- offsets --------------------------------------------------------------------------------

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what is finished; Faust calls it every `broker_commit_interval`."""
        chosen = [
            p for p in self.assignments.running() if topics is None or p in topics or p[0] in topics
        ]
        poller = self._poller
        return poller is not None and await self.committer.commit_running(poller, chosen)

    async def commit_partitions(self, partitions: Iterable[TopicPartition]) -> bool:
        """Commit finished work of these at once; True if nothing is left to commit."""
        poller = self._poller
        return poller is None or await self.committer.commit(poller, partitions)

    async def _flush_outputs(self) -> None:
        await self.app.producer.flush()

    def _note_commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.app.monitor.on_tp_commit({TP(*p): offset for p, offset in offsets.items()})

    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int | None]:
        """The group's offsets; None where it has none."""
        return await self._asked().committed(partitions)

    async def watermarks(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, tuple[int, int]]:
        """First offset and end of the log of each partition."""
        return await self._asked().watermarks(partitions)

    # -- what Assignments and Feeds ask for -------------------------------------------------------

    @property
    def generation(self) -> int:
        """The app's; streams skip messages of any other."""
        return int(self.app.consumer_generation_id)

    @property
    def stopping(self) -> bool:
        """True once the app stops."""
        return bool(self.app.should_stop)

    def abandoned(self, chunk: Chunk) -> None:
        """An agent was closed while it worked on a chunk."""
        if not self.stopping:
            self._failing = True
            self.assignments.withdraw()
            self.spawn(self._left(chunk))

    async def begin(self, starts: Mapping[TopicPartition, int | None]) -> None:
        """Start fetching."""
        poller = self._poller
        if poller is not None:
            await asyncio.wrap_future(poller.begin(starts))

    async def fetch_again(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Seek to where these stand, unless something of them is under way; return the offsets.

        For a client that has lost its place: records wait at the broker and do not come. What it
        fetches twice is handed over once.
        """
        poller, positions = self._poller, self.assignments.idle(partitions)
        if poller is None or not positions:
            return {}
        try:
            async with asyncio.timeout(_ANSWER_S):
                sought = await asyncio.wrap_future(poller.fetch_again(positions))
        except TimeoutError:
            _log.warning("the poll loop has not answered within %s s", _ANSWER_S)
            return {}
        return {partition: positions[partition] for partition in sought}

    async def announce(self) -> None:
        """Tell Faust all partitions, with the generation the app has: another is ignored."""
        async with self._announce_lock:
            self.app.on_rebalance_start()
            held = {TP(*p) for p in self.assignments.held()}
            await self.on_partitions_assigned(held, self.app.consumer_generation_id)

    def spawn(self, work: Coroutine[Any, Any, None]) -> Any:
        """Run beside everything else; its failure stops the app."""
        return self.add_future(work)

    def _asked(self) -> Broker:
        if self._broker is None:
            msg = "the consumer has not subscribed yet"
            raise RuntimeError(msg)
        return self._broker

    # -- the rest of Faust's interface ------------------------------------------------------------

    def assignment(self) -> set[TP]:
        """Partitions held."""
        return {TP(*p) for p in self.assignments.held()}

    def ack(self, message: Any) -> bool:
        """Acknowledge; the envelope does the rest."""
        message.acked = True
        return True

    def highwater(self, tp: TP) -> int:
        """One past the newest record handed over; `highwaters` asks the broker."""
        assignment = self.assignments.get(tp)
        return 0 if assignment is None else assignment.ledger.registered_to or 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """End of the log, asked from the broker."""
        return {TP(*p): end for p, (_, end) in (await self.watermarks(partitions)).items()}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """First offset in the log, asked from the broker."""
        return {TP(*p): first for p, (first, _) in (await self.watermarks(partitions)).items()}

    async def position(self, tp: TP) -> int | None:
        """Offset up to which the partition was handed over."""
        assignment = self.assignments.get(tp)
        return None if assignment is None else assignment.ledger.registered_to

    def topic_partitions(self, topic: str) -> int | None:  # noqa: ARG002
        """Not cached; ask `sendtide.transport.admin`."""
        return None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> Any:
        """Where a key goes."""
        if partition is not None or key is None:
            return partition
        return self.app.producer.key_partition(topic, key).partition

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Create a topic; see the producer."""
        await self.app.producer.create_topic(*args, **kwargs)

    async def wait_empty(self) -> None:
        """Nothing to wait for here: `_drain` finishes what agents have begun."""

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Faust pauses around its rebalances; this transport pauses by load only."""

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """See `pause_partitions`."""

    def on_buffer_full(self, tp: TP) -> None:
        """See `pause_partitions`: agents' queues are bounded by what is in flight."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See `on_buffer_full`."""

    async def perform_seek(self) -> None:
        """Partitions begin where their owner says; see `owner`."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """See `perform_seek`."""
        return {}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Raise ConfigurationError: see `perform_seek`."""
        await self._seek(next(iter(partitions)), 0)

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Raise ConfigurationError: see `perform_seek`."""
        await self._seek(partitions[0], 0)

    async def _seek(self, partition: TP, offset: int) -> None:
        msg = (
            f"cannot seek {partition} to {offset} while it runs: acknowledgements are counted from "
            "its start. Return the offset from PartitionOwner.assigned"
        )
        raise ConfigurationError(msg)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.commit_partitions(offsets)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109, ARG002
        return {}

    def _to_message(self, tp: TP, record: Any) -> Envelope:
        return event_envelope(tp, record, self.app.consumer_generation_id)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)
