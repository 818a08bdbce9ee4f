"""The file beside the units that says how far a version is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import Conflict
from ckptd.store.files.roots import Root
from ckptd.store.files.version_state import PhaseState, VersionState, read_state
from ckptd.store.trees.state_file import (
    describe_state,
    note_ended,
    remove_state,
    replace_state,
)
from tests.support.phases import DIGEST, describing, phased_manifest

MANIFEST = phased_manifest()
CORE = {"model/a.bin", "model/b.bin", "model/empty"}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "v").mkdir()
    made = Root.open("data", str(tmp_path))
    yield made
    made.close()


def said_with(root: Root, *paths: str, phases: int, is_under_way: bool = True) -> VersionState:
    content = describe_state(
        MANIFEST,
        DIGEST,
        lambda unit: MANIFEST.units[unit].path in paths,
        phases,
        is_under_way=is_under_way,
    )
    replace_state(root, ".ckptd/r-1", "v", content)
    said = read_state(root, "v")
    assert said is not None
    return said


def test_a_phase_is_complete_without_its_commit_marker(root: Root) -> None:
    said = said_with(root, *CORE, phases=1)
    assert (said.format, said.checkpoint, said.version, said.digest) == (
        1,
        "llama/rank-0",
        100,
        DIGEST,
    )
    assert said.phases[0] == PhaseState("core", complete=True, units=4, units_placed=3)
    assert [phase.complete for phase in said.phases] == [True, False, False]
    assert (said.complete, said.under_way, said.units, said.units_placed) == (False, True, 6, 3)


def test_a_phase_is_not_complete_before_it_was_placed_or_without_a_unit(root: Root) -> None:
    assert not said_with(root, *CORE, phases=0).phases[0].complete
    assert not said_with(root, "model/a.bin", "model/empty", phases=1).phases[0].complete


def test_it_is_complete_only_with_its_commit_marker_and_at_the_end(root: Root) -> None:
    everything = [unit.path for unit in MANIFEST.units]
    assert said_with(root, *everything, phases=3, is_under_way=False).complete
    assert not said_with(root, *everything, phases=3).complete
    rest = [path for path in everything if path != ".metadata"]
    assert not said_with(root, *rest, phases=3, is_under_way=False).complete


@pytest.mark.parametrize("content", [b"mine", b"", b"{}", b'{"format": 2}'])
def test_what_ckptd_did_not_write_is_neither_read_nor_replaced(
    root: Root, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "v" / ".ckptd-state.json"
    file.write_bytes(content)
    assert read_state(root, "v") is None
    said = describing(MANIFEST)(lambda _: False, 0, is_under_way=True)
    with pytest.raises(Conflict, match=r"state\.json: is in the way"):
        replace_state(root, ".ckptd/r-1", "v", said)
    remove_state(root, "v")
    assert file.read_bytes() == content


def test_it_is_removed(root: Root, tmp_path: Path) -> None:
    remove_state(root, "v")
    said_with(root, phases=0)
    remove_state(root, "v")
    assert not list((tmp_path / "v").iterdir())


def test_that_nobody_brings_the_rest_is_said_and_nothing_else_changes(root: Root) -> None:
    note_ended(root, ".ckptd/r-1", "v")
    assert read_state(root, "v") is None
    before = said_with(root, *CORE, phases=1)
    note_ended(root, ".ckptd/r-1", "v")
    after = read_state(root, "v")
    assert after is not None
    assert (after.under_way, after.phases) == (False, before.phases)
