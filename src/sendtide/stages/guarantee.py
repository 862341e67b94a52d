"""Which guarantee a worker gives for its outputs on the broker it finds."""

from __future__ import annotations

import logging
from typing import Final

from sendtide.events.errors import ConfigurationError
from sendtide.stages.settings import WorkerSettings
from sendtide.transport import probe_transactions

__all__ = ["PROBE_TOPIC", "transactional_id"]

logger = logging.getLogger(__name__)

PROBE_TOPIC: Final = "ml.transactions"
"""Below the pipeline's prefix; one partition, kept for a minute, of no use to anybody else."""


def transactional_id(settings: WorkerSettings) -> str:
    """Name under which this worker writes transactions; "" if it writes none. Says why in the log.

    Raises:
        ConfigurationError: exactly-once delivery is asked for and the broker cannot give it.
    """
    asked = settings.exactly_once or settings.pipeline.outputs.exactly_once
    if asked == "off":
        logger.info("outputs are delivered at least once, as configured; repeats have equal ids")
        return ""
    topic = settings.pipeline.topics.prefix + PROBE_TOPIC
    missing = probe_transactions(settings.client(), topic)
    if not missing:
        logger.info("outputs are delivered exactly once: in one transaction with their offsets")
        return f"{settings.group}-{settings.name}"
    if asked == "on":
        msg = (
            f"exactly_once is on, and transactions cannot be relied on here: {missing}; use Apache "
            "Kafka 2.5 or newer and let this user write transactions, or say auto or off"
        )
        raise ConfigurationError(msg)
    logger.warning(
        "outputs are delivered at least once, repeats have equal ids; no transactions: %s", missing
    )
    return ""
