"""O3 while a row runs: what may never fall does not fall.

The group's offsets and each partition's epoch in the fence rise only, and a snapshot is never of
less than the one before it. A Redis that was emptied or rolled back on purpose starts anew.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from redis.exceptions import RedisError

from sendtide.chaos.stand import Stand
from sendtide.events.topics import INPUTS
from sendtide.pipeline import Pipeline
from sendtide.state import Manifest

__all__ = ["OrderWatch"]

_FENCE: Final = "sendtide:1:fence:*"
_EVERY: Final = 10
_ANSWER_S: Final = 2.0


class OrderWatch:
    """Looks now and then; `findings` says what fell."""

    def __init__(self, stand: Stand, pipeline: Pipeline, group: str, snapshots: Path) -> None:
        self.findings: list[str] = []
        self._stand, self._snapshots = stand, snapshots
        self._looks = 0
        self._epochs: dict[str, int] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._written: dict[Path, tuple[tuple[int, int], dict[str, int]]] = {}
        self._spoilt: set[Path] = set()
        settings = {"bootstrap.servers": stand.kafka, "group.id": group}
        self._reader = Consumer({**settings, "enable.auto.commit": False, "log_level": 0})
        self._places = [
            (pipeline.topics.full_name(topic), number)
            for topic in INPUTS
            for number in range(pipeline.topics.partitions)
        ]

    def forget_redis(self) -> None:
        """Redis is about to lose what it holds, on purpose."""
        self._epochs.clear()

    def forget_snapshots(self) -> None:
        """Those that are there were spoilt on purpose; what follows may be of less than they."""
        self._spoilt.update(self._manifests())
        self._written.clear()

    def all_committed(self) -> bool:
        """True once the group's offsets are the ends of all inputs; False if nobody answers."""
        return not self.uncommitted()

    def uncommitted(self) -> list[str]:
        """Inputs whose group's offset is not their end; or why nobody can tell."""
        behind = []
        try:
            for place in self._reader.committed(self._asked(), timeout=_ANSWER_S):
                _, end = self._reader.get_watermark_offsets(place, _ANSWER_S)
                if max(0, place.offset) != end:
                    behind.append(f"{place.topic}/{place.partition}: {place.offset} of {end}")
        except KafkaException as error:
            behind.append(error.args[0].str())
            with suppress(KafkaException):  # or what it said while it came back is believed
                self._reader.list_topics(timeout=_ANSWER_S)
        return behind

    def look(self) -> None:
        """Compare with what was seen before; a server that is away is not looked at."""
        self._looks += 1
        if self._looks % _EVERY:
            return
        try:
            self._look_at_epochs()
            self._look_at_commits()
        except (RedisError, KafkaException):
            return
        self._look_at_snapshots()

    def _look_at_epochs(self) -> None:
        for key in self._stand.store.keys(_FENCE):
            value = self._stand.store.get(key)
            name, epoch = key.decode(), int(value or 0)
            if epoch < self._epochs.get(name, 0):
                self.findings.append(f"{name} fell from {self._epochs[name]} to {epoch}")
            self._epochs[name] = epoch

    def _look_at_commits(self) -> None:
        for found in self._reader.committed(self._asked(), timeout=_ANSWER_S):
            place = (found.topic, found.partition)
            if found.offset < self._committed.get(place, -1001):
                self.findings.append(f"{place}: offset fell to {found.offset}")
            self._committed[place] = found.offset

    def _asked(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._places]

    def _manifests(self) -> list[Path]:
        return sorted(self._snapshots.glob("*/*/*.manifest"))

    def _look_at_snapshots(self) -> None:
        for file in self._manifests():
            if file in self._spoilt:
                continue
            try:
                manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
            except (OSError, msgspec.MsgspecError):
                continue  # dropped meanwhile, or spoilt on purpose
            newest, offsets = self._written.get(file.parent, ((0, 0), {}))
            place = manifest.epoch, manifest.sequence
            if place <= newest:
                continue
            if any(manifest.offsets.get(topic, 0) < at for topic, at in offsets.items()):
                name = file.relative_to(self._snapshots)
                self.findings.append(f"{name}: {manifest.offsets} is less than {offsets}")
            self._written[file.parent] = (place, manifest.offsets)
