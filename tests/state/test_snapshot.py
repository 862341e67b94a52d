"""A snapshot is used whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.events.errors import Unavailable
from sendtide.state import SnapshotStore


@pytest.fixture
def store(tmp_path):
    """A store with three snapshots of partition 4, offsets 1, 2 and 3."""
    store = SnapshotStore(str(tmp_path), "recipients", keep=3)
    for offset in (1, 2, 3):
        store.write(4, 10 + offset, {"a": offset}, {"k": offset}, {"x": np.arange(offset)})
    return store


def files(tmp_path, kind):
    return sorted((tmp_path / "recipients" / "4").glob(f"*.{kind}"))


def test_the_newest_is_read_back_as_it_was_written(store):
    """Manifest, meta and columns come back; the epoch too."""
    manifest, meta, columns = store.newest(4)

    assert (manifest.offsets, manifest.epoch, meta) == ({"a": 3}, 13, {"k": 3})
    np.testing.assert_array_equal(columns["x"], np.arange(3))
    assert store.newest(5) is None


def test_no_more_than_keep_are_kept(store, tmp_path):
    """The oldest goes when one more is written."""
    store.write(4, 14, {"a": 4}, {}, {})

    assert len(files(tmp_path, "manifest")) == len(files(tmp_path, "columns")) == 3
    assert store.newest(4)[0].offsets == {"a": 4}


@pytest.mark.parametrize("kind", ["columns", "manifest"])
def test_any_flipped_byte_or_cut_is_refused_and_the_one_before_used(store, tmp_path, kind):
    """Damage at every eighth byte, and every truncation tried, is noticed and said."""
    newest = files(tmp_path, kind)[-1]
    good = newest.read_bytes()
    for place in range(0, len(good), 8):
        bad = bytearray(good)
        bad[place] ^= 0x40
        newest.write_bytes(bytes(bad))
        found = store.newest(4)
        assert found is not None
        assert found[0].offsets["a"] in ({2} if kind == "columns" else {2, 3})
    for cut in (0, 1, len(good) // 2, len(good) - 1):
        newest.write_bytes(good[:cut])
        assert store.newest(4)[0].offsets == {"a": 2}
    assert store.refused


def test_a_snapshot_of_another_partition_or_group_is_refused(store, tmp_path):
    """Files that were copied from elsewhere are not ours."""
    other = SnapshotStore(str(tmp_path), "clients")
    other.write(4, 1, {"a": 9}, {}, {})
    for kind in ("columns", "manifest"):
        foreign = tmp_path / "clients" / "4" / f"0000000001.{kind}"
        (tmp_path / "recipients" / "4" / f"0000000099.{kind}").write_bytes(foreign.read_bytes())

    assert store.newest(4)[0].offsets == {"a": 3}
    assert "clients" in store.refused[0]


def test_what_a_crash_leaves_is_ignored(store, tmp_path):
    """Columns without a manifest, and temporary files, do not count."""
    folder = tmp_path / "recipients" / "4"
    (folder / "0000000050.columns").write_bytes(b"half")
    (folder / "0000000051.manifest.tmp").write_bytes(b"{}")

    assert store.newest(4)[0].offsets == {"a": 3}


def test_a_folder_that_cannot_be_written_is_said_to_be_unavailable(tmp_path):
    """The caller keeps its position; nothing is lost."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(Unavailable, match="cannot be written"):
        SnapshotStore(str(blocked), "g").write(0, 1, {}, {}, {})
