"""Files of ckptd's own come and go beside a version by one step each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import NotFound
from ckptd.store.files.roots import Root
from ckptd.store.trees import own_files
from ckptd.store.trees.own_files import move_own, remove_own, stage_own

NAME = ".ckptd-note.json"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "v").mkdir()
    (tmp_path / "staging").mkdir()
    made = Root.open("data", str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def tree(root: Root, tmp_path: Path) -> Iterator[Root]:
    made = Root.open("staging", str(tmp_path / "staging"))
    yield made
    made.close()


def test_what_is_staged_replaces_an_older_one_by_its_move(
    root: Root, tree: Root, tmp_path: Path
) -> None:
    (tmp_path / "v" / NAME).write_bytes(b"older")
    stage_own(tree, NAME, b"longer than the new one")
    stage_own(tree, NAME, b"new")
    assert (tmp_path / "v" / NAME).read_bytes() == b"older"
    move_own(root, tree, NAME, "v")
    placed = tmp_path / "v" / NAME
    assert placed.read_bytes() == b"new"
    assert stat.S_IMODE(placed.stat().st_mode) == 0o644
    assert not (tmp_path / "staging" / NAME).exists()


def test_all_of_it_is_written_and_its_mode_is_no_matter_of_a_mask(
    tree: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
    mask = os.umask(0o077)
    try:
        stage_own(tree, NAME, b"in parts")
    finally:
        os.umask(mask)
    staged = tmp_path / "staging" / NAME
    assert staged.read_bytes() == b"in parts"
    assert stat.S_IMODE(staged.stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["stage", "move", "remove"])
def test_each_step_is_durable(
    root: Root, tree: Root, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    synced: list[int] = []
    stage_own(tree, NAME, b"new")
    if step == "remove":
        move_own(root, tree, NAME, "v")
    monkeypatch.setattr(own_files, "sync_file", synced.append)
    if step == "stage":
        stage_own(tree, NAME, b"new")
    elif step == "move":
        move_own(root, tree, NAME, "v")
    else:
        remove_own(root, NAME, "v")
    assert len(synced) == 1


def test_one_that_was_swept_is_missed(root: Root, tree: Root) -> None:
    with pytest.raises(NotFound):
        move_own(root, tree, NAME, "v")


def test_one_that_is_removed_is_gone(root: Root, tree: Root, tmp_path: Path) -> None:
    stage_own(tree, NAME, b"new")
    move_own(root, tree, NAME, "v")
    remove_own(root, NAME, "v")
    assert list((tmp_path / "v").iterdir()) == []
