import itertools
import os
from pathlib import Path

import pytest

from ckptd.errors import NotFound
from ckptd.store.files.roots import Root
from ckptd.store.published import saved_listing
from ckptd.store.published.saved_listing import (
    is_on_local_disk,
    is_plain_directory,
    pointer_text,
    stamp_of,
)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open("data", str(tmp_path))


def test_a_stamp_is_another_one_after_each_kind_of_change(tmp_path: Path, root: Root) -> None:
    inner = tmp_path / "v1" / "inner"
    inner.mkdir(parents=True)
    stamps = [stamp_of(root, "v1")]
    (inner / "a").write_bytes(b"1")
    stamps.append(stamp_of(root, "v1"))
    (inner / "a").write_bytes(b"12")
    stamps.append(stamp_of(root, "v1"))
    (inner / "a").unlink()
    stamps.append(stamp_of(root, "v1"))
    assert None not in stamps
    assert all(one != next_ for one, next_ in itertools.pairwise(stamps))
    assert stamp_of(root, "v1") == stamps[-1]


def test_what_cannot_be_looked_into_has_no_stamp(tmp_path: Path, root: Root) -> None:
    (tmp_path / "v1").mkdir()
    os.mkfifo(tmp_path / "v1" / "fifo")
    assert stamp_of(root, "v1") is None
    assert stamp_of(root, "v2") is None


def test_only_so_many_names_are_looked_at(
    tmp_path: Path, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_listing, "LOOKS_MAX", 2)
    (tmp_path / "v1").mkdir()
    for name in "abc":
        (tmp_path / "v1" / name).touch()
    stamp = stamp_of(root, "v1")
    assert stamp is not None
    assert stamp.entries == 2


def test_links_are_not_followed(tmp_path: Path, root: Root) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "latest").symlink_to("v1")
    (tmp_path / "name").write_text("v1\n")
    (tmp_path / "link").symlink_to("name")
    (tmp_path / "long").write_bytes(b"1" * 5000)
    assert is_plain_directory(root, "v1")
    assert not is_plain_directory(root, "latest")
    assert not is_plain_directory(root, "name")
    assert pointer_text(root, "name") == "v1\n"
    for none in ("link", "long", "v1", "gone"):
        assert pointer_text(root, none) is None


@pytest.mark.parametrize(("kind", "is_local"), [(0xEF53, True), (0x6969, False)])
def test_only_a_local_disk_is_written_to_by_this_machine_alone(
    tmp_path: Path, root: Root, monkeypatch: pytest.MonkeyPatch, kind: int, is_local: bool
) -> None:
    monkeypatch.setattr(saved_listing, "file_system_type", lambda _: kind)
    (tmp_path / "run").mkdir()
    assert is_on_local_disk(root, "run") is is_local
    with pytest.raises(NotFound):
        is_on_local_disk(root, "other")
