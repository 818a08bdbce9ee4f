"""Units appear phase by phase, in order and complete, while later ones still travel."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ckptd.errors import Conflict, StagingLost, VerificationFailed
from ckptd.model.attributes import decode_attributes, encode_attributes
from ckptd.model.blocks import BlockSet, union
from ckptd.store.staging.area import Staging
from ckptd.store.staging.phases import AllBut, placing_order, units_upto
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.standing_files import OnDisk
from tests.support.killing import Killed, kill_at
from tests.support.phases import (
    DIGEST,
    PHASED_CONTENTS,
    check_visible,
    describing,
    phased_manifest,
    visible,
)
from tests.support.stagings import NOTHING, TARGET, Site
from tests.support.standing import known
from tests.support.stores import bytes_of

DIRECTORIES = ("", "model", "optim", "serving")
CORE = {"model/a.bin", "model/b.bin", "model/empty"}
SERVING = {"serving/tokenizer.json"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, PHASED_CONTENTS, manifest=phased_manifest())
    yield made
    made.close()


def of_phase(site: Site, phase: int) -> BlockSet:
    paths = [unit.path for unit in site.space.manifest.units if unit.phase == phase]
    return site.blocks_of(*(path for path in paths if PHASED_CONTENTS[path]))


def place_phase(site: Site, staging: Staging, phase: int) -> Conflict | None:
    """Place a phase of which everything is here; return what is in the way."""
    missing = union(of_phase(site, later) for later in range(max(phase + 1, 0), 3))
    placed = staging.place_phase(missing, phase, describing(site.space.manifest))
    return placed.obstacle


def looks(site: Site) -> Finishing:
    """Return modes and times that are not those of what is made just now."""
    manifest = site.space.manifest
    paths = [*(unit.path for unit in manifest.units), *DIRECTORIES]
    modes = [0o640 if path in PHASED_CONTENTS else 0o750 for path in paths]
    document = encode_attributes(DIGEST, modes, range(1, len(paths) + 1))
    return Finishing(manifest, decode_attributes(document, DIGEST, manifest))


def begin_placing(site: Site, staging: Staging) -> None:
    """Let there be the directory and the state file, and no unit yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ckptd.store.staging.target.replace_files", Killed.happen)
        with pytest.raises(Killed):
            place_phase(site, staging, 0)
    site.placed("model").rmdir()


def state(site: Site) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(site.placed(".ckptd-state.json").read_bytes())
    return found


def finish(site: Site, staging: Staging) -> None:
    said = describing(site.space.manifest)(lambda _: True, 3, is_under_way=False)
    staging.place(NOTHING, state=said)
    staging.close()


def run(
    site: Site, staging: Staging, *, is_begun: bool = False, here: OnDisk | None = None
) -> None:
    """Recover from whatever is here to the end."""
    journaled = site.everything if is_begun else NOTHING
    found = staging.prepare(journaled, here or OnDisk(), is_begun=is_begun)
    staging.finishing = looks(site)
    for phase in range(2):
        site.deliver(staging, of_phase(site, phase) - found)
        assert place_phase(site, staging, phase) is None
    site.deliver(staging, of_phase(site, 2) - found)
    finish(site, staging)


class TestOrder:
    def test_prerequisites_phases_and_commit_markers(self, site: Site) -> None:
        manifest = site.space.manifest
        before, last = placing_order(manifest, range(len(manifest.units)))
        paths = [manifest.units[unit].path for unit in before]
        assert paths == [
            "model/b.bin",
            "model/a.bin",
            "model/empty",
            "serving/tokenizer.json",
            "optim/c.bin",
        ]
        assert [manifest.units[unit].path for unit in last] == [".metadata"]

    def test_units_up_to_a_phase(self, site: Site) -> None:
        manifest = site.space.manifest
        paths = {manifest.units[unit].path for unit in units_upto(manifest, 1)}
        assert paths == CORE | SERVING | {".metadata"}

    def test_all_but_some(self) -> None:
        assert [unit for unit in range(4) if unit in AllBut([1, 3])] == [0, 2]


