from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.words import WriteMode
from ckptd.store.files.roots import Root
from ckptd.store.staging import block_files
from ckptd.store.staging.block_files import BlockFiles
from ckptd.store.staging.preparing import create_files
from ckptd.store.trees.directories import make_staging
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.local_blocks import BlockCopier, LocalBlock
from tests.support.manifests import make_manifest
from tests.support.stagings import NOTHING, Site, content_of, go_on
from tests.support.stores import open_descriptors

CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "large.bin": content_of(5 * MIB + 7, seed=1),
    "shards/small.bin": content_of(700_000, seed=2),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS, manifest=make_manifest(CONTENTS, block_size_bytes=2 * MIB))
    for path, content in CONTENTS.items():
        file = tmp_path / "copy" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    made = make_staging(site.root, ".ckptd/r-1")
    create_files(made, site.space, ())
    yield made
    made.close()


def in_copy(site: Site, blocks: BlockSet | None = None) -> list[LocalBlock]:
    """Every block, where the copy has it."""
    units = site.space.manifest.units
    return [
        LocalBlock(place, site.root, f"copy/{units[place.unit].path}", place.offset)
        for run in (site.everything if blocks is None else blocks).runs()
        for place in site.space.places(run)
    ]


@contextlib.contextmanager
def copier(site: Site, tree: Root, check: Callable[[], None] = go_on) -> Iterator[BlockCopier]:
    manifest = site.space.manifest

    def open_unit(unit: int, flags: int) -> int:
        return tree.open_file(manifest.units[unit].path, flags)

    with contextlib.closing(
        BlockFiles(site.space, open_unit, WriteMode.BUFFERED, BlockSet)
    ) as files:
        yield BlockCopier(tree, manifest, files, Finishing(manifest).of_unit, check)


def take(site: Site, tree: Root, blocks: Iterable[LocalBlock]) -> BlockSet:
    with copier(site, tree) as mine:
        return BlockSet((block, block + 1) for block in mine.take(blocks))


def staged(site: Site) -> dict[str, bytes]:
    return {path: site.staged(path).read_bytes() for path in CONTENTS if path != "empty"}


def as_if_shared(source: int, offset: int, size_bytes: int, target: int, at: int) -> None:
    os.pwrite(target, os.pread(source, size_bytes, offset), at)


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


