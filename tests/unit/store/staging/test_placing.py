from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import VerificationFailed
from ckptd.limits import KIB, MIB
from ckptd.model.attributes import decode_attributes, encode_attributes
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.roots import Root
from ckptd.store.staging import placing
from ckptd.store.staging.placing import finish, leave_out
from ckptd.store.trees.finishing import Finishing
from tests.support.manifests import make_manifest
from tests.support.stagings import Site, content_of

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


class TestFinishing:
    @pytest.mark.parametrize("few_files", [0, 256], ids=["syncfs", "fsync"])
    def test_without_attributes_all_is_private_and_times_stay(
        self, site: Site, tree: Root, few_files: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placing, "_FEW_FILES", few_files)
        before = {path: site.placed(path).stat().st_mtime_ns for path in CONTENTS}
        files = finish(tree, site.space.manifest, (), Finishing(site.space.manifest))
        for path in CONTENTS:
            assert mode_of(site.placed(path)) == (0o700 if path == "run.sh" else 0o600)
            assert site.placed(path).stat().st_mtime_ns == before[path]
        for directory in ("", "shards", "shards/deep"):
            assert mode_of(site.placed(directory)) == 0o700
        assert all(files)

    @pytest.mark.parametrize("few_files", [0, 256], ids=["syncfs", "fsync"])
    def test_with_attributes_modes_and_times_come_back(
        self, site: Site, tree: Root, few_files: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placing, "_FEW_FILES", few_files)
        manifest, digest = site.space.manifest, Digest("00" * 32)
        paths = [*(unit.path for unit in manifest.units), "", "shards", "shards/deep"]
        modes = [0o444 if path == "config.json" else 0o750 for path in paths]
        document = encode_attributes(digest, modes, range(1, len(paths) + 1))
        attributes = decode_attributes(document, digest, manifest)
        files = finish(tree, manifest, (), Finishing(manifest, attributes))
        for number, path in enumerate(paths, start=1):
            facts = site.placed(path).stat()
            may_execute = path in {"", "run.sh", "shards", "shards/deep"}
            expected = 0o444 if path == "config.json" else 0o750 if may_execute else 0o640
            assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (expected, number), path
        for unit, file in zip(manifest.units, files, strict=True):
            assert file
            assert file.fingerprint == fingerprint_of(site.placed(unit.path).stat())

    def test_each_file_has_the_fingerprint_of_its_inode(self, site: Site, tree: Root) -> None:
        left_out = {site.unit("run.sh")}
        files = finish(tree, site.space.manifest, left_out, Finishing(site.space.manifest))
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
            finish(tree, site.space.manifest, (), Finishing(site.space.manifest))

    def test_a_few_files_and_their_directories_are_synced_each(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        monkeypatch.setattr(
            os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        )
        finish(tree, site.space.manifest, (), Finishing(site.space.manifest))
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
        finish(tree, site.space.manifest, (), Finishing(site.space.manifest))
        assert bool(wholes) is is_whole