class TestPlacing:
    def test_each_phase_appears_while_the_next_one_travels(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        assert not site.placed().exists()
        assert place_phase(site, staging, 0) is None
        assert visible(site.placed()) == CORE
        check_visible(site.placed())
        assert state(site)["phases"] == [
            {"name": "core", "complete": True, "units": 4, "units_placed": 3},
            {"name": "serving", "complete": False, "units": 1, "units_placed": 0},
            {"name": "rest", "complete": False, "units": 1, "units_placed": 0},
        ]
        assert (state(site)["complete"], state(site)["under_way"]) == (False, True)
        site.deliver(staging, of_phase(site, 1))
        assert place_phase(site, staging, 1) is None
        assert visible(site.placed()) == CORE | SERVING
        site.deliver(staging, of_phase(site, 2))
        finish(site, staging)
        assert visible(site.placed()) == set(PHASED_CONTENTS)
        assert (state(site)["complete"], state(site)["under_way"]) == (True, False)
        assert os.listdir(site.path) == ["llama"]
        assert staging.target.replaced == 0

    def test_it_looks_in_the_end_as_if_it_had_appeared_at_once(
        self, site: Site, tmp_path: Path
    ) -> None:
        run(site, site.staging())
        (tmp_path / "other").mkdir()
        at_once = Site(tmp_path / "other", PHASED_CONTENTS, manifest=phased_manifest())
        staging = at_once.staging()
        staging.prepare(NOTHING)
        staging.finishing = looks(at_once)
        at_once.deliver(staging, at_once.everything)
        staging.place(NOTHING)
        modes = [_modes(each.placed()) for each in (site, at_once)]
        assert modes[0].pop(".ckptd-state.json")[0] == 0o644
        assert modes[0] == modes[1]
        at_once.close()

    def test_fingerprints_are_those_of_the_files_as_they_stand(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        placed = staging.place_phase(
            of_phase(site, 1) | of_phase(site, 2), 0, describing(site.space.manifest)
        )
        recorded = known(site).files
        assert placed.files == {unit: recorded[unit] for unit in recorded.units()}
        unit = site.unit("model/a.bin")
        assert staging.path_of(unit) == f"{TARGET}/model/a.bin"

    def test_units_with_missing_blocks_stay_behind(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        missing = site.blocks_of("model/a.bin") | of_phase(site, 1) | of_phase(site, 2)
        site.deliver(staging, site.everything - missing)
        staging.place_phase(missing, 0, describing(site.space.manifest))
        assert visible(site.placed()) == {"model/b.bin", "model/empty"}
        assert '"complete": true' not in site.placed(".ckptd-state.json").read_text()

    def test_what_was_placed_is_served_from_where_it_stands(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        place_phase(site, staging, 0)
        start = site.space.block_start(next(iter(site.blocks_of("model/a.bin"))))
        pieces = staging.served.pieces(start, start + 1000)
        assert b"".join(map(bytes_of, pieces)) == PHASED_CONTENTS["model/a.bin"][:1000]

    def test_a_disk_that_lies_is_noticed_before_anything_appears(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        with site.staged("model/a.bin").open("r+b") as file:
            file.truncate(5)
        with pytest.raises(VerificationFailed, match=r"model/a\.bin"):
            place_phase(site, staging, 0)
        assert not site.placed().exists()

    def test_swept_staging_is_lost(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        site.staged("model/a.bin").unlink()
        with pytest.raises(StagingLost):
            place_phase(site, staging, 0)

    def test_what_was_placed_and_is_gone_is_fetched_again(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        place_phase(site, staging, 0)
        site.deliver(staging, site.everything - of_phase(site, 0))
        site.placed("model/a.bin").unlink()
        with pytest.raises(StagingLost, match=r"model/a\.bin"):
            finish(site, staging)
        assert ".metadata" not in visible(site.placed())
        staging.close()
        run(site, site.staging(), is_begun=True, here=OnDisk(known(site)))
        assert visible(site.placed()) == set(PHASED_CONTENTS)


class TestForeignFiles:
    """What is in the way holds a phase; it is named and never replaced."""

    @pytest.mark.parametrize("path", ["model/a.bin", "model", "", ".ckptd-state.json"])
    def test_a_foreign_file_is_named_and_stays(self, site: Site, path: str) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0) | of_phase(site, 1))
        foreign = site.placed(path)
        if path:
            begin_placing(site, staging)
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.unlink(missing_ok=True)
        foreign.write_bytes(b"mine")
        for _ in range(2):
            obstacle = place_phase(site, staging, 0)
            assert str(foreign.resolve()) in str(obstacle)
            assert foreign.read_bytes() == b"mine"
        foreign.unlink()
        assert place_phase(site, staging, 0) is None
        assert place_phase(site, staging, 1) is None
        site.deliver(staging, of_phase(site, 2))
        finish(site, staging)
        assert visible(site.placed()) == set(PHASED_CONTENTS)

    def test_what_lies_in_a_target_that_was_empty_is_named(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        site.placed("").mkdir(parents=True)
        site.placed("notes.txt").write_bytes(b"mine")
        obstacle = place_phase(site, staging, 0)
        assert obstacle is not None
        assert obstacle.subject == f"file {site.placed('notes.txt').resolve()}"

    def test_nothing_behind_it_appears_before_it(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0) | of_phase(site, 1))
        begin_placing(site, staging)
        site.placed("model/b.bin").parent.mkdir()
        site.placed("model/b.bin").write_bytes(b"mine")
        assert place_phase(site, staging, 1) is not None
        assert visible(site.placed()) == {"model/b.bin"}

    def test_after_a_restart_it_is_still_in_the_way_and_no_failure(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, of_phase(site, 0))
        place_phase(site, staging, 0)
        place = known(site)
        staging.close()
        site.placed("model/a.bin").unlink()
        site.placed("model/a.bin").write_bytes(b"mine")
        again = site.staging()
        found = again.prepare(site.everything, OnDisk(place), is_begun=True)
        site.deliver(again, site.everything - found)
        assert place_phase(site, again, 0) is not None
        with pytest.raises(Conflict, match=r"model/a\.bin"):
            finish(site, again)
        assert site.placed("model/a.bin").read_bytes() == b"mine"
        site.placed("model/a.bin").unlink()
        assert place_phase(site, again, 0) is None
        assert place_phase(site, again, 1) is None
        finish(site, again)
        assert visible(site.placed()) == set(PHASED_CONTENTS)


class TestKilledAnywhere:
    """At whatever call to the kernel a process ends: all is in order, and the next one goes on."""

    CALLS = (
        "rename_noreplace",
        "rename_replacing",
        "remove_tree",
        "remove_directory",
        "make_directory",
        "make_directories",
        "create_file",
    )

    @pytest.mark.parametrize("first", range(6))
    def test_every_step_leaves_order_and_the_next_run_ends_the_same(
        self, tmp_path: Path, first: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, was_killed = first + 1, True
        while was_killed:
            path = tmp_path / str(calls)
            path.mkdir()
            is_recorded = calls // 6 % 3 == 0  # what was placed is in the catalog
            was_killed = self._play(path, calls, monkeypatch, is_recorded=is_recorded)
            calls += 6
        assert calls > 60, "there are more steps than that"

    def _play(
        self, path: Path, calls: int, monkeypatch: pytest.MonkeyPatch, *, is_recorded: bool
    ) -> bool:
        site = Site(path, PHASED_CONTENTS, manifest=phased_manifest())
        (path / "llama").mkdir()
        foreign = path / "llama" / "mine"
        foreign.write_bytes(b"mine")
        staging = site.staging()
        staging.prepare(NOTHING)
        staging.finishing = looks(site)
        was_killed = False
        with monkeypatch.context() as killing:
            killed = kill_at(killing, calls, self.CALLS, ("fsync", "fchmod"))
            try:
                for phase in range(2):
                    site.deliver(staging, of_phase(site, phase))
                    place_phase(site, staging, phase)
                site.deliver(staging, of_phase(site, 2))
                finish(site, staging)
            except Killed:
                was_killed = True
            assert killed() is was_killed
        with contextlib.suppress(Exception):
            staging.close()
        check_visible(site.placed())
        place = known(site) if is_recorded and site.placed().exists() else None
        run(site, site.staging(), is_begun=True, here=OnDisk(place))
        check_visible(site.placed())
        assert foreign.read_bytes() == b"mine"
        files = site.files()
        assert set(files) == {
            *site.version(),
            f"{TARGET}/.ckptd-state.json",
            "llama/mine",
        }
        found = _modes(site.placed())
        del found[".ckptd-state.json"]
        expected = looks(site)
        for unit, of_unit in enumerate(site.space.manifest.units):
            assert found.pop(of_unit.path) == tuple(expected.of_unit(unit)), of_unit.path
        assert found == {path: tuple(expected.of_directory(path)) for path in DIRECTORIES}
        site.close()
        return was_killed


def _modes(directory: Path) -> dict[str, tuple[int, int]]:
    """Return mode and time of all that is in a directory, and of itself."""
    found = {}
    for above, _, files in os.walk(directory):
        for path in (Path(above), *(Path(above, name) for name in files)):
            facts = path.stat()
            name = "" if path == directory else str(path.relative_to(directory))
            found[name] = (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
    return found
