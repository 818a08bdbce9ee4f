"""What has to be here first of a version."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.manifest import Manifest, Unit, encode_manifest, urgency
from ckptd.model.minimal_set import MinimalSet, first_phase_blocks, minimal_set_of
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from tests.support.manifests import make_unit

CRITICAL, NORMAL, DEFERRED = Criticality


def unit(path: str, size: int, phase: int, criticality: Criticality = NORMAL) -> Unit:
    made = make_unit(path, b"x" * size)
    return msgspec.structs.replace(made, phase=phase, criticality=criticality)


def space_of(units: Sequence[Unit], *phases: str) -> AddressSpace:
    manifest = Manifest(
        format=1,
        checkpoint="c",
        version=1,
        phases=phases or ("all",),
        units=tuple(sorted(units, key=urgency)),
    )
    return AddressSpace(decode_manifest(encode_manifest(manifest)))


def test_it_is_the_first_phase_with_its_empty_units() -> None:
    units = [
        unit("config", 3, 0, CRITICAL),
        unit("empty", 0, 0),
        unit("weights", 5, 0),
        unit("optimizer", 7, 1, DEFERRED),
        unit("rng", 2, 1, CRITICAL),
    ]
    space = space_of(units, "core", "rest")
    assert minimal_set_of(space) == MinimalSet("core", 3, 8, 5, False, True)
    assert first_phase_blocks(space) == BlockSet([(0, 2)])


def test_without_phases_it_is_everything_and_nobody_said_what_is_first() -> None:
    space = space_of([unit("a", 3, 0), unit("b", 4, 0, DEFERRED)])
    found = minimal_set_of(space)
    assert found == MinimalSet("all", 2, 7, 0, True, False)
    assert not found.is_declared
    assert first_phase_blocks(space) == BlockSet([(0, 2)])


@pytest.mark.parametrize("size", [0, 3])
def test_critical_units_say_what_is_first_as_well(size: int) -> None:
    found = minimal_set_of(space_of([unit("a", size, 0, CRITICAL), unit("b", 4, 0)]))
    assert found is not None
    assert (found.is_everything, found.has_critical, found.is_declared) == (True, True, True)


def test_a_phase_without_units_is_none() -> None:
    space = space_of([unit("a", 3, 1), unit("b", 4, 2)], "core", "serving", "rest")
    assert minimal_set_of(space) == MinimalSet("serving", 1, 3, 0, False, False)


def test_of_nothing_there_is_none() -> None:
    space = space_of([])
    assert minimal_set_of(space) is None
    assert first_phase_blocks(space) == BlockSet()
    empty = space_of([unit("a", 0, 0)])
    assert first_phase_blocks(empty) == BlockSet()
    assert minimal_set_of(empty) == MinimalSet("all", 1, 0, 0, True, False)
