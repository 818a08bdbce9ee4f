"""Units hashed as a whole, in the background and at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import ContradictoryManifest, StagingLost, VerificationFailed
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.roots import Root
from ckptd.store.files.uncached_reading import UncachedReading
from ckptd.store.trees import unit_hashing
from ckptd.store.trees.unit_hashing import UnitHashing
from tests.support.manifests import make_manifest
from tests.support.stagings import Site, content_of, go_on
from tests.support.stores import open_descriptors

CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "shards/1.bin": content_of(MIB, seed=1),
    "shards/deep/2.bin": content_of(300 * KIB, seed=2),
    "shards/deep/3.bin": content_of(1200 * KIB, seed=3),
}


def with_digest(manifest: Manifest, path: str, digest: bytes) -> Manifest:
    units = (
        msgspec.structs.replace(unit, digest=digest) if unit.path == path else unit
        for unit in manifest.units
    )
    return msgspec.structs.replace(manifest, units=tuple(units))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    manifest = make_manifest(CONTENTS, critical=["shards/1.bin", "empty"])
    made = Site(tmp_path, CONTENTS, manifest=manifest)
    for path, content in CONTENTS.items():
        file = made.placed(path)
        file.parent.mkdir(0o700, parents=True, exist_ok=True)
        file.write_bytes(content)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    made = Root.open("version", str(site.placed()))
    yield made
    made.close()


def hashing(tree: Root, manifest: Manifest, *, check: Callable[[], None] = go_on) -> UnitHashing:
    return UnitHashing(tree, AddressSpace(manifest), check=check)


def committed(made: UnitHashing, space: AddressSpace, *runs: tuple[int, int]) -> None:
    """Note some blocks, as a commit does, and wait until they were hashed as far as possible."""
    blocks = BlockSet(runs)
    made.note(blocks, space.units_of(blocks))


class Reading:
    """Counts the pieces that are read, and waits for some number of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, timeout=60)


class TestCriticalUnits:
    def test_right_ones_pass(self, site: Site, tree: Root) -> None:
        hashing(tree, site.space.manifest).finish(())

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
            hashing(tree, site.space.manifest).finish(())
        hashing(tree, site.space.manifest).finish({site.unit("shards/1.bin")})

    def test_none_is_left_open(self, site: Site, tree: Root) -> None:
        before = open_descriptors()
        hashing(tree, site.space.manifest).finish(())
        os.truncate(site.placed("shards/1.bin"), 1)
        with pytest.raises(VerificationFailed):
            hashing(tree, site.space.manifest).finish(())
        assert open_descriptors() == before

    def test_others_are_not_read(self, site: Site, tree: Root) -> None:
        site.placed("config.json").write_bytes(b"!!")
        hashing(tree, site.space.manifest).finish(())


