"""Snapshots of a partition, tied to offsets: packed columns and a manifest that vouches for them.

Layout below the store's URL (any fsspec file system)::

    <group>/<partition>/<epoch>-<sequence>.columns   events.columns.pack: state, checksummed
    <group>/<partition>/<epoch>-<sequence>.manifest  JSON: offsets, size and digest of the columns

Columns are written first, the manifest after, each under a temporary name that is then renamed, so
a crash leaves either a whole snapshot or none. The newest valid one counts, by the epoch of its
writer and then by its sequence: what a worker writes that has been paused past its session comes
before all that its successor has written, and is refused where the store already knows better.
A broken or foreign one is refused, said so in `refused`, and the one before it is used. Nothing is
unpickled, ever.

With a key, manifests are signed (HMAC-SHA256 over everything else in them, the columns' digest
among it), and one that is not signed with it is refused: who can write into the store cannot
make up a state.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import fsspec
import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.events.columns import packed_parts, unpack
from sendtide.events.errors import ConfigurationError, CorruptData, Fenced, Unavailable

__all__ = ["Manifest", "SnapshotStore"]

logger = logging.getLogger(__name__)

FORMAT: Final = 3
_LARGEST_BYTES: Final = 16 << 30
"""Of columns: thirty times what ten million recipients take."""
_LARGEST_MANIFEST_BYTES: Final = 64 << 10
_NAME: Final = re.compile(r"(\d{10})-(\d{10})\.manifest")

Place = tuple[int, int]
"""(epoch, sequence) of a snapshot: the higher is the newer."""


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What a snapshot is. offsets: next offset to apply, by topic. epoch: of its writer."""

    format: int
    group: str
    partition: int
    sequence: int
    epoch: int
    offsets: dict[str, int]
    size: int
    digest: str
    signature: str = ""


Found = tuple[Manifest, dict[str, Any], dict[str, NDArray[Any]]]


