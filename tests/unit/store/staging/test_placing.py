from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import ContradictoryManifest, VerificationFailed
from ckptd.limits import KIB, MIB
from ckptd.model.manifest import Manifest
from ckptd.store.files.roots import Root
from ckptd.store.staging import placing
from ckptd.store.staging.placing import check_units, finish, leave_out
from tests.support.manifests import make_manifest
from tests.support.stagings import Site, content_of, go_on
from tests.support.stores import open_descriptors

CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "run.sh": b"exit 0",
    "shards/1.bin": content_of(MIB, seed=1),
    "shards/deep/2.bin": content_of(300 * KIB, seed=2),
}


def executable(manifest: Manifest, path: str) -> Manifest:
    units = (
        msgspec.structs.replace(unit, is_executable=unit.path == path) for unit in manifest.units
    )
    return msgspec.structs.replace(manifest, units=tuple(units))


def with_digest(manifest: Manifest, path: str, digest: bytes) -> Manifest:
    units = (
        msgspec.structs.replace(unit, digest=digest) if unit.path == path else unit
        for unit in manifest.units
    )
    return msgspec.structs.replace(manifest, units=tuple(units))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    manifest = executable(make_manifest(CONTENTS, critical=["shards/1.bin", "empty"]), "run.sh")
    made = Site(tmp_path, CONTENTS, manifest=manifest)
    for path, content in CONTENTS.items():
        file = made.placed(path)
        file.parent.mkdir(0o700, parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_bytes(content)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    made = Root.open("version", str(site.placed()))
    yield made
    made.close()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


class TestLeavingOut:
    def test_directories_that_become_empty_go_too(self, site: Site, tree: Root) -> None:
        leave_out(tree, site.space.manifest, {site.unit("shards/deep/2.bin")})
        assert os.listdir(site.placed("shards")) == ["1.bin"]
        leave_out(tree, site.space.manifest, {site.unit("shards/1.bin"), site.unit("run.sh")})
        assert (site.placed() / "shards").exists()

    def test_everything_may_be_left_out(self, site: Site, tree: Root) -> None:
        leave_out(tree, site.space.manifest, set(range(len(CONTENTS))))
        assert os.listdir(site.placed()) == []


class TestCriticalUnits:
    def test_right_ones_pass(self, site: Site, tree: Root) -> None:
        check_units(tree, site.space.manifest, (), check=go_on)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(bytes(MIB)),
            lambda path: os.truncate(path, MIB - 1),
        ],
        ids=["changed", "cut"],
    )
    def test_one_that_the_disk_changed_is_named(
        self, site: Site, tree: Root, damage: Callable[[Path], object]
    ) -> None:
        damage(site.placed("shards/1.bin"))
        with pytest.raises(VerificationFailed, match=r"critical unit 'shards/1\.bin'"):
            check_units(tree, site.space.manifest, (), check=go_on)
        check_units(tree, site.space.manifest, {site.unit("shards/1.bin")}, check=go_on)

    def test_none_is_left_open(self, site: Site, tree: Root) -> None:
        before = open_descriptors()
        check_units(tree, site.space.manifest, (), check=go_on)
        os.truncate(site.placed("shards/1.bin"), 1)
        with pytest.raises(VerificationFailed):
            check_units(tree, site.space.manifest, (), check=go_on)
        assert open_descriptors() == before

    def test_others_are_not_read(self, site: Site, tree: Root) -> None:
        site.placed("config.json").write_bytes(b"!!")
        check_units(tree, site.space.manifest, (), check=go_on)


