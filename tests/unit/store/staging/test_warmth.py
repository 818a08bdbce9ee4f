from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.roots import Root
from ckptd.store.staging import warmth
from ckptd.store.staging.block_files import Writing
from ckptd.store.staging.warmth import WarmBlocks, Warmth, drop_files
from tests.support.mounts import needs_disk, tmpfs
from tests.support.page_cache import pages_in_memory
from tests.support.scheduling import saved
from tests.support.stagings import NOTHING, Site, content_of

A, B, C = RecoveryId("r-a"), RecoveryId("r-b"), RecoveryId("r-c")
VERSION = saved(4, 2, critical=(2, 3), deferred=(1,)).space
OTHER = saved(4, 2, critical=(2, 3), deferred=(1,), checkpoint="llama/other").space
"""Critical units of 2 and 3 MiB, normal ones of 4 and 2, a deferred one of 1."""


def begin(known: Warmth, recovery: RecoveryId, space: AddressSpace = VERSION) -> WarmBlocks:
    return known.begin(recovery, space, BlockSet.full(space.block_count))


def units(warm: WarmBlocks, space: AddressSpace = VERSION) -> list[int]:
    """Which units stay."""
    kept = space.units_of(warm.kept)
    assert warm.kept == BlockSet(map(space.unit_run, kept)), "units stay whole"
    assert warm.size_bytes == space.set_bytes(warm.kept)
    return list(kept)


def place(known: Warmth, warm: WarmBlocks, number: int) -> None:
    assert not known.place(warm, BlockSet())
    warm.place = number


@pytest.mark.parametrize(
    ("bound_mib", "kept"),
    [
        (12, [0, 1, 2, 3, 4]),
        (11, [0, 1, 2, 3]),
        (10, [0, 1, 2, 4]),
        (8, [0, 1, 3, 4]),
        (5, [0, 1]),
        (4, [0, 3]),
        (1, [4]),
        (0, []),
    ],
)
def test_urgent_units_stay_first_and_then_whatever_fits(bound_mib: int, kept: list[int]) -> None:
    assert units(begin(Warmth(bound_mib * MIB), A)) == kept


def test_without_a_bound_everything_stays() -> None:
    assert units(begin(Warmth(), A)) == [0, 1, 2, 3, 4]


def test_critical_units_of_all_recoveries_go_before_others_and_newer_ones_first() -> None:
    known = Warmth(13 * MIB)
    first = begin(known, A)
    assert units(first) == [0, 1, 2, 3, 4]
    second = begin(known, B)
    assert (units(first), units(second)) == ([0, 1], [0, 1, 3, 4]), "3 MiB were left for others"
    assert VERSION.units_of(first.lost) == (2, 3, 4)
    assert not second.lost, "nothing of it was written yet"


def test_a_recovery_that_begins_again_takes_the_place_of_what_it_kept() -> None:
    known = Warmth(12 * MIB)
    begin(known, A)
    assert units(begin(known, A)) == [0, 1, 2, 3, 4]


def test_a_recovery_that_is_to_bring_more_keeps_that_too_but_nothing_that_it_dropped() -> None:
    known = Warmth(13 * MIB)
    later = BlockSet([VERSION.unit_run(1), VERSION.unit_run(4)])
    warm = known.begin(A, VERSION, BlockSet.full(VERSION.block_count) - later)
    other = begin(known, B, OTHER)
    assert (units(warm), units(other)) == ([0], [0, 1, 2, 3])
    known.end(B)
    known.widen(warm, later)
    assert (units(warm), VERSION.units_of(warm.lost)) == ([0, 1, 4], (2, 3))


def test_what_ended_leaves_room() -> None:
    known = Warmth(12 * MIB)
    begin(known, A)
    known.end(A)
    known.end(C)
    assert units(begin(known, B)) == [0, 1, 2, 3, 4]


def test_what_was_dropped_once_does_not_count_again() -> None:
    known = Warmth(12 * MIB)
    first = begin(known, A)
    begin(known, B)
    assert units(first) == [0, 1]
    known.end(B)
    begin(known, C, saved(1).space)
    assert units(first) == [0, 1]


def test_what_gave_way_on_the_way_is_dropped_when_it_is_placed() -> None:
    known = Warmth(13 * MIB)
    first = begin(known, A)
    begin(known, B)
    missing = BlockSet([VERSION.unit_run(0), VERSION.unit_run(3)])
    assert VERSION.units_of(known.place(first, missing)) == (2, 4)
    assert (first.size_bytes, VERSION.units_of(first.kept)) == (3 * MIB, (1,))


def test_what_was_placed_counts_while_the_catalog_has_it() -> None:
    known = Warmth()
    for number, recovery in enumerate((A, B, C)):
        warm = begin(known, recovery)
        if recovery != B:
            place(known, warm, number)
    assert known.count(lambda _: True) == 24 * MIB, "B is under way, A not in the catalog yet"
    assert known.count(lambda number: number != 2) == 12 * MIB
    assert known.count(lambda _: True) == 12 * MIB


