"""What marks a directory that lacks required units, and when it appears and goes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.manifest import OPTIONAL_FLAG, Manifest
from ckptd.store.trees import partial_marker
from ckptd.store.trees.partial_marker import describe_partial
from ckptd.store.trees.standing_files import OnDisk
from tests.support.manifests import make_manifest
from tests.support.stagings import NOTHING, SHARD_CONTENTS, TARGET, Site

DIGEST = Digest("0a" * 32)
MARKER = b'{"missing": 1}\n'
NAME = ".ckptd-partial.json"
DEEP = "shards/deep/2.bin"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHARD_CONTENTS, critical=["shards/1.bin"])
    yield made
    made.close()


def manifest(*optional: str) -> Manifest:
    made = make_manifest({"a": b"aa", "b": b"b", "c": b""})
    units = tuple(
        msgspec.structs.replace(unit, flags=(OPTIONAL_FLAG,) if unit.path in optional else ())
        for unit in made.units
    )
    return msgspec.structs.replace(made, units=units)


def test_it_says_what_is_missing_of_what() -> None:
    said = json.loads(describe_partial(manifest("b"), DIGEST, [1, 0], at_s=1.5))
    assert said.pop("what").startswith("This directory lacks required units")
    assert said == {
        "is_by_choice": False,
        "checkpoint": "llama/rank-0",
        "version": 100,
        "digest": DIGEST,
        "placed_at": "1970-01-01T00:00:01+00:00",
        "missing_units": 2,
        "missing_bytes": 3,
        "missing": [
            {"path": "a", "size_bytes": 2, "is_optional": False},
            {"path": "b", "size_bytes": 1, "is_optional": True},
        ],
    }


def test_it_says_that_nobody_asked_for_what_is_missing() -> None:
    said = json.loads(describe_partial(manifest(), DIGEST, [1], at_s=1.5, is_by_choice=True))
    assert said["what"].startswith("This directory has only units that were chosen of the version")
    assert said["is_by_choice"]


@pytest.mark.parametrize("left_out", [(), (0,), (0, 1)])
def test_without_optional_units_a_version_is_not_partial(left_out: tuple[int, ...]) -> None:
    assert describe_partial(manifest("a", "b"), DIGEST, left_out, at_s=1.5) == b""


def test_very_many_missing_units_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_marker, "LISTED_MAX", 1)
    said = json.loads(describe_partial(manifest(), DIGEST, [0, 1], at_s=1.5))
    assert (said["missing_units"], said["missing_bytes"], len(said["missing"])) == (2, 3, 1)


def place_partial(site: Site, *, marker: bytes = MARKER) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    missing = site.blocks_of(DEEP)
    site.deliver(staging, site.everything - missing)
    assert not site.placed(NAME).exists()
    staging.place(missing, marker)
    assert staging.place(missing, marker), "again, after the catalog refused"
    staging.close()


def test_it_appears_with_the_directory(site: Site) -> None:
    place_partial(site)
    assert site.placed(NAME).read_bytes() == MARKER
    assert site.placed(NAME).stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(site.placed())) == [NAME, "config.json", "empty", "shards"]


def test_what_is_not_partial_has_none(site: Site) -> None:
    place_partial(site, marker=b"")
    assert not site.placed(NAME).exists()


def test_it_goes_when_the_version_is_completed_where_it_stands(site: Site) -> None:
    """The target was renamed, and the catalog does not know it: the daemon was killed between."""
    place_partial(site)
    staging = site.staging("r-2")
    here = staging.prepare(NOTHING)
    assert here == site.everything - site.blocks_of(DEEP)
    site.deliver(staging, site.blocks_of(DEEP))
    assert site.placed(NAME).exists()
    staging.place(NOTHING)
    assert site.files() == site.version()


def test_it_is_replaced_when_less_is_missing(site: Site) -> None:
    place_partial(site)
    os.unlink(site.placed("config.json"))
    staging = site.staging("r-2")
    staging.prepare(NOTHING)
    site.deliver(staging, site.blocks_of("config.json"))
    staging.place(site.blocks_of(DEEP), b"less\n")
    assert site.placed(NAME).read_bytes() == b"less\n"
    assert site.placed("config.json").read_bytes() == SHARD_CONTENTS["config.json"]
    assert not site.staged().exists()


def test_it_goes_if_a_run_was_interrupted_just_before(site: Site) -> None:
    place_partial(site)
    site.placed("shards/deep").mkdir()
    site.placed(DEEP).write_bytes(SHARD_CONTENTS[DEEP])
    staging = site.staging("r-2")
    assert staging.prepare(NOTHING, OnDisk()) == site.everything
    staging.place(NOTHING)
    assert not site.placed(NAME).exists()


def test_one_of_an_interrupted_run_is_no_part_of_the_next(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    site.staged(NAME).write_bytes(b"old")
    staging.close()
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.everything)
    staging.place(BlockSet())
    assert site.files() == site.version()


def test_a_marker_that_was_swept_is_missed(site: Site) -> None:
    staging = site.staging()
    staging.prepare(NOTHING)
    with pytest.raises(NotFound):
        partial_marker.move_marker(site.root, site.root, TARGET)