class TestUnitsOfSeveralBlocks:
    PATH = "shards/deep/2.bin"
    """Two blocks, not critical."""

    def test_one_whose_digest_is_not_that_of_its_blocks_is_the_manifests_fault(
        self, site: Site, tree: Root
    ) -> None:
        manifest = with_digest(site.space.manifest, self.PATH, bytes(32))
        with pytest.raises(ContradictoryManifest, match="publish the version again"):
            hashing(tree, manifest).finish(())
        hashing(tree, manifest).finish({site.unit(self.PATH)})

    def test_one_that_is_proven_is_not_read_unless_it_is_critical(
        self, site: Site, tree: Root
    ) -> None:
        site.placed(self.PATH).write_bytes(bytes(300 * KIB))
        asked: list[int] = []

        def is_proven(unit: int) -> bool:
            asked.append(unit)
            return unit == site.unit(self.PATH)

        made = UnitHashing(tree, site.space, check=go_on, is_proven=is_proven)
        committed(made, site.space, site.space.unit_run(site.unit(self.PATH)))
        made.finish(())
        assert site.unit(self.PATH) in asked
        site.placed("shards/1.bin").write_bytes(bytes(MIB))
        made = UnitHashing(tree, site.space, check=go_on, is_proven=lambda _: True)
        with pytest.raises(VerificationFailed, match="critical"):
            made.finish(())

    def test_what_is_not_in_memory_is_read_past_the_page_cache(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = "shards/deep/3.bin"  # five blocks
        first, end = site.space.unit_run(site.unit(path))
        cold = BlockSet([(first + 1, first + 3), (end - 1, end)])
        asked: list[tuple[int, int]] = []

        class Noted(UncachedReading):
            def read_exactly(self, offset: int, size_bytes: int, buffer: memoryview) -> memoryview:
                asked.append((offset, size_bytes))
                return super().read_exactly(offset, size_bytes, buffer)

        monkeypatch.setattr(unit_hashing, "UncachedReading", Noted)
        reading = Reading()
        made = UnitHashing(tree, site.space, check=reading, cold=lambda: cold)
        committed(made, site.space, (first, end - 1))
        reading.wait(3)
        made.finish(set(range(len(CONTENTS))) - {site.unit(path)})
        places = [each for run in cold.runs() for each in site.space.places(run)]
        assert sum(size for _, size in asked) == sum(each.size_bytes for each in places)
        assert {offset for offset, _ in asked} == {places[0].offset, places[2].offset}
        site.placed(path).write_bytes(bytes(1200 * KIB))
        with pytest.raises(VerificationFailed):
            hashing(tree, site.space.manifest).finish(())

    def test_a_critical_one_is_the_manifests_fault_as_well(self, site: Site, tree: Root) -> None:
        manifest = with_digest(site.space.manifest, "shards/1.bin", bytes(32))
        with pytest.raises(ContradictoryManifest):
            hashing(tree, manifest).finish(())

    def test_one_that_the_disk_changed_is_the_disks_fault(self, site: Site, tree: Root) -> None:
        site.placed(self.PATH).write_bytes(bytes(300 * KIB))
        for manifest in (
            site.space.manifest,
            with_digest(site.space.manifest, self.PATH, bytes(32)),
        ):
            with pytest.raises(VerificationFailed, match=r"normal unit 'shards/deep/2\.bin'"):
                hashing(tree, manifest).finish(())

    def test_somebody_who_gives_up_ends_it(self, site: Site, tree: Root) -> None:
        def give_up() -> None:
            raise KeyError

        before = open_descriptors()
        with pytest.raises(KeyError):
            hashing(tree, site.space.manifest, check=give_up).finish(())
        assert open_descriptors() == before


class TestFollowing:
    """``shards/deep/3.bin`` has five blocks, read in two pieces."""

    def test_a_unit_that_came_is_hashed_and_not_read_again(self, site: Site, tree: Root) -> None:
        space, reading = site.space, Reading()
        made = hashing(tree, space.manifest, check=reading)
        unit = site.unit("shards/deep/3.bin")
        start, end = space.unit_run(unit)
        committed(made, space, (start, start + 2))
        reading.wait(1)
        committed(made, space, (start + 2, end))
        reading.wait(2)
        made.end()
        site.placed("shards/deep/3.bin").write_bytes(b"")
        made.finish({site.unit("shards/deep/2.bin")})

    def test_without_a_thread_it_is_hashed_at_the_end(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        space, reading = site.space, Reading()
        made = hashing(tree, space.manifest, check=reading)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            committed(made, space, space.unit_run(site.unit("shards/deep/3.bin")))
        made.finish(())
        reading.wait(2)

    def test_what_comes_behind_a_gap_waits_for_it(self, site: Site, tree: Root) -> None:
        space, reading = site.space, Reading()
        made = hashing(tree, space.manifest, check=reading)
        start, end = space.unit_run(site.unit("shards/deep/3.bin"))
        committed(made, space, (start + 1, end))
        committed(made, space, (start, start + 1))
        reading.wait(2)
        made.finish(())

    def test_what_was_begun_goes_on_at_the_end(self, site: Site, tree: Root) -> None:
        space, reading = site.space, Reading()
        made = hashing(tree, space.manifest, check=reading)
        start, _ = space.unit_run(site.unit("shards/deep/3.bin"))
        committed(made, space, (start, start + 4))
        reading.wait(1)
        made.end()
        with site.placed("shards/deep/3.bin").open("r+b") as file:
            file.write(b"?")  # it was read already
        made.finish(())
        assert made._right >= {site.unit("shards/deep/3.bin")}

    @pytest.mark.parametrize("path", ["config.json", "shards/1.bin"])
    def test_units_of_one_block_and_critical_ones_are_not_followed(
        self, site: Site, tree: Root, path: str
    ) -> None:
        made = hashing(tree, site.space.manifest)
        committed(made, site.space, site.space.unit_run(site.unit(path)))
        assert made._thread is None
        made.end()

    def test_a_contradiction_is_reported_at_the_end(self, site: Site, tree: Root) -> None:
        manifest = with_digest(site.space.manifest, "shards/deep/3.bin", bytes(32))
        space, reading = AddressSpace(manifest), Reading()
        made = hashing(tree, manifest, check=reading)
        committed(made, space, space.unit_run(site.unit("shards/deep/3.bin")))
        reading.wait(2)
        for _ in range(2):
            with pytest.raises(ContradictoryManifest):
                made.finish(())

    def test_a_file_that_is_swept_is_reported_at_the_end(self, site: Site, tree: Root) -> None:
        space = site.space
        made = hashing(tree, space.manifest)
        site.placed("shards/deep/3.bin").unlink()
        committed(made, space, space.unit_run(site.unit("shards/deep/3.bin")))
        committed(made, space, space.unit_run(site.unit("shards/deep/2.bin")))
        with pytest.raises(StagingLost):
            made.finish(())

    def test_who_waits_for_a_unit_takes_it_over_and_the_others_go_on(
        self, site: Site, tree: Root
    ) -> None:
        space, is_reading, may_go_on = site.space, threading.Event(), threading.Event()

        def check() -> None:
            if threading.current_thread().name == "ckptd-units":
                is_reading.set()
                assert may_go_on.wait(20)

        made = hashing(tree, space.manifest, check=check)
        waited_for, other = site.unit("shards/deep/3.bin"), site.unit("shards/deep/2.bin")
        committed(made, space, space.unit_run(waited_for))
        assert is_reading.wait(20)
        taking = threading.Thread(target=made.finish_some, args=([waited_for],))
        taking.start()
        while waited_for not in made._taken:
            taking.join(0.001)
        may_go_on.set()
        taking.join()
        assert waited_for in made._right
        committed(made, space, space.unit_run(other))
        made.finish_some([other])
        assert made._right >= {waited_for, other}
        made.end()

    def test_it_ends_in_the_middle_of_a_unit(self, site: Site, tree: Root) -> None:
        space, is_reading, may_go_on = site.space, threading.Event(), threading.Event()

        def check() -> None:
            is_reading.set()
            assert may_go_on.wait(20)

        before = open_descriptors()
        made = hashing(tree, space.manifest, check=check)
        committed(made, space, space.unit_run(site.unit("shards/deep/3.bin")))
        assert is_reading.wait(20)
        ending = threading.Thread(target=made.end)
        ending.start()
        may_go_on.set()
        ending.join()
        committed(made, space, space.unit_run(site.unit("shards/deep/2.bin")))
        assert made._thread is None
        assert open_descriptors() == before
