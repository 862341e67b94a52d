"""Snapshots of a partition, tied to offsets: packed columns and a manifest that vouches for them.

Layout below the store's URL (any fsspec file system)::

    <group>/<partition>/<sequence>.columns   events.columns.pack: state, checksummed
    <group>/<partition>/<sequence>.manifest  JSON: offsets, epoch, size and digest of the columns

Columns are written first, the manifest after, each under a temporary name that is then renamed, so
a crash leaves either a whole snapshot or none. The newest valid one counts; a broken or foreign one
is refused, said so in `refused`, and the one before it is used. Nothing is unpickled, ever.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Mapping
from typing import Any, Final

import fsspec
import msgspec
from numpy.typing import NDArray

from sendtide.events.columns import pack, unpack
from sendtide.events.errors import ConfigurationError, CorruptData, Unavailable

__all__ = ["Manifest", "SnapshotStore"]

FORMAT: Final = 1
_LARGEST_BYTES: Final = 64 << 30


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


Found = tuple[Manifest, dict[str, Any], dict[str, NDArray[Any]]]


class SnapshotStore:
    """Snapshots of one group's partitions. Blocks; call it in a thread.

    Args:
        url: folder or fsspec URL. group: name of the stage. keep: snapshots kept per partition.
    """

    def __init__(self, url: str, group: str, keep: int = 3) -> None:
        self._group = group
        self._keep = keep
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
        """
        data = pack(meta, columns)
        sequences = self._sequences(partition)
        manifest = Manifest(
            format=FORMAT,
            group=self._group,
            partition=partition,
            sequence=max(sequences, default=0) + 1,
            epoch=epoch,
            offsets=dict(offsets),
            size=len(data),
            digest=hashlib.blake2b(data, digest_size=16).hexdigest(),
        )
        try:
            self._fs.makedirs(self._folder(partition), exist_ok=True)
            self._put(self._path(partition, manifest.sequence, "columns"), data)
            self._put(
                self._path(partition, manifest.sequence, "manifest"), msgspec.json.encode(manifest)
            )
        except OSError as error:
            msg = f"snapshot of {self._group}/{partition} cannot be written: {error}"
            raise Unavailable(msg) from error
        for sequence in sequences[: -(self._keep - 1)] if self._keep > 1 else sequences:
            self._drop(partition, sequence)
        return manifest

    def newest(self, partition: int) -> Found | None:
        """The newest valid snapshot of a partition; None if there is none."""
        for sequence in reversed(self._sequences(partition)):
            try:
                return self._read(partition, sequence)
            except (CorruptData, OSError) as error:
                self.refused.append(f"{self._path(partition, sequence, 'manifest')}: {error}")
        return None

    def _read(self, partition: int, sequence: int) -> Found:
        raw = self._fs.cat_file(self._path(partition, sequence, "manifest"))
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.MsgspecError as error:
            msg = f"not a manifest: {error}"
            raise CorruptData(msg) from error
        expected = (FORMAT, self._group, partition, sequence)
        found = (manifest.format, manifest.group, manifest.partition, manifest.sequence)
        if found != expected:
            msg = f"manifest is of (format, group, partition, sequence) {found}, not {expected}"
            raise CorruptData(msg)
        if not 0 < manifest.size <= _LARGEST_BYTES:
            msg = f"manifest states a size of {manifest.size} bytes"
            raise CorruptData(msg)
        data = self._fs.cat_file(self._path(partition, sequence, "columns"))
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if len(data) != manifest.size or digest != manifest.digest:
            msg = f"columns have {len(data)} bytes, the manifest vouches for other {manifest.size}"
            raise CorruptData(msg)
        return (manifest, *unpack(data))

    def _put(self, path: str, data: bytes) -> None:
        temporary = f"{path}.tmp"
        with self._fs.open(temporary, "wb") as file:
            file.write(data)
            if self._local:
                file.flush()
                os.fsync(file.fileno())
        self._fs.mv(temporary, path)

    def _drop(self, partition: int, sequence: int) -> None:
        for kind in ("manifest", "columns"):
            path = self._path(partition, sequence, kind)
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def _sequences(self, partition: int) -> list[int]:
        """Sequence numbers of all manifests there, rising."""
        folder = self._folder(partition)
        self._fs.invalidate_cache()
        if not self._fs.exists(folder):
            return []
        names = [posixpath.basename(path) for path in self._fs.ls(folder, detail=False)]
        stems = [name.removesuffix(".manifest") for name in names if name.endswith(".manifest")]
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _folder(self, partition: int) -> str:
        return f"{self._root}/{self._group}/{partition}"

    def _path(self, partition: int, sequence: int, kind: str) -> str:
        return f"{self._folder(partition)}/{sequence:010d}.{kind}"
