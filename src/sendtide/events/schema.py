"""JSON Schemas of the nine topics, generated from the types; `python -m sendtide.events.schema`.

Three topics do not hold plain JSON: dead letters are original bytes, their schema describes the
headers; `ml.examples` and `ml.models` are packed columns (`events.columns`), their schema
describes the header's `meta` and lists the columns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from sendtide.events import topics
from sendtide.events.creative import CREATIVE
from sendtide.events.examples import EXAMPLE_COLUMNS
from sendtide.events.messages import (
    CONTENT_FIELDS,
    MAJOR_VERSION,
    AlertMessage,
    DeadLetterHeaders,
    EngagementEvent,
    ExampleHeader,
    MetricMessage,
    ModelHeader,
    PredictionMessage,
    SendEvent,
    SendRequest,
)
from sendtide.events.rhythm import EVIDENCE

__all__ = ["file_name", "main", "schema_of", "schema_texts"]

_PYTHON_END: Final = r"(?!\n)$"
"""How our patterns end; JSON Schema's own dialect (ECMA 262) means that by a plain "$", and the
validators built on RE2 know no look-ahead."""

_TYPES: Final[dict[topics.Topic, type[msgspec.Struct]]] = {
    topics.SENDS: SendEvent,
    topics.ENGAGEMENTS: EngagementEvent,
    topics.REQUESTS: SendRequest,
    topics.PREDICTIONS: PredictionMessage,
    topics.EXAMPLES: ExampleHeader,
    topics.MODELS: ModelHeader,
    topics.METRICS: MetricMessage,
    topics.ALERTS: AlertMessage,
    topics.DEAD_LETTERS: DeadLetterHeaders,
}

_VALUES: Final[dict[topics.Topic, str]] = {
    topics.EXAMPLES: "The value is packed columns; this is their header's meta.",
    topics.MODELS: "The value is packed columns; this is their header's meta.",
    topics.DEAD_LETTERS: "The value is the original bytes; these are the headers, as text.",
}


def _columns(named: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Column name to dtype and shape of one row."""
    columns: dict[str, dict[str, Any]] = {
        name: {"dtype": dtype, "row_shape": []} for name, dtype in named.items()
    }
    columns["content"] = {
        "dtype": "<f4",
        "row_shape": [len(CONTENT_FIELDS)],
        "fields": list(CONTENT_FIELDS),
    }
    columns["evidence"] = {"dtype": "<u2", "row_shape": [EVIDENCE]}
    fields = [[name, *about] for name, *about in CREATIVE.descr]
    columns["creatives"] = {
        "dtype": "|u1",
        "row_shape": [CREATIVE.itemsize],
        "fields": fields,
    }
    return columns


def _portable(schema: Any) -> Any:
    """`schema` with every pattern's end spelled as JSON Schema spells it."""
    if isinstance(schema, dict):
        return {key: _portable(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_portable(value) for value in schema]
    return schema.replace(_PYTHON_END, "$") if isinstance(schema, str) else schema


def schema_of(topic: topics.Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's messages."""
    schema = _portable(msgspec.json.schema(_TYPES[topic]))
    head: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sendtide:{topic.name}:v{MAJOR_VERSION}",
        "title": topic.name,
        "$comment": f"Key: {topic.key}. {_VALUES.get(topic, 'The value is this JSON object.')}",
    }
    if topic is topics.EXAMPLES:
        head["x-columns"] = _columns(EXAMPLE_COLUMNS)
    return {**head, **schema}


def file_name(topic: topics.Topic) -> str:
    """Name of a topic's schema file."""
    return f"{topic.name}.v{MAJOR_VERSION}.json"


def schema_texts() -> dict[str, str]:
    """File name to text of all nine schemas."""
    return {
        file_name(topic): json.dumps(schema_of(topic), indent=2, ensure_ascii=False) + "\n"
        for topic in topics.TOPICS
    }


def main(folder: Path) -> None:
    """Write all schemas into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schema_texts().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
