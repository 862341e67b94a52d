"""Moving the group's offsets: outputs first, one commit at a time, nothing believed unconfirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from confluent_kafka import KafkaException

from sendtide.transport.assignments import Assignments
from sendtide.transport.errors import TransportError
from sendtide.transport.poller import Poller
from sendtide.transport.rebalance import TopicPartition

__all__ = ["Committer"]

_log = logging.getLogger(__name__)

#: The client answers within the group's session; past this an answer is not waited for.
_ANSWER_S = 30.0


class Committer:
    """Commits the finished prefix of partitions.

    Args:
        flush: delivers what agents have sent; raises TransportError if something was lost.
        output_lost: told of that; the app stops, and nothing is committed from then on, so that
            the inputs of the lost output come again.
        confirmed: told what the broker has taken.
        transactional: offsets go with the outputs, in transactions; what is finished is committed.
    """

    def __init__(
        self,
        assignments: Assignments,
        flush: Callable[[], Awaitable[None]],
        output_lost: Callable[[BaseException], Awaitable[None]],
        confirmed: Callable[[Mapping[TopicPartition, int]], None],
        *,
        transactional: bool = False,
    ) -> None:
        self._assignments = assignments
        self._flush = flush
        self._output_lost = output_lost
        self._confirmed = confirmed
        self._transactional = transactional
        self._lost = False
        self._lock = asyncio.Lock()
        self.failures = 0

    async def commit_running(self, poller: Poller, chosen: Iterable[TopicPartition]) -> bool:
        """Commit on a timer: one attempt, not beside another."""
        async with self._lock:
            return await self.commit(poller, chosen)

    async def commit(self, poller: Poller, partitions: Iterable[TopicPartition]) -> bool:
        """Commit what is finished of these; True if nothing is left to commit.

        Partitions that are about to leave are committed beside a commit under way: its answer may
        come only after they have left, and an offset it carries is not above theirs.
        """
        if self._lost:
            return True
        running = {p: a for p in partitions if (a := self._assignments.get(p)) is not None}
        offsets = {
            p: offset for p, a in running.items() if (offset := a.ledger.committable) is not None
        }
        if not offsets:
            return True
        try:
            await self._flush()
        except TransportError as error:
            self._lost = True
            await self._output_lost(error)
            return True
        taken = offsets if self._transactional else await self._ask(poller, offsets)
        for partition, offset in taken.items():
            running[partition].ledger.confirm(offset)
        self._confirmed(taken)
        self.failures += len(taken) < len(offsets)
        return len(taken) == len(offsets)

    async def _ask(
        self, poller: Poller, offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return what the broker has confirmed, which may be less than asked."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await asyncio.wrap_future(poller.commit(offsets))
        except KafkaException as error:
            _log.warning("commit of %d offsets failed: %s", len(offsets), error.args[0].str())
            return {}
        except TimeoutError:
            _log.warning("commit of %d offsets: no answer in %s s", len(offsets), _ANSWER_S)
            return {}
        taken = {}
        for position in answer:
            if position.error is None:
                taken[position.topic, position.partition] = position.offset
            else:
                where = f"{position.topic}/{position.partition}"
                _log.warning("commit of %s failed: %s", where, position.error.str())
        return taken
