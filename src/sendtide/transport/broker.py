"""Questions to the broker that block, asked in threads so that the event loop does not wait.

Asked through a client of their own, which never joins the group: calls on the polled one wait for
its poll loop, and a slow answer would hold up fetching.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Position

from sendtide.transport.rebalance import TopicPartition

__all__ = ["Broker"]

_log = logging.getLogger(__name__)

#: Of one request; callers repeat those that may be repeated.
_TIMEOUT_S = 10.0

T = TypeVar("T")


class Broker:
    """Asks about a group and its topics.

    Args:
        config: of the group's consumers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._consumer = Consumer(self._config, logger=_log)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="rdkafka-ask")

    def close(self) -> None:
        """Give the threads up; requests under way end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._consumer.close()

    async def ask(self, question: Callable[[], T]) -> T:
        """Run a blocking call in a thread of ours."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, question)

    async def _answer(self, question: Callable[[Consumer], T]) -> T:
        """Ask by the client; after a question in vain, the next one is asked by a new client.

        The old one may know no broker any more (see `cut_off`). Others may still ask it.
        """
        client = self._consumer
        try:
            return await self.ask(lambda: question(client))
        except KafkaException:
            if client is self._consumer:
                self._consumer = Consumer(self._config, logger=_log)
            raise

    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        """The group's offsets; None where it has none.

        Raises:
            KafkaException: the coordinator did not answer in time.
        """
        asked = [Position(*p) for p in partitions]
        found = await self._answer(lambda client: client.committed(asked, timeout=_TIMEOUT_S))
        answer: dict[TopicPartition, int | None] = {}
        for position in found:
            if position.error is not None:
                raise KafkaException(position.error)
            offset = position.offset
            answer[position.topic, position.partition] = offset if offset >= 0 else None
        return answer

    async def watermarks(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of the log of each partition.

        Raises:
            KafkaException: a partition's leader did not answer in time.
        """

        async def one(partition: TopicPartition) -> tuple[int, int]:
            where = Position(*partition)
            found: tuple[int, int] = await self._answer(
                lambda client: client.get_watermark_offsets(where, timeout=_TIMEOUT_S)
            )
            return found

        asked = list(partitions)
        return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Partitions by topic, 0 for a topic the broker does not have."""
        about = await self._answer(lambda client: client.list_topics(timeout=_TIMEOUT_S))
        found = about.topics
        return {topic: len(found[topic].partitions) if topic in found else 0 for topic in topics}
