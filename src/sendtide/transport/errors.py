"""What can go wrong, by name; everything here derives from `TransportError`."""

from __future__ import annotations

__all__ = [
    "ChunkAbandonedError",
    "ConfigurationError",
    "DeliveryError",
    "RecordTooLargeError",
    "TopicMismatchError",
    "TransactionAbortedError",
    "TransportError",
    "WithdrawnError",
]


class TransportError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(TransportError):
    """A setting that this transport does not have, or must not be given in this place."""


class TopicMismatchError(TransportError):
    """A topic is missing or its partitions are not what the application relies on."""


class DeliveryError(TransportError):
    """Records that the broker did not take.

    failed: how many. The message quotes the first reason.
    """

    def __init__(self, message: str, failed: int) -> None:
        super().__init__(message)
        self.failed = failed


class ChunkAbandonedError(TransportError):
    """An agent left a chunk without acknowledging it; going on would lose or block the chunk."""


class TransactionAbortedError(TransportError):
    """A transaction was not committed; its records may be written again."""


class RecordTooLargeError(TransactionAbortedError):
    """A transaction holds a record that will never be taken: to write it again is of no use."""


class WithdrawnError(TransportError):
    """Records were not sent, on purpose: they belong to a partition that was taken away."""
