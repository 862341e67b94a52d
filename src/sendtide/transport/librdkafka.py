"""librdkafka's own functions on a client of confluent-kafka: no Python object of each record.

confluent-kafka makes a Python object of every message and hands out no handle of its client. The
handle is the first field of its object, and librdkafka proves it: the client's opaque pointer is
the object again. No other call is made with it before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p
from typing import Any, Final

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, Producer, cimpl

from sendtide.transport.errors import ConfigurationError

__all__ = ["LIBRARY", "Message", "handle_of", "report_errors"]

_ErrorCallback: Final = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_void_p)

_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "rd_kafka_opaque": (c_void_p, c_void_p),
    "rd_kafka_conf": (c_void_p, c_void_p),
    "rd_kafka_conf_set_error_cb": (None, c_void_p, _ErrorCallback),
    "rd_kafka_fatal_error": (c_int, c_void_p, c_char_p, c_size_t),
    "rd_kafka_queue_new": (c_void_p, c_void_p),
    "rd_kafka_queue_get_partition": (c_void_p, c_void_p, c_char_p, c_int32),
    "rd_kafka_queue_forward": (None, c_void_p, c_void_p),
    "rd_kafka_queue_destroy": (None, c_void_p),
    "rd_kafka_consume_batch_queue": (c_ssize_t, c_void_p, c_int, c_void_p, c_size_t),
    "rd_kafka_topic_name": (c_char_p, c_size_t),
    "rd_kafka_message_errstr": (c_char_p, c_size_t),
    "rd_kafka_message_timestamp": (c_int64, c_size_t, c_void_p),
    "rd_kafka_message_destroy": (None, c_size_t),
    "rd_kafka_topic_new": (c_void_p, c_void_p, c_char_p, c_void_p),
    "rd_kafka_topic_destroy": (None, c_void_p),
    "rd_kafka_produce_batch": (c_int, c_void_p, c_int32, c_int, c_void_p, c_int),
    "rd_kafka_last_error": (c_int,),
}


class Message(ctypes.Structure):
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


def _library() -> Any:
    """The library that confluent-kafka is linked with, found through it wherever it lies."""
    library = ctypes.CDLL(cimpl.__file__)
    for name, (result, *arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            msg = (
                f"confluent-kafka {confluent_kafka.version()} shows no {name} of librdkafka; "
                "install its wheel, at the version that the lock file names"
            )
            raise ConfigurationError(msg) from error
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY: Final = _library()
"""Functions by their names in rdkafka.h. A call lets other threads run."""


def handle_of(client: Consumer | Producer) -> int:
    """The `rd_kafka_t *` of a client that is open.

    Raises:
        ConfigurationError: this confluent-kafka keeps it elsewhere.
    """
    handle = c_size_t.from_address(id(client) + object.__basicsize__).value
    if not handle or LIBRARY.rd_kafka_opaque(handle) != id(client):
        msg = (
            f"confluent-kafka {confluent_kafka.version()} keeps its client where this transport "
            "does not find it; install the version that the lock file names"
        )
        raise ConfigurationError(msg)
    return handle


def report_errors(handle: int, on_error: Callable[[KafkaError], None]) -> Any:
    """Have the client tell of its errors here; keep what is returned until it is closed.

    confluent-kafka's own callback ends the process where it is not its method that is being
    called, and errors of a partition (its topic deleted, its rights taken away) come with records.
    """

    def report(client: int, code: int, reason: bytes, _: int) -> None:
        fatal = code == KafkaError._FATAL  # noqa: SLF001, RUF100 - its public name
        if fatal:
            text = ctypes.create_string_buffer(512)
            code, reason = LIBRARY.rd_kafka_fatal_error(client, text, len(text)), text.value
        on_error(KafkaError(code, (reason or b"").decode("utf-8", "replace"), fatal))

    callback = _ErrorCallback(report)
    LIBRARY.rd_kafka_conf_set_error_cb(LIBRARY.rd_kafka_conf(handle), callback)
    return callback