def test_what_was_placed_gives_way_to_what_is_newer() -> None:
    known = Warmth(12 * MIB)
    old = begin(known, A)
    place(known, old, 7)
    assert not known.cut()
    new = begin(known, B, OTHER)
    assert units(new) == [0, 1, 3]
    assert [warm.place for warm in known.cut()] == [7]
    assert old.size_bytes == 5 * MIB, "known at once, though nothing was chosen yet"
    assert VERSION.units_of(known.settle(old, VERSION)) == (2, 3, 4)
    assert units(old) == [0, 1]
    assert not known.cut()


def test_what_was_placed_of_a_checkpoint_goes_when_it_is_recovered_again() -> None:
    known = Warmth(14 * MIB)
    place(known, old := begin(known, A), 7)
    place(known, other := begin(known, B, OTHER), 8)
    new = begin(known, C)
    assert (units(new), other.size_bytes, old.size_bytes) == ([0, 1, 2], 5 * MIB, 0)


def test_what_is_not_in_the_catalog_yet_is_not_cut() -> None:
    known = Warmth(5 * MIB)
    place(known, old := begin(known, A), 0)
    begin(known, B)
    assert not known.cut()
    old.place = 3
    assert known.cut() == [old]


def test_of_so_many_placed_recoveries_it_is_known_what_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warmth, "_PLACED_MAX", 1)
    known = Warmth()
    place(known, begin(known, A), 1)
    place(known, begin(known, B), 2)
    assert [warm.place for warm in known.cut()] == [1]
    assert known.count(lambda _: True) == 12 * MIB


CONTENTS = {
    "config.json": content_of(5 * KIB, seed=1),
    "model.bin": content_of(2 * MIB, seed=2),
    "optimizer.bin": content_of(3 * MIB, seed=3),
    "step": content_of(4 * KIB, seed=4),
}


def warm_site(path: Path) -> Site:
    needs_disk(path)
    return Site(path, CONTENTS, critical=("config.json", "model.bin"))


def in_memory(site: Site, target: str = "llama/100") -> dict[str, int]:
    """How many pages of each file the page cache has. It reads nothing ahead: all was written."""
    return {name: pages_in_memory(site.path / target / name) for name in CONTENTS}


def pages(*names: str) -> dict[str, int]:
    return {
        name: -(-len(data) // mmap.PAGESIZE) if name in names else 0
        for name, data in CONTENTS.items()
    }


def bring(site: Site, known: Warmth, name: str = "llama/100") -> None:
    staging = site.staging(f"r-{name[-3:]}", name, Writing(warmth=known))
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    staging.place(NOTHING)
    staging.close()


@pytest.mark.parametrize(
    ("bound_bytes", "kept"),
    [
        (0, ()),
        (2 * MIB + 5 * KIB, ("config.json", "model.bin")),
        (2 * MIB + 9 * KIB, ("config.json", "model.bin", "step")),
        (16 * MIB, tuple(CONTENTS)),
    ],
)
def test_a_placed_version_is_in_memory_as_far_as_it_was_kept(
    tmp_path: Path, bound_bytes: int, kept: tuple[str, ...]
) -> None:
    """Each was also read back, to be hashed as a whole."""
    site = warm_site(tmp_path)
    bring(site, Warmth(bound_bytes))
    assert in_memory(site) == pages(*kept)
    site.close()


def test_what_is_not_kept_leaves_memory_after_it_was_hashed_again(tmp_path: Path) -> None:
    site, known = warm_site(tmp_path), Warmth(2 * MIB + 5 * KIB)
    staging = site.staging("r-1", "llama/100", Writing(warmth=Warmth()))
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    staging.close()
    staging = site.staging("r-1", "llama/100", Writing(warmth=known))
    assert staging.prepare(site.everything) == site.everything
    staging.place(NOTHING)
    assert in_memory(site) == pages("config.json", "model.bin")
    site.close()


def test_what_gives_way_while_it_comes_leaves_memory_when_it_is_placed(tmp_path: Path) -> None:
    site, known = warm_site(tmp_path), Warmth(6 * MIB)
    staging = site.staging("r-1", "llama/100", Writing(warmth=known))
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    begin(known, B, saved(critical=(6,)).space)
    staging.place(NOTHING)
    assert in_memory(site) == pages()
    site.close()


def test_files_leave_memory_and_what_cannot_be_opened_is_passed_over(tmp_path: Path) -> None:
    site = warm_site(tmp_path)
    bring(site, Warmth())
    (site.path / "llama/100/link").symlink_to("model.bin")
    drop_files(site.root, [f"llama/100/{name}" for name in ("gone", "link", "optimizer.bin")])
    assert in_memory(site) == pages("config.json", "model.bin", "step")
    site.close()


def test_a_file_system_in_memory_keeps_its_files(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "memory") as path:
        (path / "file").write_bytes(content_of(MIB, seed=1))
        root = Root.open("data", str(path))
        drop_files(root, ["file"])
        root.close()
        assert pages_in_memory(path / "file") == MIB // mmap.PAGESIZE


def test_every_class_is_counted() -> None:
    assert len(WarmBlocks.none(A, VERSION).sizes) == len(Criticality)
