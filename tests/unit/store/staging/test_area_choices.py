"""What is not wanted of a version has no file in its staging, until it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace, StagingLost
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from tests.support.mounts import tmpfs
from tests.support.stagings import NOTHING, TARGET, Site, content_of

GRAIN = 256 * KIB
CONTENTS = {
    "config.json": b"{}",
    "model/1.bin": content_of(MIB, seed=1),
    "optim/1.bin": content_of(MIB, seed=2) + bytes(4 * GRAIN),
    "optim/deep/2.bin": content_of(3 * GRAIN, seed=3),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS)
    yield made
    made.close()


def without(site: Site, *paths: str) -> dict[str, bytes]:
    absent = {f"{TARGET}/{path}" for path in paths}
    return {path: content for path, content in site.version().items() if path not in absent}


OPTIM = ("optim/1.bin", "optim/deep/2.bin")


def test_what_is_not_wanted_is_neither_staged_nor_placed(site: Site) -> None:
    unchosen, staging = site.blocks_of(*OPTIM), site.staging()
    assert staging.prepare(NOTHING, unchosen=unchosen) == NOTHING, "zeros of it are none here"
    assert not site.staged("optim/1.bin").exists()
    site.deliver(staging, site.everything - unchosen)
    files = staging.place(unchosen)
    assert site.files() == without(site, *OPTIM)
    assert not site.placed("optim").exists()
    assert len(list(files.absent())) == 2


def test_room_is_made_for_what_is_wanted_later(site: Site) -> None:
    unchosen, staging = site.blocks_of(*OPTIM), site.staging()
    staging.prepare(NOTHING, unchosen=unchosen)
    site.deliver(staging, site.blocks_of("config.json"))
    more = site.blocks_of("optim/1.bin")
    zeros = staging.widen(more)
    assert len(zeros) == 4
    assert staging.served.blocks == site.blocks_of("config.json") | zeros
    assert site.staged("optim/1.bin").stat().st_size == len(CONTENTS["optim/1.bin"])
    assert staging.widen(more) == zeros, "again"
    site.deliver(staging, more - zeros)
    site.deliver(staging, site.blocks_of("model/1.bin"))
    staging.place(site.blocks_of("optim/deep/2.bin"))
    assert site.files() == without(site, "optim/deep/2.bin")


def test_what_is_wanted_of_a_unit_in_part_gives_it_a_file(site: Site) -> None:
    whole, staging = site.blocks_of("optim/1.bin"), site.staging()
    first = min(whole)
    staging.prepare(NOTHING, unchosen=site.everything - BlockSet([(first, first + 1)]))
    site.deliver(staging, BlockSet([(first, first + 1)]))
    zeros = staging.widen(whole)
    site.deliver(staging, whole - zeros - BlockSet([(first, first + 1)]))
    staging.place(site.everything - whole)
    assert set(site.files()) == {f"{TARGET}/optim/1.bin"}


def test_a_version_is_completed_where_it_stands_in_part(site: Site) -> None:
    unchosen, staging = site.blocks_of(*OPTIM), site.staging()
    staging.prepare(NOTHING, unchosen=unchosen)
    site.deliver(staging, site.everything - unchosen)
    staging.place(unchosen)
    staging.close()
    before = site.placed("model/1.bin").stat().st_ino
    second = site.staging("r-2")
    here = second.prepare(NOTHING)
    assert (site.everything - unchosen).issubset(here)
    site.deliver(second, unchosen - here)
    second.place(NOTHING)
    assert site.files() == site.version()
    assert site.placed("model/1.bin").stat().st_ino == before


def test_what_stands_already_of_what_is_wanted_is_untouched(site: Site) -> None:
    unchosen, staging = site.blocks_of(*OPTIM), site.staging()
    staging.prepare(NOTHING, unchosen=unchosen)
    site.deliver(staging, site.everything - unchosen)
    staging.place(unchosen)
    staging.close()
    second = site.staging("r-2")
    assert second.prepare(NOTHING, unchosen=unchosen) == site.everything - unchosen
    assert not second.is_placed, "more may be wanted before it is"
    second.place(unchosen)
    assert site.files() == without(site, *OPTIM)


def test_what_somebody_put_where_nothing_is_wanted_is_in_nobodys_way(site: Site) -> None:
    unchosen, staging = site.blocks_of(*OPTIM), site.staging()
    staging.prepare(NOTHING, unchosen=unchosen)
    site.deliver(staging, site.everything - unchosen)
    staging.place(unchosen)
    staging.close()
    site.placed("optim").mkdir()
    site.placed("optim/1.bin").write_bytes(b"mine")
    second = site.staging("r-2")
    second.prepare(NOTHING, unchosen=unchosen)
    second.place(unchosen)
    assert site.placed("optim/1.bin").read_bytes() == b"mine"


def test_what_does_not_fit_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    with tmpfs(tmp_path, "size=3m") as path:
        site = Site(path, CONTENTS | {"optim/1.bin": content_of(3 * MIB, seed=5)})
        unchosen, staging = site.blocks_of(*OPTIM), site.staging()
        staging.prepare(NOTHING, unchosen=unchosen)
        with pytest.raises(OutOfSpace):
            staging.widen(unchosen)
        assert not site.staged("optim/1.bin").exists()
        site.deliver(staging, site.everything - unchosen)
        staging.place(unchosen)
        assert site.files() == without(site, *OPTIM)
        site.close()


def test_what_was_removed_is_not_widened(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING, unchosen=site.blocks_of(*OPTIM))
    site.root.remove_tree(".ckptd/r-1")
    with pytest.raises(StagingLost):
        staging.widen(site.blocks_of("optim/1.bin"))