class TestTaking:
    def test_everything_that_is_right_is_copied(self, site: Site, tree: Root) -> None:
        assert take(site, tree, in_copy(site)) == site.everything
        assert staged(site) == {path: CONTENTS[path] for path in staged(site)}

    def test_nothing_is_taken_of_nothing(self, site: Site, tree: Root) -> None:
        assert take(site, tree, []) == NOTHING

    def test_only_what_is_asked_for_is_written(self, site: Site, tree: Root) -> None:
        one = BlockSet.single(next(iter(site.blocks_of("large.bin"))) + 1)
        assert take(site, tree, in_copy(site, one)) == one
        written = site.staged("large.bin").read_bytes()
        assert written[2 * MIB : 4 * MIB] == CONTENTS["large.bin"][2 * MIB : 4 * MIB]
        assert not any(written[: 2 * MIB])
        assert not site.staged("config.json").exists()

    def test_a_block_may_lie_anywhere_in_any_file(self, site: Site, tree: Root) -> None:
        """So that equal blocks of other versions can be taken the same way."""
        large = CONTENTS["large.bin"]
        (site.path / "other").write_bytes(b"..." + large[4 * MIB :] + large[: 4 * MIB])
        runs = site.blocks_of("large.bin").runs()
        places = [place for run in runs for place in site.space.places(run)]
        offsets = (3 + MIB + 7, 3 + 3 * MIB + 7, 3)
        found = [
            LocalBlock(place, site.root, "other", offset)
            for place, offset in zip(places, offsets, strict=True)
        ]
        assert take(site, tree, found) == site.blocks_of("large.bin")
        assert site.staged("large.bin").read_bytes() == large

    @pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "read"])
    def test_a_wrong_block_is_not_taken(
        self, site: Site, tree: Root, *, is_shared: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if is_shared:
            monkeypatch.setattr(block_files, "share_extents", as_if_shared)
        with (site.path / "copy/large.bin").open("r+b") as file:
            file.seek(3 * MIB)
            file.write(b"!")
        (site.path / "copy/config.json").write_bytes(b"[]")
        wrong = BlockSet.single(next(iter(site.blocks_of("large.bin"))) + 1)
        wrong |= site.blocks_of("config.json")
        with copier(site, tree) as mine:
            taken = BlockSet((block, block + 1) for block in mine.take(in_copy(site)))
        assert taken == site.everything - wrong
        assert {block.wanted.block for block in mine.wrong} == set(wrong)

    @pytest.mark.parametrize("instead", ["nothing", "link", "fifo", "directory", "less"])
    def test_what_is_no_place_to_take_from_is_passed_over(
        self, site: Site, tree: Root, instead: str
    ) -> None:
        path = site.path / "copy/large.bin"
        path.unlink()
        match instead:
            case "link":
                path.symlink_to(site.path / "copy/shards/small.bin")
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "less":
                path.write_bytes(b"!")
            case _:
                pass
        assert take(site, tree, in_copy(site)) == site.everything - site.blocks_of("large.bin")

    def test_large_blocks_are_shared_and_verified_in_their_new_file(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shared = []

        def share(source: int, offset: int, size_bytes: int, target: int, at: int) -> None:
            shared.append((offset, size_bytes, at))
            as_if_shared(source, offset, size_bytes, target, at)
            if (at, size_bytes) == (0, 4 * MIB):
                os.pwrite(target, b"!", 2 * MIB)

        monkeypatch.setattr(block_files, "share_extents", share)
        second = BlockSet.single(next(iter(site.blocks_of("large.bin"))) + 1)
        with copier(site, tree) as mine:
            taken = BlockSet((block, block + 1) for block in mine.take(in_copy(site)))
        assert taken == site.everything - second
        assert [block.wanted.block for block in mine.wrong] == list(second)
        whole = site.space.manifest.units[site.unit("large.bin")].size_bytes // (2 * MIB)
        parts = [(0, whole * 2 * MIB, 0), (4 * MIB, MIB + 7, 4 * MIB)]
        assert [part for part in shared if part in parts] == parts, "one call for each stretch"

    @pytest.mark.parametrize("longest", [1000, 256 * KIB])
    def test_what_is_written_in_part_is_written_to_its_end(
        self, site: Site, tree: Root, longest: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lengths = []
        pwrite = os.pwrite

        def write(fd: int, data: memoryview, offset: int) -> int:
            lengths.append(len(data))
            return pwrite(fd, data[:longest], offset)

        monkeypatch.setattr(block_files, "share_extents", refusing(errno.EOPNOTSUPP))
        monkeypatch.setattr(os, "pwrite", write)
        assert take(site, tree, in_copy(site)) == site.everything
        assert staged(site) == {path: CONTENTS[path] for path in staged(site)}
        assert lengths.count(256 * KIB) >= 4 * MIB // (256 * KIB), (
            "longer writes want memory in large pieces"
        )

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP, errno.EIO, errno.ESTALE])
    def test_where_extents_are_not_shared_bytes_are_read(
        self, site: Site, tree: Root, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(block_files, "share_extents", refusing(code))
        assert take(site, tree, in_copy(site)) == site.everything
        assert staged(site) == {path: CONTENTS[path] for path in staged(site)}

    def test_a_full_disk_is_an_error(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(block_files, "share_extents", refusing(errno.ENOSPC))
        monkeypatch.setattr(os, "pwrite", refusing(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            take(site, tree, in_copy(site))

    def test_it_can_be_interrupted(self, site: Site, tree: Root) -> None:
        def stop() -> None:
            raise CkptdError("recovery", "was interrupted")

        with copier(site, tree, stop) as mine, pytest.raises(CkptdError, match="interrupted"):
            list(mine.take(in_copy(site)))

    def test_no_descriptor_is_left_open(self, site: Site, tree: Root) -> None:
        before = open_descriptors()
        take(site, tree, in_copy(site))
        assert open_descriptors() == before
