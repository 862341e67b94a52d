"""Tensors of the Open Inference Protocol v2: JSON or raw little-endian, to columns and back.

https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`; the
binary form is Triton's `binary_tensor_data` extension: JSON first, then the tensors' bytes in the
order of the JSON; a BYTES element is a 4-byte length and its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.endpoint.web import Refusal

__all__ = [
    "Column",
    "InferRequest",
    "OutputTensor",
    "decode_request",
    "encode_outputs",
    "read_inputs",
]

Array = NDArray[Any]
Column = Array | list[str]

_DTYPES: Final = {
    "BOOL": "|b1",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP32": "<f4",
    "FP64": "<f8",
}
_LENGTH: Final = struct.Struct("<I")


class InputTensor(msgspec.Struct):
    """One input as the client wrote it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class RequestedOutput(msgspec.Struct):
    """One output the client asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The JSON part of a request."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] = []


class OutputTensor(msgspec.Struct):
    """One output of n rows: `datatype` and its values, a list of str for BYTES."""

    name: str
    datatype: str
    values: Column


_DECODER: Final = msgspec.json.Decoder(InferRequest)


def decode_request(body: bytes, json_bytes: int | None) -> tuple[InferRequest, memoryview]:
    """Split a body into its JSON part and the raw tensors after it.

    json_bytes: the header `Inference-Header-Content-Length`; None if all is JSON.

    Raises:
        Refusal: 400 with the place of the mistake.
    """
    if json_bytes is not None and not 0 < json_bytes <= len(body):
        msg = (
            f"Inference-Header-Content-Length is {json_bytes}, the body has {len(body)} bytes; it "
            "must be the length of the JSON part (raw single-tensor requests are not supported)"
        )
        raise Refusal(400, msg)
    end = len(body) if json_bytes is None else json_bytes
    try:
        request = _DECODER.decode(memoryview(body)[:end])
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deeply; tensors need at most 2 levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refusal(400, f"the request is no inference request: {error}") from error
    return request, memoryview(body)[end:]


def read_inputs(
    request: InferRequest, raw: memoryview, wanted: Mapping[str, str], limit_rows: int
) -> tuple[dict[str, Column], int]:
    """The inputs named in `wanted` (name to datatype) as columns of n rows, and n.

    Raises:
        Refusal: 400; unknown, repeated or misshapen inputs, values that are not of their type.
    """
    columns: dict[str, Column] = {}
    rows: int | None = None
    for tensor in request.inputs:
        if wanted.get(tensor.name) != tensor.datatype or tensor.name in columns:
            allowed = ", ".join(f"{name} {datatype}" for name, datatype in wanted.items())
            msg = f"input {tensor.name[:80]!r} of {tensor.datatype[:20]!r} is unknown or repeated; "
            raise Refusal(400, msg + f"allowed, once each: {allowed}")
        count = _rows(tensor, limit_rows)
        if rows is not None and count != rows:
            msg = f"input {tensor.name!r} has {count} rows, another has {rows}; all need the same"
            raise Refusal(400, msg)
        rows = count
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            columns[tensor.name] = _from_json(tensor, count)
            continue
        if type(size) is not int or not 0 <= size <= len(raw):
            msg = f"input {tensor.name!r}: binary_data_size {size!r}, {len(raw)} bytes are left"
            raise Refusal(400, msg)
        columns[tensor.name] = _from_raw(tensor, raw[:size], count)
        raw = raw[size:]
    if len(raw):
        raise Refusal(400, f"{len(raw)} bytes follow that belong to no input")
    return columns, rows or 0


def _rows(tensor: InputTensor, limit_rows: int) -> int:
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] < 0:
        raise Refusal(400, f"input {tensor.name!r} has shape {shape!r:.80}; allowed: [n] or [n, 1]")
    if shape[0] > limit_rows:
        msg = f"input {tensor.name!r} has {shape[0]} rows; the limit is {limit_rows} a request"
        raise Refusal(413, msg)
    return shape[0]


def _from_json(tensor: InputTensor, count: int) -> Column:
    data = tensor.data
    if isinstance(data, list) and data and isinstance(data[0], list):
        data = [x for row in data for x in (row if isinstance(row, list) else [row])]
    if not isinstance(data, list) or len(data) != count:
        seen = f"{len(data)} values" if isinstance(data, list) else "no list"
        msg = f"input {tensor.name!r}: data has {seen}, its shape says {count}"
        raise Refusal(400, msg)
    kind = {"BYTES": str, "BOOL": bool}.get(tensor.datatype, int)
    odd = next((x for x in data if type(x) is not kind), None)
    if odd is not None or None in data:
        msg = f"input {tensor.name!r} holds {odd!r:.80}; {tensor.datatype} needs {kind.__name__}"
        raise Refusal(400, msg)
    if tensor.datatype == "BYTES":
        return data
    try:
        return np.array(data, _DTYPES[tensor.datatype])
    except OverflowError as error:
        raise Refusal(400, f"input {tensor.name!r}: a value does not fit: {error}") from error


def _from_raw(tensor: InputTensor, raw: memoryview, count: int) -> Column:
    if tensor.datatype != "BYTES":
        dtype = np.dtype(_DTYPES[tensor.datatype])
        if len(raw) != count * dtype.itemsize:
            msg = f"input {tensor.name!r}: {len(raw)} bytes are not {count} x {dtype.itemsize}"
            raise Refusal(400, msg)
        return np.frombuffer(raw, dtype)
    texts, at = [], 0
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(raw, at)
            texts.append(str(raw[at + 4 : at + 4 + length], "utf-8"))
            at += 4 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise Refusal(400, f"input {tensor.name!r}: damaged BYTES element: {error}") from error
    if at != len(raw):
        msg = f"input {tensor.name!r}: {len(raw)} bytes, its {count} elements take {at}"
        raise Refusal(400, msg)
    return texts


def encode_outputs(
    outputs: list[OutputTensor], binary: Mapping[str, bool]
) -> tuple[list[dict[str, Any]], bytes]:
    """The JSON entries of the outputs and the raw bytes of those that are to be binary."""
    entries: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for output in outputs:
        values = output.values
        shape = [len(values)] if isinstance(values, list) else list(values.shape)
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": shape}
        if binary.get(output.name):
            raw.append(_to_raw(output))
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = values if isinstance(values, list) else values.ravel()
        entries.append(entry)
    return entries, b"".join(raw)


def _to_raw(output: OutputTensor) -> bytes:
    if isinstance(output.values, list):
        texts = [text.encode() for text in output.values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return np.ascontiguousarray(output.values, _DTYPES[output.datatype]).tobytes()
