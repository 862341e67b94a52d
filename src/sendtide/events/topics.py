"""The nine topics: who writes them, who reads them, how they are keyed and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["DEAD_LETTERS", "ENGAGEMENTS", "EXAMPLES", "INPUTS", "METRICS", "MODELS", "PREDICTIONS"]
__all__ += ["ALERTS", "REQUESTS", "SENDS", "TOPICS", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's fixed properties; the partition count comes from the pipeline file."""

    name: str
    key: str
    keyed_by: Literal["recipient", "client", "none"]
    cleanup: Literal["delete", "compact"]
    about: str


SENDS: Final = Topic(
    "email.sends", "client_id:recipient_id", "recipient", "delete", "messages handed over"
)
ENGAGEMENTS: Final = Topic(
    "email.engagements", "client_id:recipient_id", "recipient", "delete", "what became of them"
)
REQUESTS: Final = Topic(
    "email.requests", "client_id:recipient_id", "recipient", "delete", "when should it be sent?"
)
PREDICTIONS: Final = Topic(
    "ml.predictions", "client_id:recipient_id", "recipient", "delete", "answers to requests"
)
EXAMPLES: Final = Topic(
    "ml.examples", "none, partition = client hash", "client", "delete", "packed training rows"
)
MODELS: Final = Topic("ml.models", "client_id:model", "client", "compact", "newest model states")
METRICS: Final = Topic("ml.metrics", "client_id", "client", "delete", "drift, loss, freshness")
ALERTS: Final = Topic("ml.alerts", "client_id", "client", "delete", "what a person should see")
DEAD_LETTERS: Final = Topic(
    "email.dead-letters", "as received", "none", "delete", "refused records, byte for byte"
)

INPUTS: Final = (SENDS, ENGAGEMENTS, REQUESTS)
"""Copartitioned: same key, same partitioner (murmur2), same partition count."""
TOPICS: Final = (
    *INPUTS,
    PREDICTIONS,
    EXAMPLES,
    MODELS,
    METRICS,
    ALERTS,
    DEAD_LETTERS,
)
