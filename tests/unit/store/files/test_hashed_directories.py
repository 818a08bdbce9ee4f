"""A version as it lies in a directory."""

from __future__ import annotations

from dataclasses import replace

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.hashed_directories import HashedDirectory, held_blocks
from ckptd.store.files.unit_files import UnitFiles
from tests.support.manifests import make_manifest

FILE = UnitFile(Fingerprint(1, 2, 3, 4, 5))


def test_a_path_is_where_a_link_leads_or_below_the_directory() -> None:
    manifest = make_manifest({"a": b"1", "b": b"2"})
    files = (FILE, FILE._replace(link_target="blobs/b"))
    hashed = HashedDirectory("data", "v1", manifest, b"", Digest("00" * 32), UnitFiles(files))
    assert [hashed.path_of(0), hashed.path_of(1)] == ["v1/a", "blobs/b"]
    assert replace(hashed, directory="").path_of(0) == "a"
    assert replace(hashed, files=UnitFiles.of_none(2)).path_of(1) == "v1/b"


def test_the_blocks_of_units_that_are_left_out_are_not_held() -> None:
    contents = {"a": b"1", "b": b"", "c": b"22" * 200_000, "d": b"3"}
    space = AddressSpace(make_manifest(contents))
    assert held_blocks(space, UnitFiles((FILE, FILE, FILE, FILE))) == BlockSet.full(4)
    assert held_blocks(space, UnitFiles((FILE, FILE, None, FILE))) == BlockSet([(0, 1), (3, 4)])
    assert held_blocks(space, UnitFiles((None, FILE, None, None))) == BlockSet()
