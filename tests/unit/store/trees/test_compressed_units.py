"""Units that are kept compressed where a recovery puts a version right, or takes blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import CkptdError
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.layout import compressed
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.staging.area import Staging
from ckptd.store.trees.standing_files import KnownPlace, OnDisk, StandingFiles, blocks_at, look
from tests.support.compressing import COPIED_CONTENTS, compressed_bytes, spoil
from tests.support.stagings import TARGET, Site, go_on
from tests.support.standing import known
from tests.support.stores import open_descriptors

MODEL = "model"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, COPIED_CONTENTS)
    yield made
    made.close()


def stand(site: Site, target: str = TARGET, without: tuple[str, ...] = ()) -> KnownPlace:
    """Let a copy stand at a place of which the model is kept compressed."""
    for path, content in site.contents.items():
        file = site.path / target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if path not in (MODEL, *without):
            file.write_bytes(content)
    number = site.unit(MODEL)
    unit, content = site.space.manifest.units[number], site.contents[MODEL]
    grain_bytes = unit.block_size_bytes
    blocks = [content[at : at + grain_bytes] for at in range(0, len(content), grain_bytes)]
    (site.path / compressed(f"{target}/{MODEL}")).write_bytes(compressed_bytes(blocks))
    place = known(site, target)
    files = place.files.copied()
    files[number] = recorded(site, target)
    return replace(place, files=files, number=5)


def recorded(site: Site, target: str = TARGET) -> UnitFile:
    """Return what is recorded of the model as it stands now."""
    facts = (site.path / compressed(f"{target}/{MODEL}")).stat()
    return UnitFile(fingerprint_of(facts), plain_bytes=len(site.contents[MODEL]))


def seen(site: Site, place: KnownPlace) -> StandingFiles:
    before = open_descriptors()
    found = look(site.root, TARGET, site.space, place, check=go_on)
    assert open_descriptors() == before
    assert found is not None
    return found


class TestLooking:
    def test_it_stands_as_it_is_recorded_and_is_not_read(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        monkeypatch.setattr("ckptd.store.trees.compressed_units.CompressedFile", None)
        found = seen(site, place)
        assert found.is_untouched
        assert found.files == place.files

    @pytest.mark.parametrize("is_doubted", [False, True])
    def test_what_looks_different_and_is_right_is_to_be_recorded(
        self, site: Site, *, is_doubted: bool
    ) -> None:
        place = stand(site)
        if is_doubted:  # as a recovery does that repairs
            place = replace(place, changed=frozenset(range(len(place.files))))
        else:
            site.placed("model.zst").touch()
        found = seen(site, place)
        assert (found.is_right, found.is_recorded) == (True, False)
        assert found.files[site.unit(MODEL)] == recorded(site)

    @pytest.mark.parametrize("wrong", ["rotten", "cut off", "gone", "a directory"])
    def test_what_is_wrong_comes_again_as_it_is(self, site: Site, wrong: str) -> None:
        place, path = stand(site), site.placed("model.zst")
        match wrong:
            case "rotten":
                spoil(path, 1000)
            case "cut off":
                path.write_bytes(path.read_bytes()[:-1])
            case "gone":
                path.unlink()
            case _:
                path.unlink()
                path.mkdir()
        found = seen(site, place)
        assert set(found.wrong) == {site.unit(MODEL)}
        wanted = found.wrong[site.unit(MODEL)]
        assert (wanted.path, wanted.fingerprint) == (f"{TARGET}/{MODEL}", None)
        assert not wanted.is_touched
        assert set(found.files.absent()) == {site.unit(MODEL)}

    def test_looking_can_be_interrupted(self, site: Site) -> None:
        place = stand(site)
        site.placed("model.zst").touch()

        def stop() -> None:
            raise CkptdError("recovery", "is wanted no more")

        with pytest.raises(CkptdError, match="no more"):
            look(site.root, TARGET, site.space, place, check=stop)


class TestTaking:
    def test_blocks_are_taken_decoded(self, site: Site) -> None:
        place = stand(site, "copy")
        found = list(blocks_at(place, site.space, site.everything))
        assert [block.is_compressed for block in found] == [
            block.wanted.unit == site.unit(MODEL) for block in found
        ]
        staging = prepared(site, OnDisk(elsewhere=(place,)))
        assert site.take_nearby(staging) == site.everything
        assert site.staged(MODEL).read_bytes() == site.contents[MODEL]

    @pytest.mark.parametrize("wrong", ["rotten", "cut off"])
    def test_what_is_wrong_is_not_taken_and_nothing_else_is_lost(
        self, site: Site, wrong: str
    ) -> None:
        place = stand(site, "copy")
        path = site.path / "copy/model.zst"
        if wrong == "rotten":
            spoil(path, 1000)
        else:
            path.write_bytes(path.read_bytes()[:-1])
        taken = site.take_nearby(prepared(site, OnDisk(elsewhere=(place,))))
        model = site.blocks_of(MODEL)
        first = BlockSet.single(next(iter(model)))
        assert site.everything - taken == (first if wrong == "rotten" else model)


def prepared(site: Site, here: OnDisk) -> Staging:
    staging = site.staging()
    staging.prepare(BlockSet(), here=here)
    return staging


class TestGrowing:
    """A copy that is to have more units: those that it has stay as they are."""

    def test_what_is_missing_comes_beside_it(self, site: Site) -> None:
        place = stand(site, without=("sub/noise",))
        staging = site.staging()
        right = staging.prepare(BlockSet(), here=OnDisk(at_target=place))
        noise = site.blocks_of("sub/noise")
        assert right == site.everything - noise
        staging.served.add(right)  # as where units appear phase by phase
        assert b"".join(read(site, staging)) == site.contents[MODEL]
        site.deliver(staging, noise)
        files = staging.place(BlockSet())
        assert isinstance(files, UnitFiles)
        assert files.compressed() == [site.unit(MODEL)]
        assert files.is_whole
        assert files[site.unit(MODEL)] == recorded(site)
        assert site.placed("sub/noise").read_bytes() == site.contents["sub/noise"]
        assert not site.placed(MODEL).exists()
        assert b"".join(read(site, staging)) == site.contents[MODEL]

    def test_one_that_rotted_comes_again_and_stands_as_it_is(self, site: Site) -> None:
        place = stand(site)
        spoil(site.placed("model.zst"), 1000)
        staging = site.staging()
        right = staging.prepare(BlockSet(), here=OnDisk(at_target=place))
        model = site.blocks_of(MODEL)
        assert right == site.everything - model
        site.deliver(staging, model)
        files = staging.place(BlockSet())
        assert files.compressed() == []
        assert files.is_whole
        assert site.placed(MODEL).read_bytes() == site.contents[MODEL]


def read(site: Site, staging: Staging) -> Iterator[bytes]:
    """Read the model as it is served to others meanwhile."""
    start, end = map(site.space.block_start, site.space.unit_run(site.unit(MODEL)))
    assert end - start > MIB
    for piece in staging.served.pieces(start, end):
        assert piece.data is not None
        yield bytes(piece.data)
