"""A version whose units belong to phases, and what may be seen of it while it is placed by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ckptd.limits import KIB
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest, urgency
from ckptd.store.trees.state_file import describe_state
from tests.support.manifests import make_manifest
from tests.support.stagings import content_of

PHASES = ("core", "serving", "rest")

PHASED_CONTENTS: Mapping[str, bytes] = {
    ".metadata": b"all is there",
    "model/a.bin": content_of(600 * KIB, seed=1),
    "model/b.bin": content_of(300 * KIB, seed=2),
    "model/empty": b"",
    "serving/tokenizer.json": b"{}",
    "optim/c.bin": content_of(700 * KIB, seed=3),
}
"""``.metadata`` is of the first phase, and a commit marker; ``a.bin`` comes after ``b.bin``."""

PHASE_OF = {
    ".metadata": 0,
    "model/a.bin": 0,
    "model/b.bin": 0,
    "model/empty": 0,
    "serving/tokenizer.json": 1,
    "optim/c.bin": 2,
}
DIGEST = Digest("12" * 32)


def phased_manifest(contents: Mapping[str, bytes] = PHASED_CONTENTS) -> Manifest:
    """Return a manifest of three phases."""
    plain = make_manifest(contents)
    units = sorted(
        (msgspec.structs.replace(unit, phase=PHASE_OF[unit.path]) for unit in plain.units),
        key=urgency,
    )
    paths = [unit.path for unit in units]
    after = {"model/a.bin": (paths.index("model/b.bin"),)}
    return msgspec.structs.replace(
        plain,
        phases=PHASES,
        units=tuple(
            msgspec.structs.replace(unit, after=after.get(unit.path, ())) for unit in units
        ),
    )


def describing(manifest: Manifest) -> Callable[..., bytes]:
    """Return what says how far a version is."""

    def describe(is_here: object, phases_placed: int, *, is_under_way: bool = True) -> bytes:
        assert callable(is_here)
        return describe_state(manifest, DIGEST, is_here, phases_placed, is_under_way=is_under_way)

    return describe


def visible(directory: Path) -> set[str]:
    """Return which units of the version stand in a directory."""
    return {path for path in PHASED_CONTENTS if (directory / path).exists()}


def check_visible(directory: Path) -> None:
    """Check that what stands there came in order, and is right.

    Raises:
        AssertionError: It is not.
    """
    there = visible(directory)
    plain = {path for path in PHASED_CONTENTS if path != ".metadata"}
    for path in there:
        assert (directory / path).read_bytes() == PHASED_CONTENTS[path], path
        before = {other for other in plain if PHASE_OF[other] < PHASE_OF[path]}
        assert path == ".metadata" or before <= there, f"{path} before {before - there}"
    assert "model/a.bin" not in there or "model/b.bin" in there
    assert ".metadata" not in there or plain <= there
    state = directory / ".ckptd-state.json"
    if state.exists():
        said = msgspec.json.decode(state.read_bytes())
        for phase in said["phases"]:
            of_phase = {each for each in plain if PHASES[PHASE_OF[each]] == phase["name"]}
            assert not phase["complete"] or of_phase <= there, phase
        assert not said["complete"] or there == set(PHASED_CONTENTS)
    elif there - {".metadata"}:
        raise AssertionError(f"nothing says how far {there} are")