class TestUnitsOfSeveralBlocks:
    PATH = "shards/deep/2.bin"
    """Two blocks, not critical."""

    def test_one_whose_digest_is_not_that_of_its_blocks_is_the_manifests_fault(
        self, site: Site, tree: Root
    ) -> None:
        manifest = with_digest(site.space.manifest, self.PATH, bytes(32))
        with pytest.raises(ContradictoryManifest, match="publish the version again"):
            check_units(tree, manifest, (), check=go_on)
        check_units(tree, manifest, {site.unit(self.PATH)}, check=go_on)

    def test_a_critical_one_is_the_manifests_fault_as_well(self, site: Site, tree: Root) -> None:
        manifest = with_digest(site.space.manifest, "shards/1.bin", bytes(32))
        with pytest.raises(ContradictoryManifest):
            check_units(tree, manifest, (), check=go_on)

    def test_one_that_the_disk_changed_is_the_disks_fault(self, site: Site, tree: Root) -> None:
        site.placed(self.PATH).write_bytes(bytes(300 * KIB))
        for manifest in (
            site.space.manifest,
            with_digest(site.space.manifest, self.PATH, bytes(32)),
        ):
            with pytest.raises(VerificationFailed, match=r"normal unit 'shards/deep/2\.bin'"):
                check_units(tree, manifest, (), check=go_on)

    def test_somebody_who_gives_up_ends_it(self, site: Site, tree: Root) -> None:
        def give_up() -> None:
            raise KeyError

        before = open_descriptors()
        with pytest.raises(KeyError):
            check_units(tree, site.space.manifest, (), check=give_up)
        assert open_descriptors() == before


class TestFinishing:
    @pytest.mark.parametrize("few_files", [0, 256], ids=["syncfs", "fsync"])
    def test_modes_become_final_and_times_stay(
        self, site: Site, tree: Root, few_files: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placing, "_FEW_FILES", few_files)
        before = {path: site.placed(path).stat().st_mtime_ns for path in CONTENTS}
        files = finish(tree, site.space.manifest, ())
        for path in CONTENTS:
            assert mode_of(site.placed(path)) == (0o755 if path == "run.sh" else 0o644)
            assert site.placed(path).stat().st_mtime_ns == before[path]
        for directory in ("", "shards", "shards/deep"):
            assert mode_of(site.placed(directory)) == 0o755
        assert all(files)

    def test_each_file_has_the_fingerprint_of_its_inode(self, site: Site, tree: Root) -> None:
        left_out = {site.unit("run.sh")}
        files = finish(tree, site.space.manifest, left_out)
        for unit, file in zip(site.space.manifest.units, files, strict=True):
            facts = site.placed(unit.path).stat()
            assert (file is None) == (unit.path == "run.sh")
            assert file is None or file.fingerprint == (
                facts.st_dev,
                facts.st_ino,
                facts.st_size,
                facts.st_mtime_ns,
                facts.st_ctime_ns,
            )
        assert mode_of(site.placed("run.sh")) == 0o600

    @pytest.mark.parametrize("few_files", [0, 256], ids=["syncfs", "fsync"])
    @pytest.mark.parametrize("size_bytes", [1, 3])
    @pytest.mark.parametrize("mode", [0o600, 0o644])
    def test_a_wrong_length_is_noticed(
        self,
        site: Site,
        tree: Root,
        few_files: int,
        size_bytes: int,
        mode: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(placing, "_FEW_FILES", few_files)
        os.truncate(site.placed("config.json"), size_bytes)
        site.placed("config.json").chmod(mode)
        with pytest.raises(VerificationFailed, match=r"normal unit 'config\.json'"):
            finish(tree, site.space.manifest, ())

    def test_a_few_files_and_their_directories_are_synced_each(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        monkeypatch.setattr(
            os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        )
        finish(tree, site.space.manifest, ())
        places = [*CONTENTS, "", "shards", "shards/deep"]
        assert sorted(synced) == sorted(str(site.placed(place)) for place in places)

    @pytest.mark.parametrize(("few_files", "is_whole"), [(7, True), (8, False)])
    def test_many_files_are_synced_with_their_file_system(
        self,
        site: Site,
        tree: Root,
        monkeypatch: pytest.MonkeyPatch,
        *,
        few_files: int,
        is_whole: bool,
    ) -> None:
        """Five files in three directories."""
        wholes: list[int] = []
        monkeypatch.setattr(placing, "_FEW_FILES", few_files)
        monkeypatch.setattr("ckptd.store.files.roots.sync_file_system", wholes.append)
        finish(tree, site.space.manifest, ())
        assert bool(wholes) is is_whole
