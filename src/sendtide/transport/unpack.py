"""Out of librdkafka's messages into columns: compiled, and other threads run meanwhile."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from sendtide.transport.librdkafka import LIBRARY, Message

__all__ = ["HEADS", "compiled", "copied", "destroyed", "heads"]

HEADS: Final = np.dtype(
    [
        *((name, np.int64) for name in ("error", "topic", "partition", "offset", "timestamp_ms")),
        *((name, np.int64) for name in ("value", "value_length", "key", "key_length")),
    ]
)
"""What is known of a message; topic, value and key are addresses, 0: none."""


_ERR, _RKT, _PARTITION = (getattr(Message, n).offset for n in ("err", "rkt", "partition"))
_PAYLOAD, _LEN = Message.payload.offset, Message.len.offset
_KEY, _KEY_LEN = Message.key.offset, Message.key_len.offset
_OFFSET = Message.offset.offset


def _address(name: str) -> np.uint64:
    """Where a function of the library lies, for compiled code to call it."""
    return np.uint64(ctypes.cast(getattr(LIBRARY, name), ctypes.c_void_p).value or 0)


_TIMESTAMP: Final = _address("rd_kafka_message_timestamp")
_DESTROY: Final = _address("rd_kafka_message_destroy")


def _load(bits: int) -> Any:
    """Compiled function `(address, place)` that reads a signed number of so many bits there."""

    @intrinsic
    def load(_: Any, address: Any, place: Any) -> Any:  # noqa: ARG001 - numba asks for both
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(builder.add(*arguments), ir.IntType(bits).as_pointer())
            return builder.load(pointer)

        return getattr(types, f"int{bits}")(types.uint64, types.int64), generate

    return load


_load32, _load64 = _load(32), _load(64)


@intrinsic
def _copy(_: Any, to: Any, source: Any, size: Any) -> Any:  # noqa: ARG001 - numba asks for all
    """Compiled `memcpy` between addresses."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, source, size = arguments
        pointers = builder.inttoptr(to, byte), builder.inttoptr(source, byte)
        cgutils.raw_memcpy(builder, *pointers, size, 1)

    return types.void(types.uint64, types.uint64, types.int64), generate


@intrinsic
def _timestamp(_: Any, function: Any, message: Any) -> Any:  # noqa: ARG001 - numba asks for both
    """Compiled call of `int64_t function(message, NULL)`."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word]).as_pointer()
        function, message = arguments
        return builder.call(builder.inttoptr(function, kind), [message, word(0)])

    return types.int64(types.uint64, types.uint64), generate


@intrinsic
def _destroy(_: Any, function: Any, message: Any) -> Any:  # noqa: ARG001 - numba asks for both
    """Compiled call of `void function(message)`."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)]).as_pointer()
        function, message = arguments
        builder.call(builder.inttoptr(function, kind), [message])

    return types.void(types.uint64, types.uint64), generate


def compiled() -> None:
    """Compile, unless that was done before: not when records wait."""
    none = np.zeros(0, np.uint64)
    heads(none)
    copied(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.uint8))
    destroyed(none)


def heads(messages: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What is known of messages at these addresses, uint64[n]: n rows of `HEADS`."""
    made = np.zeros(len(messages), HEADS)
    _read_heads(messages, _TIMESTAMP, made)
    return made


def copied(
    addresses: np.ndarray[Any, Any], starts: np.ndarray[Any, Any], data: np.ndarray[Any, Any]
) -> None:
    """Copy what lies at n addresses to where it starts in `data`; starts: int64[n + 1]."""
    _copy_all(addresses, starts, data.ctypes.data)


def destroyed(messages: np.ndarray[Any, Any]) -> None:
    """Give messages back to the client; what they point to is gone then."""
    _destroy_all(messages, _DESTROY)


@njit(cache=True, nogil=True)
def _read_heads(messages: Any, timestamp: Any, made: Any) -> None:
    for row in range(len(messages)):
        at = messages[row]
        head = made[row]
        head.error = _load32(at, _ERR)
        head.topic = _load64(at, _RKT)
        head.partition = _load32(at, _PARTITION)
        head.offset = _load64(at, _OFFSET)
        head.timestamp_ms = _timestamp(timestamp, at)
        head.value = _load64(at, _PAYLOAD)
        head.value_length = _load64(at, _LEN)
        head.key = _load64(at, _KEY)
        head.key_length = _load64(at, _KEY_LEN)


@njit(cache=True, nogil=True)
def _copy_all(addresses: Any, starts: Any, data: Any) -> None:
    for row in range(len(addresses)):
        length = starts[row + 1] - starts[row]
        if length > 0:
            _copy(np.uint64(data + starts[row]), np.uint64(addresses[row]), length)


@njit(cache=True, nogil=True)
def _destroy_all(messages: Any, destroy: Any) -> None:
    for row in range(len(messages)):
        _destroy(destroy, messages[row])
