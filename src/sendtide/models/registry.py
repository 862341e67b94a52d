"""A model's state on the compacted topic `ml.models`, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from numpy.typing import NDArray

from sendtide.events.columns import pack, unpack
from sendtide.events.errors import CorruptData
from sendtide.events.messages import ModelHeader

__all__ = ["ALL_CLIENTS", "ModelState"]

ALL_CLIENTS = "all"
"""Stands in place of a client for the counts over every client of one partition."""


@dataclass(slots=True, kw_only=True)
class ModelState:
    """One version of one client's model.

    model_version rises with every publication; learned: labels learned so far; newest_event_ms:
    event time of the newest of them. origin: the partition of `ml.examples` it was learned from.
    """

    client_id: str
    model: str
    kind: str
    model_version: int
    learned: int
    newest_event_ms: int
    origin: int = 0
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def key(self) -> bytes:
        """Compaction key: the newest state of each is kept."""
        owner = f"{ALL_CLIENTS}.{self.origin}" if self.client_id == ALL_CLIENTS else self.client_id
        return f"{owner}:{self.model}".encode()

    def to_bytes(self) -> bytes:
        """The record's value."""
        header = ModelHeader(
            version="1.0",
            client_id=self.client_id,
            model=self.model,
            kind=self.kind,
            model_version=self.model_version,
            learned=self.learned,
            newest_event_ms=self.newest_event_ms,
            columns=list(self.columns),
        )
        return pack({**msgspec.to_builtins(header), "origin": self.origin}, self.columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> ModelState:
        """Read a record's value.

        Raises:
            CorruptData: altered, not a model state, or an unknown major version.
        """
        meta, columns = unpack(data)
        try:
            header = msgspec.convert(meta, ModelHeader)
        except msgspec.ValidationError as error:
            msg = f"this is no model state: {error}"
            raise CorruptData(msg) from error
        if not header.version.startswith("1."):
            msg = f"model state has version {header.version!r}; this build reads 1.x"
            raise CorruptData(msg)
        return cls(
            client_id=header.client_id,
            model=header.model,
            kind=header.kind,
            model_version=header.model_version,
            learned=header.learned,
            newest_event_ms=header.newest_event_ms,
            origin=int(meta.get("origin", 0)),
            columns=columns,
        )
