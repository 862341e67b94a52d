"""Entry point of the URL scheme `rdkafka://` (group `faust.transports`)."""

from __future__ import annotations

from typing import Any

import confluent_kafka
from faust.transport import base
from faust.transport.drivers import TRANSPORTS

from sendtide.transport.consumer import Consumer
from sendtide.transport.errors import ConfigurationError
from sendtide.transport.producer import Producer
from sendtide.transport.settings import bootstrap_servers

__all__ = ["Transport", "register"]


class Transport(base.Transport):
    """Faust's transport, wholly on librdkafka.

    Faust's web server listens on every interface without authentication and its command line
    turns it on whatever the settings say, so it stays off unless the app itself says
    `app.boot_strategy.enable_web = True`.
    """

    Consumer = Consumer
    Producer = Producer
    driver_version = f"confluent_kafka={confluent_kafka.__version__}"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bootstrap_servers(self.url)  # refuses secrets in the URL before anything prints it
        if self.app.conf.broker_credentials:
            msg = "broker_credentials are not used here; give TLS and SASL in Settings.rdkafka"
            raise ConfigurationError(msg)
        if self.app.boot_strategy.enable_web is None:
            self.app.boot_strategy.enable_web = False
        # Its topic would need Faust's own assignor, which decides who leads.
        self.app.conf.topic_disable_leader = True


def register() -> None:
    """Make `rdkafka://` known where the package is imported but not installed."""
    TRANSPORTS.data.setdefault("rdkafka", "sendtide.transport.driver:Transport")
