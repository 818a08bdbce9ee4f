"""Names that came to a directory after it was published."""

from __future__ import annotations

from pathlib import Path

from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Recorded
from ckptd.store.published.newcomers import NAMES_MAX, look_beside
from tests.support.stores import publish, write_files


def test_what_is_no_file_of_the_version_is_beside_it(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "d/e/b": b"2", "train.log": b""})
    recorded = Recorded(publish(root, "v1"))
    assert look_beside(root, recorded, None).names == frozenset()
    write_files(inside / "v1", {"late": b"", "d/e/late": b"", "new/x": b"", "eval.log": b""})
    write_files(inside / "v1", {".ckptd-partial.json": b""})
    names = look_beside(root, recorded, None).names
    assert names == {"v1/late", "v1/d/e/late", "v1/new"}


def test_directories_in_which_nothing_came_or_went_are_not_read_again(
    root: Root, inside: Path
) -> None:
    write_files(inside / "v1", {"a": b"1"})
    recorded = Recorded(publish(root, "v1"))
    first = look_beside(root, recorded, None)
    assert first.changed_ns == 0, "more may come within this tick of the clock"
    settled = first._replace(changed_ns=(inside / "v1").stat().st_ctime_ns)
    assert look_beside(root, recorded, settled) is settled
    write_files(inside / "v1", {"late": b""})
    assert look_beside(root, recorded, settled).names == {"v1/late"}


def test_of_a_directory_with_very_many_names_nothing_is_said(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    recorded = Recorded(publish(root, "v1"))
    write_files(inside / "v1", {f"n{number}": b"" for number in range(NAMES_MAX + 1)})
    assert look_beside(root, recorded, None).names == frozenset()
