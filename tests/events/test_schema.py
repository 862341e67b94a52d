"""The schema files are what the types say, and what we send is valid by them."""

import json
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

from sendtide.events import topics
from sendtide.events.columns import pack, unpack
from sendtide.events.errors import CorruptData
from sendtide.events.examples import EXAMPLE_COLUMNS, ExampleBlock
from sendtide.events.messages import (
    AlertMessage,
    DeadLetterHeaders,
    EngagementEvent,
    MetricMessage,
    ModelHeader,
    PredictionMessage,
    SendEvent,
    SendRequest,
    SlotScore,
)
from sendtide.events.rhythm import EVIDENCE
from sendtide.events.schema import file_name, main, schema_of, schema_texts

FOLDER = Path(__file__).parents[2] / "schemas"
NOW_MS = 1_700_000_000_000
OWNER = {"source": "esp", "client_id": "c42", "recipient_id": "0f" * 16}
EVENT = OWNER | {"id": "e-1", "event_time_ms": NOW_MS}
SERIES = {"id": "s-1", "client_id": "c42", "metric": "psi", "as_of_ms": NOW_MS}

MESSAGES = [
    (topics.SENDS, SendEvent(**EVENT)),
    (topics.SENDS, SendEvent(**EVENT, timezone="Etc/GMT+1", segment="a", words=3, links=0)),
    (topics.ENGAGEMENTS, EngagementEvent(**EVENT, message_id="m", kind="click", machine=True)),
    (topics.ENGAGEMENTS, EngagementEvent(**EVENT, message_id="☂", kind="open", revenue=1.5)),
    (topics.REQUESTS, SendRequest(**EVENT, window_start_ms=NOW_MS, window_end_ms=NOW_MS + 1)),
    (
        topics.PREDICTIONS,
        PredictionMessage(
            **OWNER,
            id="r-1",
            requested_at_ms=NOW_MS,
            send_at_ms=NOW_MS,
            open_probability=0.25,
            slots=[SlotScore(send_at_ms=NOW_MS, hour_of_week=167, open_probability=1)],
            tier="segment",
            effective_sends=2.5,
            slot_probability=0.25,
            interval=(0.1, 0.5),
            arm="control",
            propensity=1.0,
            reason="control group",
            model_version=7,
            newest_event_ms=NOW_MS,
        ),
    ),
    (topics.METRICS, MetricMessage(**SERIES, value=0.1, window_start_ms=0, window_end_ms=1)),
    (topics.METRICS, MetricMessage(**SERIES, value=None, window_start_ms=0, window_end_ms=1)),
    (
        topics.ALERTS,
        AlertMessage(
            **SERIES,
            state="firing",
            severity="critical",
            value=0.4,
            threshold=0.1,
            since_ms=NOW_MS,
            description="drift",
        ),
    ),
    (
        topics.DEAD_LETTERS,
        DeadLetterHeaders(
            reason="bad_json", detail="", topic="t", partition=0, offset=1, timestamp_ms=2
        ),
    ),
    (
        topics.MODELS,
        ModelHeader(
            client_id="c42",
            model="send-time",
            kind="send_time",
            model_version=1,
            learned=2,
            newest_event_ms=NOW_MS,
            columns=["opens", "sends"],
        ),
    ),
]


def test_the_files_are_the_generated_text():
    """Run `python -m sendtide.events.schema` after changing a type."""
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
    assert on_disk == schema_texts()


def test_main_writes_all_nine(tmp_path):
    """One file a topic, into a folder that need not exist."""
    main(tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == sorted(file_name(topic) for topic in topics.TOPICS)
    assert len(names) == 9


@pytest.mark.parametrize("topic", topics.TOPICS, ids=lambda topic: topic.name)
def test_every_schema_is_a_valid_json_schema(topic):
    """Draft 2020-12, with no look-ahead that other languages' validators lack."""
    jsonschema.Draft202012Validator.check_schema(schema_of(topic))
    assert "(?" not in json.dumps(schema_of(topic))


@pytest.mark.parametrize(
    ("topic", "message"), MESSAGES, ids=lambda value: getattr(value, "name", "")
)
def test_messages_we_encode_are_valid_by_their_schema(topic, message):
    """What goes onto a topic is what the schema promises."""
    content = msgspec.json.decode(msgspec.json.encode(message))
    jsonschema.Draft202012Validator(schema_of(topic)).validate(content)


@pytest.mark.parametrize(
    "change",
    [
        {"recipient_id": "jane@example.org"},
        {"event_time_ms": 5},
        {"client_id": ""},
        {"id": "a\nb"},
        {"words": 65_536},
        {"version": "x"},
    ],
)
def test_the_schema_refuses_what_the_type_refuses(change):
    """Producers can check before they send."""
    content = msgspec.to_builtins(SendEvent(**EVENT)) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(content, SendEvent)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema_of(topics.SENDS)).validate(content)


def test_the_example_schema_describes_a_real_block():
    """Meta by the schema, columns by name and dtype."""
    columns = {name: np.zeros(2, dtype) for name, dtype in EXAMPLE_COLUMNS.items()}
    columns["content"] = np.zeros((2, 5), "<f4")
    columns["evidence"] = np.zeros((2, EVIDENCE), "<u2")
    block = ExampleBlock(kind="label", clients=["c"], segments=[""], columns=columns)
    meta, packed = unpack(block.to_bytes())
    schema = schema_of(topics.EXAMPLES)
    jsonschema.Draft202012Validator(schema).validate(meta)
    described = schema["x-columns"]
    assert {name: column.dtype.str for name, column in packed.items()} == {
        name: about["dtype"] for name, about in described.items()
    }
    assert list(packed["content"].shape[1:]) == described["content"]["row_shape"]


def test_blocks_of_older_minor_versions_are_read():
    """Columns that came later are zeros, and nothing was made of anything."""
    columns = {name: np.ones(2, dtype) for name, dtype in EXAMPLE_COLUMNS.items()}
    columns |= {name: np.zeros(2, EXAMPLE_COLUMNS[name]) for name in ("client", "segment")}
    columns["content"] = np.zeros((2, 5), "<f4")
    columns["evidence"] = np.zeros((2, EVIDENCE), "|u1")
    meta = {"version": "1.1", "kind": "label", "origin": 3, "clients": ["c"], "segments": [""]}
    old = {name: column for name, column in columns.items() if name not in ("origin", "creative")}
    block = ExampleBlock.from_bytes(pack(meta, old))
    assert block.columns["origin"].tolist() == [3, 3]
    assert block.columns["creative"].tolist() == [0, 0]
    assert len(block.creatives) == 0
    assert block.columns["bounced"].tolist() == [1, 1]
    damaged = pack(meta | {"version": "1.2"}, {**columns, "creatives": np.zeros(7, np.uint8)})
    with pytest.raises(CorruptData, match="7 bytes of creatives"):
        ExampleBlock.from_bytes(damaged)
    with pytest.raises(CorruptData, match="names creative 1 of 1"):
        ExampleBlock.from_bytes(pack(meta | {"version": "1.2"}, columns))
    wide = {**columns, "origin": np.zeros((2, 2), "<u2")}
    with pytest.raises(CorruptData, match=r"bad columns \['origin'"):
        ExampleBlock.from_bytes(pack(meta | {"version": "2.0"}, wide))
    for origin in (-1, 1_024, 2**60):
        with pytest.raises(CorruptData, match="names origin"):
            ExampleBlock.from_bytes(pack(meta | {"origin": origin}, old))
