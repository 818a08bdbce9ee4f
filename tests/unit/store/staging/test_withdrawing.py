"""What a recovery placed that is given up goes, as far as it is still what was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.model.blocks import BlockSet
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.staging.withdrawing import withdraw_units
from tests.support.phases import DIGEST, PHASED_CONTENTS, describing, phased_manifest
from tests.support.stagings import TARGET, Site
from tests.support.standing import flip, known, stand


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, PHASED_CONTENTS, manifest=phased_manifest())
    stand(made)
    said = describing(made.space.manifest)(lambda _: True, 3, is_under_way=True)
    made.placed(".ckptd-state.json").write_bytes(said)
    yield made
    made.close()


def recorded(site: Site, files: UnitFiles | None = None) -> HashedDirectory:
    return HashedDirectory(
        "data", TARGET, site.space.manifest, b"", DIGEST, files or known(site).files
    )


def all_units(site: Site) -> range:
    return range(len(site.space.manifest.units))


def test_all_of_it_goes_with_its_directory(site: Site) -> None:
    gone = withdraw_units(site.root, recorded(site), all_units(site), with_directory=True)
    assert list(gone) == list(all_units(site))
    assert os.listdir(site.path / "llama") == []


def test_of_a_directory_that_was_there_before_only_units_go(site: Site) -> None:
    unit = site.unit("model/a.bin")
    gone = withdraw_units(site.root, recorded(site), [unit], with_directory=False)
    assert gone == BlockSet.single(unit)
    assert not site.placed("model/a.bin").exists()
    assert site.placed("model/b.bin").exists()
    assert site.placed(".ckptd-state.json").exists()


def test_what_somebody_changed_replaced_or_put_there_stays(site: Site) -> None:
    place = recorded(site)
    flip(site.placed("model/a.bin"))
    site.placed("optim/c.bin").unlink()
    site.placed("optim/c.bin").symlink_to("../model/b.bin")
    site.placed("serving/mine").write_bytes(b"mine")
    gone = withdraw_units(site.root, place, all_units(site), with_directory=True)
    left = {site.space.manifest.units[unit].path for unit in all_units(site) if unit not in gone}
    assert left == {"model/a.bin", "optim/c.bin"}
    assert {str(path.relative_to(site.placed())) for path in site.placed().rglob("*")} == {
        "model",
        "model/a.bin",
        "optim",
        "optim/c.bin",
        "serving",
        "serving/mine",
    }


def test_a_file_of_which_nothing_is_recorded_stays(site: Site) -> None:
    files = known(site).files.copied()
    files[site.unit("model/a.bin")] = None
    withdraw_units(site.root, recorded(site, files), all_units(site), with_directory=True)
    assert [path.name for path in site.placed().rglob("*")] == ["model", "a.bin"]


def test_what_is_gone_already_is_gone(site: Site) -> None:
    place = recorded(site)
    site.placed("model/a.bin").unlink()
    gone = withdraw_units(site.root, place, all_units(site), with_directory=True)
    assert list(gone) == list(all_units(site))
    assert not site.placed().exists()
    assert list(withdraw_units(site.root, place, all_units(site), with_directory=True))
