import os
from pathlib import Path

import pytest

from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile, fingerprint_of, held_blocks
from tests.support.manifests import make_manifest

FILE = UnitFile(Fingerprint(1, 2, 3, 4, 5))


@pytest.mark.parametrize("change", ["content", "touch", "permissions", "replace"])
def test_a_change_changes_the_fingerprint(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    before = fingerprint_of(os.stat(path))
    assert fingerprint_of(os.stat(path)) == before
    match change:
        case "content":
            path.write_bytes(b"2")
        case "touch":
            os.utime(path)
        case "permissions":
            os.chmod(path, 0o700)
        case _:
            (tmp_path / "new").write_bytes(b"1")
            os.utime(tmp_path / "new", (1, 1))
            os.rename(tmp_path / "new", path)
    assert fingerprint_of(os.stat(path)) != before


def test_the_blocks_of_units_that_are_left_out_are_not_held() -> None:
    contents = {"a": b"1", "b": b"", "c": b"22" * 200_000, "d": b"3"}
    space = AddressSpace(make_manifest(contents))
    assert held_blocks(space, (FILE, FILE, FILE, FILE)) == BlockSet.full(4)
    assert held_blocks(space, (FILE, FILE, None, FILE)) == BlockSet([(0, 1), (3, 4)])
    assert held_blocks(space, (None, FILE, None, None)) == BlockSet()
