"""The Faust transport `rdkafka://`: registered as an entry point of `faust.transports`."""

from __future__ import annotations

from typing import ClassVar

import confluent_kafka
from faust.transport import base
from faust.transport.drivers import TRANSPORTS

from sendtide.transport.consumer import RdkafkaConsumer
from sendtide.transport.producer import RdkafkaProducer

__all__ = ["Transport", "register"]


class Transport(base.Transport):
    """Faust transport wholly on librdkafka."""

    Consumer: ClassVar[type[RdkafkaConsumer]] = RdkafkaConsumer
    Producer: ClassVar[type[RdkafkaProducer]] = RdkafkaProducer
    default_port = 9092
    driver_version = f"confluent-kafka={confluent_kafka.__version__}"


def register() -> None:
    """Make the scheme known to Faust, also where the package's entry point is not installed."""
    TRANSPORTS.aliases["rdkafka"] = "sendtide.transport.driver:Transport"
