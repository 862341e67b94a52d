"""librdkafka's own functions on a client of confluent-kafka: fetching without a Python object each.

confluent-kafka makes a Python object of every message and hands out no handle of its client. The
handle is the first field of its object, and librdkafka proves it: the client's opaque pointer is
the object again. Where it is not, nothing is called with it.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p
from typing import Any, Final

import confluent_kafka
from confluent_kafka import Consumer, cimpl

from sendtide.transport.errors import ConfigurationError

__all__ = ["LIBRARY", "ClientMessage", "handle_of"]


class ClientMessage(ctypes.Structure):
    """`rd_kafka_message_t` (rdkafka.h, unchanged since 0.9); pointers are addresses."""

    _fields_ = (
        ("err", c_int),
        ("rkt", c_size_t),
        ("partition", c_int32),
        ("payload", c_size_t),
        ("len", c_size_t),
        ("key", c_size_t),
        ("key_len", c_size_t),
        ("offset", c_int64),
        ("_private", c_size_t),
    )


_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "rd_kafka_opaque": (c_void_p, c_void_p),
    "rd_kafka_queue_new": (c_void_p, c_void_p),
    "rd_kafka_queue_get_partition": (c_void_p, c_void_p, c_char_p, c_int32),
    "rd_kafka_queue_forward": (None, c_void_p, c_void_p),
    "rd_kafka_queue_destroy": (None, c_void_p),
    "rd_kafka_consume_batch_queue": (c_ssize_t, c_void_p, c_int, c_void_p, c_size_t),
    "rd_kafka_topic_name": (c_char_p, c_size_t),
    "rd_kafka_message_errstr": (c_char_p, POINTER(ClientMessage)),
    "rd_kafka_message_timestamp": (c_int64, c_size_t, c_void_p),
    "rd_kafka_message_destroy": (None, c_size_t),
}


def _library() -> Any:
    """The library that confluent-kafka is linked with, found through it wherever it lies."""
    library = ctypes.CDLL(cimpl.__file__)
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY: Final = _library()
"""Functions by their names in rdkafka.h. A call lets other threads run."""


def handle_of(consumer: Consumer) -> int:
    """The `rd_kafka_t *` of a client that is open.

    Raises:
        ConfigurationError: this confluent-kafka keeps it elsewhere.
    """
    handle = c_size_t.from_address(id(consumer) + object.__basicsize__).value
    if not handle or LIBRARY.rd_kafka_opaque(handle) != id(consumer):
        msg = (
            f"confluent-kafka {confluent_kafka.version()} keeps its client where this transport "
            "does not find it; install the version that the lock file names"
        )
        raise ConfigurationError(msg)
    return handle
