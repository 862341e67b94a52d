"""Tensors from and to bytes: what is right comes through, what is wrong is refused by name."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.endpoint.tensors import (
    OutputTensor,
    decode_request,
    encode_outputs,
    read_inputs,
)
from sendtide.endpoint.web import Refusal

WANTED = {"name": "BYTES", "at": "INT64"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["name", "at", "x"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-2, 4), max_size=3) | JSON_VALUES,
        "datatype": st.sampled_from(["BYTES", "INT64", "FP8"]) | JSON_VALUES,
    },
    optional={
        "data": JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": JSON_VALUES}) | JSON_VALUES,
    },
)


@given(st.lists(TENSORS, max_size=3), st.binary(max_size=40))
def test_whatever_comes_is_read_or_refused(tensors, raw):
    """No request, however odd, raises anything but a refusal."""
    head = json.dumps({"inputs": tensors}).encode()

    try:
        request, tail = decode_request(head + raw, len(head))
        columns, rows = read_inputs(request, tail, WANTED, 100)
    except Refusal:
        return  # the answer then is its 4xx; test_app.py holds the statuses
    assert all(len(column) == rows for column in columns.values())


@given(st.binary(max_size=200), st.none() | st.integers(-5, 250))
def test_any_bytes_are_read_or_refused(body, json_bytes):
    """Bytes that are no JSON, with any length header, are refused."""
    with pytest.raises(Refusal):
        read_inputs(*decode_request(body + b"]", json_bytes), WANTED, 100)


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), max_size=20))
def test_binary_and_json_mean_the_same(rows):
    """The same rows as raw bytes and as JSON are the same columns."""
    texts, numbers = [text for text, _ in rows], [number for _, number in rows]
    packed = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    packed_numbers = np.array(numbers, "<i8").tobytes()
    shape = [len(rows)]

    def tensor(name, kind, data, size):
        entry = {"name": name, "shape": shape, "datatype": kind}
        more = {"data": data} if size is None else {"parameters": {"binary_data_size": size}}
        return {**entry, **more}

    plain = json.dumps(
        {"inputs": [tensor("name", "BYTES", texts, None), tensor("at", "INT64", numbers, None)]}
    ).encode()
    sizes = len(packed), len(packed_numbers)
    head = json.dumps(
        {
            "inputs": [
                tensor("name", "BYTES", None, sizes[0]),
                tensor("at", "INT64", None, sizes[1]),
            ]
        }
    ).encode()

    first, _ = read_inputs(*decode_request(plain, None), WANTED, 100)
    second, _ = read_inputs(*decode_request(head + packed + packed_numbers, len(head)), WANTED, 100)

    assert first["name"] == second["name"] == texts
    assert first["at"].tolist() == second["at"].tolist() == numbers


def test_outputs_in_the_order_of_the_json():
    """Raw outputs follow one another in the order of their entries; others stay JSON."""
    outputs = [
        OutputTensor("tier", "BYTES", ["all", "é"]),
        OutputTensor("p", "FP64", np.array([0.5, np.nan])),
        OutputTensor("stale", "BOOL", np.array([True, False])),
    ]

    entries, raw = encode_outputs(outputs, {"tier": True, "p": False, "stale": True})

    assert raw == b"\x03\0\0\0all\x02\0\0\0\xc3\xa9" + b"\x01\x00"
    assert [entry.get("parameters") for entry in entries] == [
        {"binary_data_size": 13}, None, {"binary_data_size": 2},
    ]  # fmt: skip
    assert entries[1]["data"].tolist()[0] == 0.5


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b"\x05\0\0\0abc", 1),
        (b"\x01\0\0\0\xff", 1),
        (b"\x01\0\0\0a\x01", 1),
        (b"\x01\0\0\0a", 2),
        (b"\xff\xff\xff\xffa", 1),
    ],
)
def test_damaged_bytes_elements(raw, count):
    """A BYTES tensor whose lengths do not add up, or that is no UTF-8, is refused."""
    size = {"binary_data_size": len(raw)}
    tensor = {"name": "name", "shape": [count], "datatype": "BYTES", "parameters": size}
    head = json.dumps({"inputs": [tensor]}).encode()

    with pytest.raises(Refusal, match="'name'"):
        read_inputs(*decode_request(head + raw, len(head)), WANTED, 100)
