from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ckptd.store.files.access_lists import inherit

DEFAULT = "system.posix_acl_default"
OWN = "system.posix_acl_access"
SOMEBODY = 64002


def entries(group: int, mask: int, somebody: int = 7) -> bytes:
    found = [(1, 7, -1), (2, somebody, SOMEBODY), (4, group, -1), (16, mask, -1), (32, 0, -1)]
    packed = [struct.pack("<HHI", tag, bits, number % 2**32) for tag, bits, number in found]
    return struct.pack("<I", 2) + b"".join(packed)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A directory with a list for what is made in it, and another one elsewhere."""
    for name in ("parent", "made"):
        (tmp_path / name).mkdir()
    try:
        os.setxattr(tmp_path / "parent", DEFAULT, entries(5, 5))
    except OSError as refused:
        pytest.skip(f"no access lists here: {refused}")
    return tmp_path / "parent", tmp_path / "made"


def hand_on(parent: Path, made: Path, *, opens_group: bool = False) -> None:
    above, new = os.open(parent, os.O_RDONLY), os.open(made, os.O_RDONLY)
    try:
        inherit(above, new, opens_group=opens_group)
    finally:
        os.close(above)
        os.close(new)


def test_the_list_of_the_parent_is_handed_on(pair: tuple[Path, Path]) -> None:
    _, made = pair
    hand_on(*pair)
    assert os.getxattr(made, DEFAULT) == os.getxattr(made, OWN) == entries(5, 5)
    (made / "file").touch()
    assert OWN in os.listxattr(made / "file")


def test_one_that_the_parent_does_not_have_is_not(pair: tuple[Path, Path]) -> None:
    with_list, without = pair
    (with_list / "inner").mkdir()
    hand_on(without, with_list / "inner")
    assert os.listxattr(with_list / "inner") == []
    hand_on(without, with_list / "inner")


def test_the_group_is_let_in_and_nobody_gets_more_by_that(pair: tuple[Path, Path]) -> None:
    _, made = pair
    hand_on(*pair, opens_group=True)
    assert os.getxattr(made, DEFAULT) == os.getxattr(made, OWN) == entries(7, 7, somebody=5)
