"""Blocks of other versions that need not travel."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees.equal_blocks import EqualBlocks, SimilarPlace
from ckptd.store.trees.standing_files import KnownPlace
from tests.support.manifests import make_manifest
from tests.support.stagings import NOTHING, Site, content_of

OLD = {
    "config.json": b"{}",
    "model.bin": content_of(5 * MIB, seed=1),
    "optimizer.bin": content_of(3 * MIB, seed=2),
}
NEW = OLD | {
    "model.bin": OLD["model.bin"][: 2 * MIB] + b"!" + OLD["model.bin"][2 * MIB + 1 :],
    "moved/optimizer.bin": OLD["optimizer.bin"],
    "copy.bin": OLD["model.bin"][4 * MIB :] * 2,
}
del NEW["optimizer.bin"]
FILE = UnitFile(Fingerprint(0, 0, 0, 0, 0))


def spaces() -> tuple[AddressSpace, AddressSpace]:
    old = make_manifest(OLD, block_size_bytes=MIB, version=100)
    return AddressSpace(old), AddressSpace(make_manifest(NEW, block_size_bytes=MIB, version=101))


def place(root: Root, space: AddressSpace, *, lacks: str = "", changed: str = "") -> SimilarPlace:
    units = space.manifest.units
    files = UnitFiles(None if unit.path == lacks else FILE for unit in units)
    wrong = frozenset(index for index, unit in enumerate(units) if unit.path == changed)
    return SimilarPlace(KnownPlace(root, "old", files, wrong, 7), space)


def blocks_of(space: AddressSpace, path: str) -> BlockSet:
    [unit] = [index for index, unit in enumerate(space.manifest.units) if unit.path == path]
    return BlockSet.of_run(space.unit_run(unit))


def everything(space: AddressSpace) -> BlockSet:
    return BlockSet.full(space.block_count)


class TestFinding:
    def test_all_that_is_equal_is_found_wherever_it_lies(self, tmp_path: Path) -> None:
        old, new = spaces()
        with closing(Root.open("main", str(tmp_path))) as root:
            equal = EqualBlocks(new, everything(new), (place(root, old),))
            first = min(blocks_of(new, "model.bin"))
            assert equal.blocks == everything(new) - BlockSet.single(first + 2)
            assert equal.found_bytes == (new.size_bytes - MIB,)
            found = {block.wanted.block: block for block in equal.find(everything(new))}
        assert set(found) == set(equal.blocks)
        for block in found.values():
            wanted = new.manifest.units[block.wanted.unit].path
            content = OLD[block.path.removeprefix("old/")]
            start, size_bytes = block.wanted.offset, block.wanted.size_bytes
            assert (
                content[block.offset : block.offset + size_bytes]
                == NEW[wanted][start : start + size_bytes]
            )
            assert (block.place, old.manifest.units[block.of_unit].path) == (
                7,
                block.path.removeprefix("old/"),
            )

    def test_only_what_is_wanted_is_found(self, tmp_path: Path) -> None:
        old, new = spaces()
        wanted = blocks_of(new, "config.json")
        with closing(Root.open("main", str(tmp_path))) as root:
            equal = EqualBlocks(new, wanted, (place(root, old),))
            assert equal.blocks == wanted
            assert list(equal.find(blocks_of(new, "copy.bin"))) == []
            assert EqualBlocks(new, NOTHING, (place(root, old),)).blocks == NOTHING

    def test_what_a_place_lacks_or_has_wrong_is_not_there(self, tmp_path: Path) -> None:
        old, new = spaces()
        with closing(Root.open("main", str(tmp_path))) as root:
            half = place(root, old, lacks="optimizer.bin", changed="config.json")
            equal = EqualBlocks(new, everything(new), (half,))
        missing = blocks_of(new, "moved/optimizer.bin") | blocks_of(new, "config.json")
        assert not equal.blocks.meets(missing)

    def test_the_first_place_that_has_a_block_is_taken(self, tmp_path: Path) -> None:
        old, new = spaces()
        with closing(Root.open("main", str(tmp_path))) as root:
            half = place(root, old, lacks="optimizer.bin")
            equal = EqualBlocks(new, everything(new), (half, place(root, old)))
            assert equal.found_bytes == (new.size_bytes - 4 * MIB, 3 * MIB)


def test_a_staging_takes_equal_blocks_of_another_version(tmp_path: Path) -> None:
    old, new = spaces()
    for path, content in OLD.items():
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / path).write_bytes(content)
    site = Site(tmp_path, NEW, manifest=new.manifest)
    staging = site.staging()
    staging.prepare(NOTHING, similar=(place(site.root, old),))
    changed = BlockSet.single(min(blocks_of(new, "model.bin")) + 2)
    assert staging.nearby.blocks == site.everything - changed
    assert site.take_nearby(staging) == site.everything - changed
    site.deliver(staging, changed)
    staging.place(NOTHING)
    staging.close()
    assert {path: site.placed(path).read_bytes() for path in NEW} == NEW
    site.close()
