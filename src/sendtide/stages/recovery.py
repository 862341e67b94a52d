"""Which snapshot a partition starts from.

    newest ── unreadable? ──► the one before it ── ahead of the group? ──► the one before that

With outputs and offsets in one transaction a snapshot is never ahead of the group, as it is written
once both are stored. If one is, the broker has lost them, or somebody has set the group back: from
an older one everything after the group's offset is made again, and sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sendtide.events.errors import CorruptData
from sendtide.stages.held import Columns, State
from sendtide.state import Manifest, SnapshotStore

__all__ = ["recovered"]

logger = logging.getLogger(__name__)

Restore = Callable[[int, Mapping[str, Any], Columns], State]
Found = tuple[Manifest, State, dict[str, Any]]


def recovered(
    group: str,
    number: int,
    snapshots: SnapshotStore,
    restore: Restore[State],
    committed: Mapping[str, int] | None,
) -> Found[State] | None:
    """Manifest, state and meta of the newest snapshot that is of use, if there is one.

    committed: the group's offset by topic, which no snapshot may be ahead of; None if it may.
    """
    found = _newest(group, number, snapshots, restore, committed or {})
    if found is None and committed:
        found = _newest(group, number, snapshots, restore, {})
        if found is not None:
            logger.error(
                "%s/%d: outputs of the records from %s to %s may be missing for good: there is no "
                "snapshot from before them",
                group,
                number,
                committed,
                found[0].offsets,
            )
    return found


def _newest(
    group: str,
    number: int,
    snapshots: SnapshotStore,
    restore: Restore[State],
    committed: Mapping[str, int],
) -> Found[State] | None:
    for manifest, meta, columns in snapshots.valid(number):
        if any(committed.get(topic, at) < at for topic, at in manifest.offsets.items()):
            logger.warning(
                "%s/%d: the snapshot of %s is not used, the one before it is: the group stands at "
                "%s, so that outputs from between the two have been lost",
                group,
                number,
                manifest.offsets,
                committed,
            )
            continue
        try:
            return manifest, restore(number, meta, columns), meta
        except CorruptData as error:
            logger.warning(
                "%s/%d: snapshot of epoch %d is not used, the one before it is, or all is "
                "replayed: %s",
                group,
                number,
                manifest.epoch,
                error,
            )
    return None
