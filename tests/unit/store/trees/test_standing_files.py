"""What stands at a target, compared with what is to stand there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import CkptdError, Conflict, ContradictoryManifest
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees import standing_files as standing_module
from ckptd.store.trees.leftovers import matching
from ckptd.store.trees.standing_files import KnownPlace, StandingFiles, blocks_at, look
from tests.support.stagings import NOTHING, SHARD_CONTENTS, TARGET, Site, go_on
from tests.support.standing import flip, known, stand
from tests.support.stores import open_descriptors


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHARD_CONTENTS, critical=["shards/1.bin"])
    yield made
    made.close()


def seen(site: Site, place: KnownPlace | None = None) -> StandingFiles:
    found = look(site.root, TARGET, site.space, place, check=go_on)
    assert found is not None
    return found


def units(site: Site, *paths: str) -> set[int]:
    return {site.unit(path) for path in paths}


class TestContradictions:
    """Of a version that stands where nobody recorded it."""

    PATH = "shards/deep/2.bin"
    """Three blocks."""

    def contradictory(self, site: Site) -> AddressSpace:
        manifest = site.space.manifest
        units = [
            msgspec.structs.replace(unit, digest=bytes(32)) if unit.path == self.PATH else unit
            for unit in manifest.units
        ]
        return AddressSpace(msgspec.structs.replace(manifest, units=tuple(units)))

    def test_a_unit_whose_digest_is_not_that_of_its_blocks_is_not_taken_over(
        self, site: Site
    ) -> None:
        stand(site)
        with pytest.raises(ContradictoryManifest):
            look(site.root, TARGET, self.contradictory(site), None, check=go_on)

    def test_of_what_was_recorded_it_was_seen_before(self, site: Site) -> None:
        place = stand(site)
        os.utime(site.placed(self.PATH), (1, 1))
        assert look(site.root, TARGET, self.contradictory(site), place, check=go_on)

    def test_one_that_is_wrong_contradicts_nothing(self, site: Site) -> None:
        stand(site)
        flip(site.placed(self.PATH))
        found = look(site.root, TARGET, self.contradictory(site), None, check=go_on)
        assert found is not None
        assert set(found.wrong) == {site.unit(self.PATH)}


class TestNothing:
    def test_a_target_that_is_absent_or_empty_is_free(self, site: Site) -> None:
        assert look(site.root, TARGET, site.space, None, check=go_on) is None
        site.placed().mkdir(parents=True)
        assert look(site.root, TARGET, site.space, None, check=go_on) is None

    @pytest.mark.parametrize("what", ["file", "link", "other files"])
    def test_what_is_not_the_version_is_refused(self, site: Site, what: str) -> None:
        stand(site, "elsewhere")
        site.placed().parent.mkdir()
        match what:
            case "file":
                site.placed().touch()
            case "link":
                site.placed().symlink_to(site.path / "elsewhere")
            case _:
                site.placed("notes").mkdir(parents=True)
        with pytest.raises(Conflict, match=r"llama/100: exists already"):
            look(site.root, TARGET, site.space, None, check=go_on)

    def test_the_root_itself_is_no_target_unless_the_version_is_known_to_stand_there(
        self, site: Site
    ) -> None:
        place = stand(site, "")
        with pytest.raises(Conflict):
            look(site.root, "", site.space, None, check=go_on)
        found = look(site.root, "", site.space, place, check=go_on)
        assert found is not None
        assert found.is_untouched


class TestWhatIsRight:
    def test_files_as_recorded_are_not_read(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        monkeypatch.setattr(standing_module, "matching", None)
        found = seen(site, place)
        assert found.is_untouched
        assert found.files == place.files
        assert found.right_of(site.space) == site.everything

    @pytest.mark.parametrize(
        "touch",
        [
            lambda path: os.utime(path, ns=(1, 1)),
            lambda path: path.chmod(0o600),
            lambda path: path.write_bytes(path.read_bytes()),
        ],
        ids=["times", "mode", "the same bytes"],
    )
    def test_other_metadata_is_hashed_and_right(
        self, site: Site, touch: Callable[[Path], object]
    ) -> None:
        place = stand(site)
        touch(site.placed("config.json"))
        found = seen(site, place)
        assert not found.wrong
        unit = site.unit("config.json")
        assert found.files[unit] == known(site).files[unit] != place.files[unit]

    def test_new_fingerprints_are_to_be_recorded(self, site: Site) -> None:
        place = stand(site)
        os.utime(site.placed("config.json"), ns=(1, 1))
        assert not seen(site, place).is_untouched

    def test_a_directory_that_the_catalog_does_not_know_is_hashed(self, site: Site) -> None:
        stand(site)
        site.placed("notes.txt").touch()
        found = seen(site)
        assert not found.wrong
        assert not found.is_recorded

    def test_only_what_is_in_doubt_is_read(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place, read = stand(site), NOTHING

        def note(*args: object, **named: object) -> BlockSet:
            nonlocal read
            read |= args[2]  # type: ignore[operator]
            return matching(*args, **named)  # type: ignore[arg-type]

        os.utime(site.placed("shards/deep/2.bin"), ns=(1, 1))
        monkeypatch.setattr(standing_module, "matching", note)
        seen(site, place)
        assert read == site.blocks_of("shards/deep/2.bin")


class TestWhatIsWrong:
    def test_rot_may_be_replaced(self, site: Site) -> None:
        stand(site)
        flip(site.placed("shards/1.bin"), 300 * KIB)
        place = replace(known(site), changed=frozenset(units(site, "shards/1.bin")))
        found = seen(site, place)
        assert set(found.wrong) == units(site, "shards/1.bin")
        [wrong] = found.wrong.values()
        assert not wrong.is_touched
        assert found.right_blocks == site.blocks_of("shards/1.bin") - BlockSet.single(1)
        found.check_replaceable(site.root, TARGET, is_overwriting=False)

    def test_a_missing_file_may_be_made(self, site: Site) -> None:
        place = stand(site)
        site.placed("shards/1.bin").unlink()
        found = seen(site, place)
        [wrong] = found.wrong.values()
        assert (wrong.path, wrong.fingerprint) == (f"{TARGET}/shards/1.bin", None)
        found.check_replaceable(site.root, TARGET, is_overwriting=False)

    @pytest.mark.parametrize("is_known", [True, False])
    def test_what_somebody_changed_is_replaced_only_on_demand(
        self, site: Site, *, is_known: bool
    ) -> None:
        place = stand(site)
        flip(site.placed("shards/1.bin"))
        found = seen(site, place if is_known else None)
        with pytest.raises(
            Conflict, match=r"'llama/100/shards/1\.bin' differs .* changed it.*--overwrite"
        ):
            found.check_replaceable(site.root, TARGET, is_overwriting=False)
        found.check_replaceable(site.root, TARGET, is_overwriting=True)

    @pytest.mark.parametrize("size_bytes", [0, MIB, 4 * MIB])
    def test_a_file_of_another_length_is_wrong(self, site: Site, size_bytes: int) -> None:
        place = stand(site)
        os.truncate(site.placed("shards/1.bin"), size_bytes)
        found = seen(site, place)
        assert set(found.wrong) == units(site, "shards/1.bin")
        full, rest = divmod(min(size_bytes, 3 * MIB + 1), 256 * KIB)
        assert len(found.right_blocks) == full + (1 if rest else 0)

    def test_an_empty_unit_with_content_is_wrong(self, site: Site) -> None:
        place = stand(site)
        site.placed("empty").write_bytes(b"!")
        assert set(seen(site, place).wrong) == units(site, "empty")

    def test_a_link_in_the_place_of_a_file_is_wrong_and_not_followed(self, site: Site) -> None:
        place = stand(site)
        site.placed("config.json").rename(site.path / "config.json")
        site.placed("config.json").symlink_to(site.path / "config.json")
        found = seen(site, place)
        [wrong] = found.wrong.values()
        assert wrong.is_touched

    def test_many_that_were_changed_are_not_all_named(self, site: Site) -> None:
        place = stand(site)
        for path in site.contents:
            site.placed(path).write_bytes(b"!!!")
        with pytest.raises(Conflict, match="and 1 more differ"):
            seen(site, place).check_replaceable(site.root, TARGET, is_overwriting=False)

    def test_a_file_that_is_being_written_to_is_no_answer(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        flip(site.placed("shards/1.bin"))

        def write_meanwhile(*args: object, **named: object) -> BlockSet:
            flip(site.placed("shards/1.bin"))
            return matching(*args, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(standing_module, "matching", write_meanwhile)
        with pytest.raises(Conflict, match="changed while it was looked at"):
            look(site.root, TARGET, site.space, place, check=go_on)

    def test_looking_can_be_interrupted(self, site: Site) -> None:
        stand(site)

        def stop() -> None:
            raise CkptdError("recovery", "was interrupted")

        with pytest.raises(CkptdError, match="interrupted"):
            look(site.root, TARGET, site.space, None, check=stop)

    def test_no_descriptor_is_left_open(self, site: Site) -> None:
        stand(site)
        before = open_descriptors()
        seen(site)
        assert open_descriptors() == before


class TestOtherPlaces:
    def test_a_place_offers_what_was_recorded_there(self, site: Site) -> None:
        stand(site, "copy")
        (site.path / "copy/config.json").unlink()
        place = known(site, "copy")
        files = [*place.files]
        file = files[site.unit("shards/deep/2.bin")]
        assert file
        files[site.unit("shards/deep/2.bin")] = file._replace(link_target="blobs/1")
        offered = list(
            blocks_at(replace(place, files=UnitFiles(files)), site.space, site.everything)
        )
        assert {block.path for block in offered} == {"copy/shards/1.bin", "blobs/1"}
        assert BlockSet(
            (block.wanted.block, block.wanted.block + 1) for block in offered
        ) == site.everything - site.blocks_of("config.json")
        assert all(block.offset == block.wanted.offset for block in offered)
