"""Where the snapshots of a deployment's stages are."""

from __future__ import annotations

from sendtide.pipeline import Pipeline
from sendtide.state import SnapshotStore

__all__ = ["snapshot_store"]


def snapshot_store(
    pipeline: Pipeline, stage: str, *, url: str | None = None, key: bytes = b""
) -> SnapshotStore:
    """The store of one stage; deployments with topics of their own may share a folder.

    url: in place of the pipeline file's. key: see `SnapshotStore`.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    group = f"{pipeline.topics.prefix}{stage}"
    return SnapshotStore(url or pipeline.snapshots.url, group, pipeline.snapshots.keep, key=key)
