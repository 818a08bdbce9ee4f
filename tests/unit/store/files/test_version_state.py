"""What is read of a state file; the rest is in ``trees/test_state_file.py``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.roots import Root
from ckptd.store.files.version_state import read_state
from tests.support.phases import describing, phased_manifest

SAID = describing(phased_manifest())(lambda _: False, 0, is_under_way=True)


def test_what_ckptd_wrote_is_read_and_nothing_longer(tmp_path: Path) -> None:
    root = Root.open("data", str(tmp_path))
    assert read_state(root, "v") is None
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / ".ckptd-state.json").write_bytes(SAID)
    said = read_state(root, "v")
    assert said is not None
    assert not said.complete
    (tmp_path / "v" / ".ckptd-state.json").write_bytes(SAID + b" " * 2**16)
    assert read_state(root, "v") is None
    root.close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(SAID)
    os.symlink("elsewhere", tmp_path / ".ckptd-state.json")
    root = Root.open("data", str(tmp_path))
    with pytest.raises(StorageError):
        read_state(root, "")
    root.close()
