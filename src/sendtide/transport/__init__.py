"""Faust on librdkafka: chunks of a partition in, acknowledged outputs out.

Comes in: a Kafka-compatible broker. Goes out: to an agent, `Chunk`s (on a `chunk_topic`) or single
events (on any other Faust topic); to the broker, records whose delivery is awaited.
Invariant: a committed offset never passes work that is not wholly processed, whatever Faust, an
agent or a rebalance does. Limit: no Faust tables, no Faust transactions on this transport.

The package knows bytes and offsets only and imports nothing of the rest; use it in any Faust app::

    driver.register()
    app = faust.App("orders", broker="rdkafka://127.0.0.1:9092")
    orders = chunk_topic(app, "orders")

    @app.agent(orders)
    async def count(stream):
        async for chunk in stream:
            with chunk:
                total = len(chunk.messages)
"""

from sendtide.transport.chunk import Chunk
from sendtide.transport.commits import PartitionLedger, TopicPartition
from sendtide.transport.owner import PartitionOwner
from sendtide.transport.producer import DeliveryFailed, OutgoingRecord, RecordProducer
from sendtide.transport.settings import Settings, install, settings_of
from sendtide.transport.topic import ChunkTopic, chunk_topic

__all__ = [
    "Chunk",
    "ChunkTopic",
    "DeliveryFailed",
    "OutgoingRecord",
    "PartitionLedger",
    "PartitionOwner",
    "RecordProducer",
    "Settings",
    "TopicPartition",
    "chunk_topic",
    "install",
    "settings_of",
]