class SnapshotStore:
    """Snapshots of one group's partitions. Blocks; call it in a thread.

    Args:
        url: folder or fsspec URL. group: prefix of the topics and name of the stage.
        keep: snapshots kept per partition.
        key: secret to sign with; b"": none are signed, and signatures are not looked at.
        largest_bytes: columns above that are neither written nor read.
    """

    def __init__(
        self,
        url: str,
        group: str,
        keep: int = 3,
        *,
        key: bytes = b"",
        largest_bytes: int = _LARGEST_BYTES,
    ) -> None:
        self._group = group
        self._keep = keep
        self._key = key
        self._largest_bytes = largest_bytes
        self.refused: list[str] = []
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            msg = f"snapshot store {url!r} cannot be used: {error}"
            raise ConfigurationError(msg) from error
        self._local = "file" in self._fs.protocol

    def write(
        self,
        partition: int,
        epoch: int,
        offsets: Mapping[str, int],
        meta: Mapping[str, Any],
        columns: Mapping[str, NDArray[Any]],
    ) -> Manifest:
        """Write a snapshot and drop those beyond `keep`.

        Raises:
            Unavailable: it cannot be written; the older ones are untouched.
            Fenced: a later owner of the partition has written one.
        """
        parts = packed_parts(meta, columns, verified=True)
        size = sum(map(len, parts))
        if size > self._largest_bytes:
            msg = f"snapshot of {self._group}/{partition} has {size} bytes; allowed are "
            msg += f"{self._largest_bytes}: use more partitions"
            raise Unavailable(msg)
        places = self._places(partition)
        newest_epoch, newest_sequence = places[-1] if places else (0, 0)
        if newest_epoch > epoch:
            msg = f"FENCED snapshot of {self._group}/{partition} in epoch {epoch} is not written: "
            msg += f"epoch {newest_epoch} has written one; this worker must stop writing"
            raise Fenced(msg)
        manifest = Manifest(
            format=FORMAT,
            group=self._group,
            partition=partition,
            sequence=newest_sequence + 1,
            epoch=epoch,
            offsets=dict(offsets),
            size=size,
            digest=_digest(parts),
        )
        manifest = msgspec.structs.replace(manifest, signature=self._signature(manifest))
        place = epoch, manifest.sequence
        try:
            self._fs.makedirs(self._folder(partition), exist_ok=True)
            self._put(self._path(partition, place, "columns"), parts)
            self._put(self._path(partition, place, "manifest"), [msgspec.json.encode(manifest)])
        except OSError as error:
            msg = f"snapshot of {self._group}/{partition} cannot be written: {error}"
            raise Unavailable(msg) from error
        for old in places[: -(self._keep - 1)] if self._keep > 1 else places:
            self._drop(partition, old)
        return manifest

    def newest(self, partition: int) -> Found | None:
        """The newest valid snapshot of a partition; None if there is none."""
        return next(self.valid(partition), None)

    def valid(self, partition: int) -> Iterator[Found]:
        """All valid snapshots of a partition, the newest first."""
        for place in reversed(self._places(partition)):
            try:
                found = self._read(partition, place)
            except (CorruptData, OSError) as error:
                self.refused.append(f"{self._path(partition, place, 'manifest')}: {error}")
                logger.warning("snapshot refused, the one before it is used: %s", self.refused[-1])
            else:
                yield found

    def _read(self, partition: int, place: Place) -> Found:
        path = self._path(partition, place, "manifest")
        raw = self._get(path, self._fs.size(path), _LARGEST_MANIFEST_BYTES)
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.MsgspecError as error:
            msg = f"not a manifest: {error}"
            raise CorruptData(msg) from error
        expected = (FORMAT, self._group, partition, *place)
        found = (
            manifest.format, manifest.group, manifest.partition, manifest.epoch, manifest.sequence,
        )  # fmt: skip
        if found != expected:
            msg = f"manifest is of (format, group, partition, epoch, sequence) {found}, not "
            msg += f"{expected}"
            raise CorruptData(msg)
        if self._key and not hmac.compare_digest(manifest.signature, self._signature(manifest)):
            what = "signed with another key" if manifest.signature else "not signed"
            msg = f"manifest is {what} or altered; a key is set, so it is not believed"
            raise CorruptData(msg)
        path = self._path(partition, place, "columns")
        data = self._get(path, manifest.size, self._largest_bytes)
        if _digest([data]) != manifest.digest:
            msg = f"columns of {len(data)} bytes are not those that the manifest vouches for"
            raise CorruptData(msg)
        return (manifest, *unpack(data, verified=True))

    def _get(self, path: str, size: int, largest: int) -> bytes | memoryview:
        """Read a file of exactly this size; looked at first, so that none fills the memory.

        It is copied, not mapped: what the digest was computed of must not change afterwards.
        """
        there = self._fs.size(path)
        if not 0 < size <= largest or there != size:
            msg = f"{posixpath.basename(path)} has {there} bytes; {size} are expected, "
            msg += f"{largest} allowed"
            raise CorruptData(msg)
        if self._local:
            # NumPy asks for huge pages; a bytes object would be paged in 4 kB at a time.
            buffer = np.empty(size, np.uint8)
            with Path(path).open("rb") as file:
                file.readinto(buffer.data)  # cut off meanwhile: the digest will not fit
            return buffer.data
        data: bytes = self._fs.cat_file(path)
        return data

    def _signature(self, manifest: Manifest) -> str:
        if not self._key:
            return ""
        plain = msgspec.json.encode(msgspec.structs.replace(manifest, signature=""), order="sorted")
        return hmac.new(self._key, plain, hashlib.sha256).hexdigest()

    def _put(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        temporary = f"{path}.tmp"
        with self._fs.open(temporary, "wb") as file:
            for part in parts:
                file.write(part)
            if self._local:
                file.flush()
                os.fsync(file.fileno())
        self._fs.mv(temporary, path)

    def _drop(self, partition: int, place: Place) -> None:
        for kind in ("manifest", "columns"):
            path = self._path(partition, place, kind)
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def _places(self, partition: int) -> list[Place]:
        """Where manifests are, the newest last."""
        folder = self._folder(partition)
        self._fs.invalidate_cache()
        if not self._fs.exists(folder):
            return []
        names = [posixpath.basename(path) for path in self._fs.ls(folder, detail=False)]
        found = [match for name in names if (match := _NAME.fullmatch(name))]
        return sorted((int(match[1]), int(match[2])) for match in found)

    def _folder(self, partition: int) -> str:
        return f"{self._root}/{self._group}/{partition}"

    def _path(self, partition: int, place: Place, kind: str) -> str:
        return f"{self._folder(partition)}/{place[0]:010d}-{place[1]:010d}.{kind}"


def _digest(parts: Sequence[bytes | memoryview]) -> str:
    digest = hashlib.sha256()  # processors have instructions for it: twice as fast as BLAKE2
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
