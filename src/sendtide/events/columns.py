"""Packed columns: a small self-describing binary form for arrays, used for topics and snapshots.

Layout, all little-endian::

    magic   4 bytes  b"STC1"
    length  u32      bytes of the header that follows
    header  JSON     {"meta": {...}, "columns": [[name, dtype, [shape...], offset, bytes], ...]}
    data             each column's raw bytes, every column aligned to 8 bytes
    digest  16 bytes BLAKE2b-128 of all bytes before it

Only plain numeric dtypes are allowed; nothing in the bytes can name a class or run code.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData

__all__ = ["pack", "packed_parts", "unpack"]

Array = NDArray[Any]

_MAGIC: Final = b"STC1"
_PREFIX: Final = struct.Struct("<4sI")
_DIGEST_BYTES: Final = 16
_MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
_DTYPES: Final = {
    name: np.dtype(name)
    for name in ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")
}


_PADDING: Final = bytes(8)


class _Header(msgspec.Struct):
    meta: dict[str, Any]
    columns: list[tuple[str, str, list[int], int, int]]


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(_Header)


def _aligned(size: int) -> int:
    return (size + 7) & ~7


def pack(meta: Mapping[str, Any], columns: Mapping[str, Array]) -> bytes:
    """Return `columns` (any shapes) and JSON-able `meta` as one byte string.

    Raises:
        TypeError: a column's dtype is not a plain number.
    """
    return b"".join(packed_parts(meta, columns))


def packed_parts(
    meta: Mapping[str, Any], columns: Mapping[str, Array], *, verified: bool = False
) -> list[bytes | memoryview]:
    """As `pack`, in parts that follow one another; those of columns are no copies.

    verified: another digest will vouch for all of it; there are zeros in the place of its own.

    Raises:
        TypeError: a column's dtype is not a plain number.
    """
    entries: list[tuple[str, str, list[int], int, int]] = []
    parts: list[bytes | memoryview] = []
    offset = 0
    for name, column in columns.items():
        dtype = column.dtype.str
        if dtype not in _DTYPES:
            msg = f"column {name!r} has dtype {dtype!r}; allowed: {sorted(_DTYPES)}"
            raise TypeError(msg)
        size = column.nbytes
        entries.append((name, dtype, list(column.shape), offset, size))
        # In C order, whatever the array's own; no copy where it is that already.
        parts += [np.ravel(column).view(np.uint8).data, _PADDING[: -size & 7]]
        offset += _aligned(size)
    header = _ENCODER.encode(_Header(dict(meta), entries))
    header += b" " * (_aligned(_PREFIX.size + len(header)) - _PREFIX.size - len(header))
    parts = [_PREFIX.pack(_MAGIC, len(header)), header, *parts]
    if verified:
        return [*parts, bytes(_DIGEST_BYTES)]
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return [*parts, digest.digest()]


def unpack(
    data: bytes | memoryview, *, verified: bool = False
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return `(meta, columns)` of `pack`; columns are read-only views into `data`.

    verified: another digest has vouched for all of `data`, so that its own is not computed.

    Raises:
        CorruptData: truncated, altered or foreign bytes.
    """
    if len(data) < _PREFIX.size + _DIGEST_BYTES:
        msg = f"packed columns are cut off: {len(data)} bytes are too few"
        raise CorruptData(msg)
    magic, header_bytes = _PREFIX.unpack_from(data)
    if magic != _MAGIC or header_bytes > _MAX_HEADER_BYTES:
        msg = f"not packed columns: starts with {magic!r}, expected {_MAGIC!r}"
        raise CorruptData(msg)
    view = memoryview(data)
    body = view[:-_DIGEST_BYTES]
    if not verified and _digest(body) != view[-_DIGEST_BYTES:]:
        msg = f"packed columns of {len(data)} bytes fail their checksum"
        raise CorruptData(msg)
    start = _PREFIX.size + header_bytes
    try:
        header = _DECODER.decode(view[_PREFIX.size : start])
    except msgspec.MsgspecError as error:
        msg = f"packed columns have a bad header: {error}"
        raise CorruptData(msg) from error
    return header.meta, {
        name: _column(body, name, dtype, shape, start + offset, size)
        for name, dtype, shape, offset, size in header.columns
    }


def _digest(body: memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _column(
    body: memoryview, name: str, dtype: str, shape: list[int], start: int, size: int
) -> Array:
    known = _DTYPES.get(dtype)
    if known is None:
        msg = f"column {name!r} has dtype {dtype!r}; allowed: {sorted(_DTYPES)}"
        raise CorruptData(msg)
    expected = math.prod(shape) * known.itemsize
    if size != expected or min(shape, default=0) < 0 or start + size > len(body):
        msg = f"column {name!r} of shape {shape} does not fit its {size} bytes"
        raise CorruptData(msg)
    column: Array = np.frombuffer(body, known, size // known.itemsize, start)
    return column if len(shape) == 1 else column.reshape(shape)
