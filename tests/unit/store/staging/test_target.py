"""What stands where a version belongs is known, and what is put there is known from then on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import Conflict, StagingLost
from ckptd.model.blocks import BlockSet
from ckptd.store.trees.standing_files import OnDisk
from tests.support.phases import PHASED_CONTENTS, describing, phased_manifest
from tests.support.stagings import NOTHING, Site
from tests.support.standing import known


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, PHASED_CONTENTS, manifest=phased_manifest())
    yield made
    made.close()


def paths(site: Site, units: list[int]) -> list[str]:
    return [site.space.manifest.units[unit].path for unit in units]


def first_phase(site: Site) -> BlockSet:
    return site.blocks_of("model/a.bin", "model/b.bin")


def test_where_nothing_stands_all_is_absent(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    target = staging.target
    assert (target.stands, target.is_untouched, target.files) == (False, False, None)
    assert target.units == frozenset()
    order = target.units_to_place((), 0)
    assert paths(site, order) == ["model/b.bin", "model/a.bin", "model/empty"]
    assert target.absent(order) == order


def test_what_was_put_stands_and_is_placed_no_more(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, first_phase(site))
    missing = site.everything - first_phase(site)
    assert staging.place_phase(missing, 0, describing(site.space.manifest)).obstacle is None
    target = staging.target
    assert (target.stands, target.is_begun, target.is_untouched) == (True, True, False)
    assert target.files is not None
    assert target.files.file_count == len(target.units) == 3
    assert target.units_to_place((), 0) == []
    assert paths(site, target.absent(target.units_to_place((), 1))) == ["serving/tokenizer.json"]


def test_what_is_left_out_is_not_placed(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    unit = staging.target.units_to_place((), 0)[0]
    assert paths(site, staging.target.units_to_place({unit}, 0)) == ["model/a.bin", "model/empty"]


def test_what_was_put_and_is_gone_is_missed(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, first_phase(site))
    staging.place_phase(site.everything - first_phase(site), 0, describing(site.space.manifest))
    staging.target.check_still_there(site.root)
    site.placed("model/b.bin").unlink()
    with pytest.raises(StagingLost):
        staging.target.check_still_there(site.root)


def test_what_somebody_changed_is_refused_unless_it_was_begun(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    staging.place(NOTHING)
    staging.close()
    here = OnDisk(known(site))
    site.placed("model/b.bin").write_bytes(b"mine")
    with pytest.raises(Conflict):
        site.staging().prepare(NOTHING, here)
    again = site.staging()
    again.prepare(NOTHING, here, is_begun=True)
    assert again.target.stands
    order = again.target.units_to_place((), 0)
    assert paths(site, order) == ["model/b.bin"]
    assert again.target.absent(order) == []
