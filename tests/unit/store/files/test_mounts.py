from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files import mounts
from ckptd.store.files.mounts import Mount, mount_of, was_made_while_this_process_started
from ckptd.store.files.roots import SHUT, Root
from tests.support.mounts import in_mount_namespace, mount, tmpfs


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def test_a_mount_that_is_shut_is_told_from_a_disk_that_takes_no_writes(tmp_path: Path) -> None:
    shut, asleep = tmp_path / "shut", tmp_path / "asleep"

    def scene() -> None:
        with tmpfs(shut), tmpfs(asleep):
            mount("-o", "remount,bind,ro", str(shut))
            mount("-o", "remount,ro", str(asleep))
            roots = [Root.open("main", str(path)) for path in (shut, asleep, tmp_path)]
            assert [root.obstacle() for root in roots] == [
                SHUT, "its file system is read-only here", "",
            ]  # fmt: skip
            assert not any(root.has_come_too_late() for root in roots[1:])
            for root in roots:
                root.close()

    in_mount_namespace(scene)


@pytest.mark.parametrize(
    ("here", "of_file_system", "is_shut"),
    [
        (("rw", "noatime"), ("rw",), False),
        (("ro", "noatime"), ("rw", "inode64"), True),
        (("ro",), ("ro",), False),
        (("rw",), ("rw", "emergency_ro"), False),
        ((), (), False),
    ],
)
def test_only_what_would_take_writes_is_shut(
    here: tuple[str, ...], of_file_system: tuple[str, ...], is_shut: bool
) -> None:
    assert Mount(here, of_file_system).is_shut == is_shut


def test_of_a_descriptor_that_is_none_nothing_is_known() -> None:
    assert mount_of(1 << 20) == Mount()


@pytest.mark.parametrize(
    ("made_before_s", "process_age_s", "is_younger"),
    [
        (0.2, 0.5, True),
        (0.5, 0.5, True),
        (0.6, 0.5, False),  # what a new start finds: so it cannot happen twice
        (-3600.0, 0.5, False),  # the clock was set back: nothing is known
        (None, 0.5, False),
        (0.2, None, False),
    ],
)
def test_a_directory_is_younger_only_if_that_is_sure(
    fd: int,
    monkeypatch: pytest.MonkeyPatch,
    made_before_s: float | None,
    process_age_s: float | None,
    is_younger: bool,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    made_s = None if made_before_s is None else 1000.0 - made_before_s
    monkeypatch.setattr(mounts, "_made_s", lambda _: made_s)
    monkeypatch.setattr(mounts, "_process_age_s", lambda: process_age_s)
    assert was_made_while_this_process_started(fd) == is_younger


def test_the_kernel_says_when_a_directory_was_made_and_how_old_this_process_is(fd: int) -> None:
    made_s, age_s = mounts._made_s(fd), mounts._process_age_s()
    assert made_s is None or abs(time.time() - made_s) < 60
    assert age_s is not None
    assert 0 < age_s < 86_400
    assert mounts._made_s(1 << 20) is None
