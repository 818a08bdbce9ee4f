"""Blocks of other versions that need not travel."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees import equal_blocks
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

    def test_what_is_kept_compressed_is_found_where_it_lies(self, tmp_path: Path) -> None:
        old, new = spaces()
        with closing(Root.open("main", str(tmp_path))) as root:
            similar = place(root, old)
            model = [unit.path for unit in old.manifest.units].index("model.bin")
            similar.known.files[model] = FILE._replace(plain_bytes=5 * MIB)
            equal = EqualBlocks(new, everything(new), (similar,))
            found = list(equal.find(everything(new)))
        assert {(block.path, block.is_compressed) for block in found} == {
            ("old/config.json", False),
            ("old/model.bin.zst", True),
            ("old/optimizer.bin", False),
        }

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


class TestManyBlocks:
    """Of long units digests are compared many at once, before any is sought elsewhere."""

    LONG: ClassVar = {"model.bin": content_of(700 * KIB), "short.bin": content_of(5 * KIB, seed=1)}

    def spaces(self, new: dict[str, bytes]) -> tuple[AddressSpace, AddressSpace]:
        older, newer = (
            make_manifest(each, block_size_bytes=KIB, version=version)
            for version, each in enumerate((self.LONG, new))
        )
        return AddressSpace(older), AddressSpace(newer)

    def look(self, path: Path, new: dict[str, bytes]) -> dict[int, tuple[str, int]]:
        old, wanted = self.spaces(new)
        with closing(Root.open("main", str(path))) as root:
            equal = EqualBlocks(wanted, everything(wanted), (place(root, old),))
            found = {
                block.wanted.block: (block.path.removeprefix("old/"), block.offset)
                for block in equal.find(everything(wanted))
            }
        assert set(found) == set(equal.blocks)
        assert equal.found_bytes == (wanted.set_bytes(equal.blocks),)
        for number, (path_found, offset) in found.items():
            [mine] = wanted.places((number, number + 1))
            content = new[wanted.manifest.units[mine.unit].path]
            there = self.LONG[path_found][offset : offset + mine.size_bytes]
            assert there == content[mine.offset : mine.offset + mine.size_bytes]
        return found

    def test_what_changed_in_place_is_all_that_is_not_found(self, tmp_path: Path) -> None:
        changed = bytearray(self.LONG["model.bin"])
        for number in (0, 255, 256, 400, 699):
            changed[number * KIB] ^= 1
        new = {"model.bin": bytes(changed), "short.bin": self.LONG["short.bin"]}
        _, space = self.spaces(new)
        first = min(blocks_of(space, "model.bin"))
        missing = BlockSet((first + n, first + n + 1) for n in (0, 255, 256, 400, 699))
        assert set(self.look(tmp_path, new)) == set(everything(space) - missing)

    def test_what_moved_is_found_as_well(self, tmp_path: Path) -> None:
        long = self.LONG["model.bin"]
        new = {"model.bin": long[300 * KIB :] + self.LONG["short.bin"] + long[: 300 * KIB]}
        assert len(self.look(tmp_path, new)) == 705

    def test_a_longer_or_shorter_file_has_what_is_equal(self, tmp_path: Path) -> None:
        long = self.LONG["model.bin"]
        assert len(self.look(tmp_path, {"model.bin": long + bytes(3)})) == 700
        assert len(self.look(tmp_path, {"model.bin": long[: 600 * KIB]})) == 600

    def test_no_more_is_sought_than_there_is_room_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(equal_blocks, "_SOUGHT_MAX", 100)
        assert len(self.look(tmp_path, {"moved.bin": self.LONG["model.bin"]})) == 100
        assert len(self.look(tmp_path, {"model.bin": self.LONG["model.bin"]})) == 700

    @pytest.mark.parametrize("path", ["model.bin", "moved.bin"])
    def test_it_can_be_interrupted(self, tmp_path: Path, path: str) -> None:
        old, wanted = self.spaces({path: self.LONG["model.bin"]})
        left = [2]

        def stop() -> None:
            left[0] -= 1
            if not left[0]:
                raise CkptdError("recovery", "was interrupted")

        with closing(Root.open("main", str(tmp_path))) as root:
            places = (place(root, old),)
            with pytest.raises(CkptdError, match="interrupted"):
                EqualBlocks(wanted, everything(wanted), places, stop)


def test_a_staging_that_is_interrupted_looks_no_further(tmp_path: Path) -> None:
    old, new = spaces()
    (tmp_path / "old").mkdir()
    site = Site(tmp_path, NEW, manifest=new.manifest)
    staging = site.staging()
    staging.interrupt()
    with pytest.raises(CkptdError, match="interrupted"):
        staging.prepare(NOTHING, similar=(place(site.root, old),))
    site.close()


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
