"""A snapshot is used whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.events.errors import Fenced, Unavailable
from sendtide.state import SnapshotStore


@pytest.fixture
def store(tmp_path):
    """A store with three snapshots of partition 4, offsets 1, 2 and 3."""
    store = SnapshotStore(str(tmp_path), "recipients", keep=3)
    for offset in (1, 2, 3):
        store.write(4, 10 + offset, {"a": offset}, {"k": offset}, {"x": np.arange(offset)})
    return store


def place(epoch, sequence):
    return f"{epoch:010d}-{sequence:010d}"


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
        foreign = tmp_path / "clients" / "4" / f"{place(1, 1)}.{kind}"
        (tmp_path / "recipients" / "4" / f"{place(13, 99)}.{kind}").write_bytes(
            foreign.read_bytes()
        )

    assert store.newest(4)[0].offsets == {"a": 3}
    assert "clients" in store.refused[0]


def test_what_a_crash_leaves_is_ignored(store, tmp_path):
    """Columns without a manifest, and temporary files, do not count."""
    folder = tmp_path / "recipients" / "4"
    (folder / f"{place(50, 50)}.columns").write_bytes(b"half")
    (folder / f"{place(51, 51)}.manifest.tmp").write_bytes(b"{}")

    assert store.newest(4)[0].offsets == {"a": 3}


def test_a_folder_that_cannot_be_written_is_said_to_be_unavailable(tmp_path):
    """The caller keeps its position; nothing is lost."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(Unavailable, match="cannot be written"):
        SnapshotStore(str(blocked), "g").write(0, 1, {}, {}, {})


def test_what_a_past_owner_writes_late_never_becomes_the_newest(store):
    """It is told so; what it had looked up before its successor wrote is older all the same."""
    zombie = SnapshotStore(store._root, "recipients", keep=3)
    seen = zombie._places(4)
    store.write(4, 20, {"a": 20}, {}, {})

    with pytest.raises(Fenced, match="epoch 20 has written"):
        zombie.write(4, 13, {"a": 5}, {}, {})
    zombie._places = lambda _: seen
    zombie.write(4, 13, {"a": 5}, {}, {})

    assert store.newest(4)[0].offsets == {"a": 20}


def test_what_is_not_signed_with_the_key_is_refused(store, tmp_path):
    """Neither what stood there before, nor another key's, nor what was altered and hashed anew."""
    signed = SnapshotStore(str(tmp_path), "recipients", key=b"secret")
    assert signed.newest(4) is None
    assert "not signed" in signed.refused[-1]

    signed.write(4, 14, {"a": 4}, {}, {})
    assert signed.newest(4)[0].offsets == {"a": 4}
    other = SnapshotStore(str(tmp_path), "recipients", key=b"other")
    assert other.newest(4) is None
    assert any("another key" in reason for reason in other.refused)

    manifest = files(tmp_path, "manifest")[-1]
    manifest.write_bytes(manifest.read_bytes().replace(b'{"a":4}', b'{"a":5}'))
    assert signed.newest(4) is None
    assert store.newest(4)[0].offsets == {"a": 5}, "without a key signatures are not looked at"


def test_more_than_is_allowed_is_neither_written_nor_read(store, tmp_path):
    """A file that has grown is refused by its size, before it is read."""
    small = SnapshotStore(str(tmp_path), "recipients", largest_bytes=1_000)
    with pytest.raises(Unavailable, match="allowed are 1000"):
        small.write(4, 14, {}, {}, {"x": np.zeros(1_000)})

    store.write(4, 14, {"a": 4}, {}, {"x": np.zeros(1_000)})
    assert small.newest(4)[0].offsets == {"a": 3}
    assert "1000 allowed" in small.refused[0]
    with files(tmp_path, "manifest")[-1].open("ab") as file:
        file.truncate(1 << 30)
    assert store.newest(4)[0].offsets == {"a": 3}
