"""Outputs where the broker has no transactions: each is stored at least once, in order.

A round does not wait until the one before it is confirmed. Offsets are none of its business: they
move when works are acknowledged, which is when they are stored.
"""

from __future__ import annotations

import asyncio

from sendtide.transport.deliveries import BatchProducer, Delivery
from sendtide.transport.errors import DeliveryError
from sendtide.transport.records import merged
from sendtide.transport.writer import Work, Writer, remaining

__all__ = ["AtLeastOnceWriter"]


class AtLeastOnceWriter(Writer):
    """Writes through a producer that is started; see `Writer`."""

    def __init__(
        self, producer: BatchProducer, *, interval_s: float = 0.1, max_bytes: int = 8 << 20
    ) -> None:
        super().__init__(interval_s, max_bytes)
        self._producer = producer
        self._settling: set[asyncio.Task[None]] = set()

    async def _store(self, works: list[Work]) -> None:
        """Queue the records of all; they are waited for beside the next round."""
        kept = remaining(works)
        outputs = await asyncio.to_thread(merged, [work.outputs for work in kept])
        while len(left := remaining(kept)) < len(kept):  # a tenure ended meanwhile
            kept = left
            outputs = await asyncio.to_thread(merged, [work.outputs for work in kept])
        sent = [await self._producer.send(topic, records) for topic, records in outputs]
        task = asyncio.create_task(_settle(kept, sent))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)


async def _settle(works: list[Work], sent: list[Delivery]) -> None:
    """Say when all is stored. If some is not, none of the round may be acknowledged."""
    failure: DeliveryError | None = None
    for delivery in sent:
        try:
            await delivery.delivered()
        except DeliveryError as error:
            failure = failure or error
    for work in works:
        if work.done.done():
            continue
        if failure is None:
            work.done.set_result(None)
        else:
            work.done.set_exception(failure)
