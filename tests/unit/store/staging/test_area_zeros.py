"""Blocks of zeros: here from the start, never written, never room for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.staging.area import Staging
from ckptd.store.trees.standing_files import OnDisk
from tests.support.mounts import ext4, tmpfs
from tests.support.stagings import NOTHING, Site, content_of

GRAIN = 256 * KIB
CONTENTS = {
    "config.json": b"{}",
    "zeros.bin": bytes(2 * MIB + 7),
    "mixed.bin": content_of(MIB, seed=1) + bytes(2 * MIB) + content_of(GRAIN, seed=2),
    "tail.bin": content_of(MIB, seed=3) + bytes(5 * GRAIN + 100),
    "small.bin": bytes(9),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS, critical=["mixed.bin"])
    yield made
    made.close()


def zeros_of(site: Site) -> BlockSet:
    found = BlockSet()
    for path, first, end in (("zeros.bin", 0, 9), ("mixed.bin", 4, 12), ("tail.bin", 4, 10)):
        start = min(site.blocks_of(path))
        found |= BlockSet([(start + first, start + end)])
    return found


def allocated_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def place_the_rest(site: Site, staging: Staging, here: BlockSet) -> None:
    site.deliver(staging, site.everything - here)
    staging.place(NOTHING)
    assert site.files() == site.version()


def test_zeros_are_here_from_the_start_and_stay_holes(site: Site) -> None:
    zeros, staging = zeros_of(site), site.staging()
    assert staging.prepare(NOTHING) == staging.zeros == staging.local == zeros
    assert staging.served.blocks == zeros
    assert staging.nearby.blocks == NOTHING
    place_the_rest(site, staging, zeros)
    assert allocated_bytes(site.placed("zeros.bin")) == 0
    assert allocated_bytes(site.placed("mixed.bin")) <= MIB + GRAIN + 64 * KIB
    assert allocated_bytes(site.placed("tail.bin")) <= MIB + 64 * KIB


def test_what_comes_nevertheless_is_not_written(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    start = min(site.blocks_of("zeros.bin"))
    assert site.deliver_run(staging, start, start + 8) == ()
    assert allocated_bytes(site.staged("zeros.bin")) == 0


@pytest.mark.parametrize("delivered", [0, 1, 3, 7])
def test_a_run_that_was_interrupted_goes_on(site: Site, delivered: int) -> None:
    zeros, first = zeros_of(site), site.staging()
    first.prepare(NOTHING)
    journaled = BlockSet((block, block + 1) for block in list(site.everything - zeros)[:delivered])
    site.deliver(first, journaled)
    first.close()
    second = site.staging()
    assert second.prepare(journaled) == zeros | journaled
    assert (second.zeros, second.local) == (zeros, zeros)
    place_the_rest(site, second, zeros | journaled)


def test_one_that_is_swept_begins_again(site: Site) -> None:
    first = site.staging()
    first.prepare(NOTHING)
    first.close()
    os.unlink(site.staged("zeros.bin"))
    os.truncate(site.staged("mixed.bin"), MIB)
    second = site.staging()
    assert second.prepare(NOTHING) == zeros_of(site)
    place_the_rest(site, second, zeros_of(site))


def test_what_is_not_zeros_on_the_disk_comes_from_a_source(site: Site) -> None:
    first = site.staging()
    first.prepare(NOTHING)
    first.close()
    with site.staged("zeros.bin").open("r+b") as file:
        file.seek(GRAIN + 5)
        file.write(b"!")
    wrong = BlockSet.single(min(site.blocks_of("zeros.bin")) + 1)
    second = site.staging()
    assert second.prepare(NOTHING) == second.zeros == zeros_of(site) - wrong
    place_the_rest(site, second, second.zeros)


def test_a_file_that_is_put_right_gets_its_holes(site: Site) -> None:
    first = site.staging()
    place_the_rest(site, first, first.prepare(NOTHING))
    site.placed("zeros.bin").write_bytes(b"else")
    site.placed("mixed.bin").unlink()
    second = site.staging("r-2")
    here = OnDisk(is_overwriting=True)
    found = second.prepare(NOTHING, here)
    assert second.zeros == zeros_of(site) & site.blocks_of("zeros.bin", "mixed.bin")
    assert found == site.everything - (site.blocks_of("mixed.bin") - zeros_of(site))
    site.deliver(second, site.everything - found)
    second.place(NOTHING)
    for path, content in CONTENTS.items():
        assert site.placed(path).read_bytes() == content
    assert allocated_bytes(site.placed("zeros.bin")) == 0


def test_units_of_zeros_may_be_left_out(site: Site) -> None:
    staging = site.staging()
    here = staging.prepare(NOTHING)
    missing = site.blocks_of("config.json")
    site.deliver(staging, site.everything - here - missing)
    staging.place(missing)
    assert site.placed("zeros.bin").exists()
    assert not site.placed("config.json").exists()


def test_room_is_needed_for_the_rest_only(tmp_path: Path) -> None:
    contents = {"a": content_of(2 * MIB) + bytes(62 * MIB) + content_of(2 * MIB, seed=1)}
    with tmpfs(tmp_path / "small", "size=8m") as path:
        site = Site(path, contents)
        staging = site.staging()
        here = staging.prepare(NOTHING)
        assert staging.promised_bytes == 4 * MIB
        place_the_rest(site, staging, here)
        with pytest.raises(OutOfSpace, match=r"needs 5 MiB and has 4 MiB free"):
            site.staging("r-2", "other").prepare(NOTHING)
        site.close()


def test_room_is_reserved_for_the_rest_only(tmp_path: Path) -> None:
    contents = {"a": content_of(2 * MIB) + bytes(126 * MIB) + content_of(2 * MIB, seed=1)}
    with ext4(tmp_path / "disk", size_bytes=64 * MIB) as path:
        site = Site(path, contents)
        staging = site.staging()
        here = staging.prepare(NOTHING)
        assert staging.promised_bytes == 0
        assert 4 * MIB <= allocated_bytes(site.staged("a")) <= 5 * MIB
        place_the_rest(site, staging, here)
        assert allocated_bytes(site.placed("a")) <= 5 * MIB
        site.close()


def test_of_very_many_stretches_the_room_is_only_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.store.staging.preparing._STRETCHES_MAX", 1)
    staging = site.staging()
    here = staging.prepare(NOTHING)
    assert staging.promised_bytes >= MIB + GRAIN
    place_the_rest(site, staging, here)
