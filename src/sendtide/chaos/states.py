"""Faults of what is kept on disk: snapshots spoilt, missing, of another partition, not writable."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sendtide.chaos.trial import Trial

__all__ = ["corrupt", "disk_full", "folder_gone", "foreign", "older", "spoilt", "truncated"]

_FAULT_S: Final = 4.0
_DISK_MB: Final = 32


def spoilt(spoil: Callable[[Path], int]) -> Callable[[Trial], None]:
    """Kill a worker, spoil its newest snapshots, start another; `spoil` returns how many."""

    def act(trial: Trial) -> None:
        worker = trial.worker()
        trial.start_load()
        trial.wait("snapshots", lambda: len(_newest(trial.snapshots)) == _PARTITIONS)
        trial.kill(worker)
        trial.fired = trial.fired and spoil(trial.snapshots) > 0
        trial.watch.forget_snapshots()
        trial.healed()
        trial.worker()

    act.__doc__ = spoil.__doc__
    return act


_PARTITIONS: Final = 4


def _newest(folder: Path) -> list[Path]:
    """The newest manifest of each partition of stage A that has two at least."""
    found = (sorted(place.glob("*.manifest")) for place in sorted(folder.glob("*recipients/*")))
    return [manifests[-1] for manifests in found if len(manifests) > 1]


def corrupt(folder: Path) -> int:
    """One bit in every 64th byte of the newest columns is flipped."""
    manifests = _newest(folder)
    for manifest in manifests:
        file = manifest.with_suffix(".columns")
        data = bytearray(file.read_bytes())
        for at in range(0, len(data), 64):
            data[at] ^= 1
        file.write_bytes(data)
    return len(manifests)


def truncated(folder: Path) -> int:
    """The newest columns, and on odd partitions the manifest too, are cut in half."""
    manifests = _newest(folder)
    for number, manifest in enumerate(manifests):
        for file in (manifest.with_suffix(".columns"), *([manifest] if number % 2 else [])):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return len(manifests)


def foreign(folder: Path) -> int:
    """Each partition finds its neighbour's snapshot as its newest."""
    manifests = _newest(folder)
    copies = [(m.read_bytes(), m.with_suffix(".columns").read_bytes()) for m in manifests]
    for manifest, (written, columns) in zip(manifests, copies[1:] + copies[:1], strict=True):
        epoch, sequence = manifest.stem.split("-")
        newer = manifest.with_name(f"{epoch}-{int(sequence) + 1:010d}.manifest")
        newer.write_bytes(written)
        newer.with_suffix(".columns").write_bytes(columns)
    return len(manifests)


def older(folder: Path) -> int:
    """The newest snapshot is gone, as if a backup had been put back."""
    manifests = _newest(folder)
    for manifest in manifests:
        manifest.unlink()
        manifest.with_suffix(".columns").unlink()
    return len(manifests)


def folder_gone(trial: Trial) -> None:
    """No snapshot can be written for a while: a file stands where the folder was."""
    trial.worker()
    trial.start_load()
    trial.wait("a snapshot", lambda: any(trial.snapshots.glob("*/*/*.manifest")))
    trial.note_in_flight()
    kept = trial.snapshots.with_name("kept")
    trial.snapshots.rename(kept)
    trial.snapshots.write_bytes(b"")
    time.sleep(_FAULT_S)
    trial.fired = trial.snapshots.is_file()
    trial.snapshots.unlink()
    shutil.move(kept, trial.snapshots)
    trial.healed()


def disk_full(trial: Trial) -> None:
    """The disk that snapshots are kept on, a tmpfs, is full for a while."""
    trial.snapshots.mkdir()
    _mount(trial)
    worker = trial.worker()
    trial.start_load()
    trial.wait("a snapshot", lambda: any(trial.snapshots.glob("*/*/*.manifest")))
    trial.note_in_flight()
    filler = trial.snapshots / "filler"
    _fill(filler)
    time.sleep(_FAULT_S)
    trial.fired = b"has no new snapshot" in worker.log.read_bytes()
    filler.unlink()
    trial.healed()


def _mount(trial: Trial) -> None:
    folder = str(trial.snapshots)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"a tmpfs cannot be mounted: {done.stderr.strip()}; this row needs the right to mount"
        raise RuntimeError(msg)
    trial.undo.callback(subprocess.run, ["umount", "--lazy", folder], check=True)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(1 << 16))
