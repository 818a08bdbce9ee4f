"""The numbers of a plan."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ckptd.core.explain.prediction import Supply
from ckptd.daemon.answer.plan_figures import PlannedContent, figures_of
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, PathId, Version
from ckptd.model.minimal_set import MinimalSet
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees.equal_blocks import SimilarPlace
from ckptd.store.trees.standing_files import KnownPlace
from tests.support.manifests import make_manifest

SPACE = AddressSpace(
    make_manifest({"a": b"a" * 3, "b": b"b" * 5, "c": b"c" * 7}, critical=["b"], deferred=["c"])
)
"""In the order of its blocks: b, a, c."""


def holding(*blocks: int) -> Holding:
    return Holding(
        checkpoint=CheckpointName("c"),
        version=Version(1),
        digest=Digest("0" * 64),
        size_bytes=30,
        block_count=3,
        blocks=BlockSet((block, block + 1) for block in blocks),
        optional=BlockSet(),
    )


def content(
    space: AddressSpace | None, *, mine: Holding | None = None, offered: tuple[Holding, ...] = ()
) -> PlannedContent:
    supplies = [Supply(PathId("p"), each.blocks, 1.0) for each in offered]
    return PlannedContent(holding(0, 1, 2), space, mine, None, mine, offered, supplies)


def test_what_is_here_need_not_come_and_what_nobody_has_is_named() -> None:
    figures = figures_of(content(SPACE, mine=holding(1), offered=(holding(0),)))
    assert (figures.by_class and figures.by_class.critical) == 5
    assert (figures.local_bytes, figures.held_bytes, figures.needed_bytes) == (3, 3, 12)
    assert figures.copied_bytes == 3  # it does not stand at the target
    assert figures.offered_bytes == (5,)
    assert (figures.missing_blocks, figures.missing_required, figures.missing_critical) == (1, 1, 0)
    assert figures.missing_units == ("c",)
    assert figures.prediction.critical_ns == pytest.approx(5e9)
    assert figures.prediction.complete_ns is None


def test_of_some_units_everything_is_said_of_those() -> None:
    planned = content(SPACE, mine=holding(0), offered=(holding(1),))
    figures = figures_of(replace(planned, unchosen=BlockSet([(0, 1)])))
    assert (figures.size_bytes, figures.units) == (10, 2)
    assert figures.by_class is not None
    assert (figures.by_class.critical, figures.by_class.deferred) == (0, 7)
    assert (figures.local_bytes, figures.needed_bytes) == (0, 10)
    assert (figures.missing_blocks, figures.missing_units) == (1, ("c",))


def test_what_other_versions_here_have_need_not_come_either(tmp_path: Path) -> None:
    older = AddressSpace(make_manifest({"a": b"a" * 3, "old": b"c" * 7}))
    files = UnitFiles([UnitFile(Fingerprint(0, 0, 0, 0, 0))] * 2)
    with closing(Root.open("main", str(tmp_path))) as root:
        place = SimilarPlace(KnownPlace(root, "99", files), older)
        planned = content(SPACE, offered=(holding(0, 1, 2),))
        figures = figures_of(replace(planned, similar=(place,)))
        assert figures.similar_bytes == (10,)
        assert (figures.local_bytes, figures.copied_bytes, figures.needed_bytes) == (10, 10, 5)
        alone = figures_of(replace(planned, offered=[], similar=(place,)))
        assert alone.missing_units == ("b",)


def test_without_a_manifest_only_totals_are_known() -> None:
    figures = figures_of(content(None, offered=(holding(0, 1),)))
    assert figures.by_class is None
    assert (figures.needed_bytes, figures.offered_bytes) == (30, (20,))
    assert (figures.missing_blocks, figures.missing_required, figures.missing_critical) == (
        1,
        None,
        None,
    )
    assert figures.missing_units == ()


def phased() -> AddressSpace:
    """The same with two phases: b and a, then c."""
    manifest = SPACE.manifest
    *first, last = manifest.units
    units = (*first, msgspec.structs.replace(last, phase=1))
    return AddressSpace(msgspec.structs.replace(manifest, phases=("core", "rest"), units=units))


def test_the_first_phase_is_predicted_apart() -> None:
    figures = figures_of(content(phased(), offered=(holding(0, 1, 2),)))
    assert figures.minimal == MinimalSet("core", 2, 8, 5, False, True)
    assert figures.minimal_ns == pytest.approx(8e9)
    assert figures.prediction.complete_ns == pytest.approx(15e9)


def test_the_first_phase_can_be_had_where_nobody_has_the_rest() -> None:
    figures = figures_of(content(phased(), offered=(holding(0, 1),)))
    assert figures.minimal_ns == pytest.approx(8e9)
    assert figures.prediction.complete_ns is None


def test_what_is_here_of_the_first_phase_takes_no_time() -> None:
    figures = figures_of(content(phased(), mine=holding(0, 1), offered=(holding(2),)))
    assert figures.minimal_ns == 0


def test_of_some_units_the_first_phase_has_those_that_are_wanted() -> None:
    planned = content(phased(), offered=(holding(0, 1, 2),))
    figures = figures_of(replace(planned, unchosen=BlockSet([(0, 1)])))
    assert figures.minimal == MinimalSet("core", 1, 3, 5, False, True)
    assert figures.minimal_ns == pytest.approx(3e9)
    nothing = figures_of(replace(planned, unchosen=BlockSet([(0, 2)])))
    assert (nothing.minimal, nothing.minimal_ns) == (None, None)


def test_without_phases_or_a_manifest_nothing_is_first() -> None:
    figures = figures_of(content(SPACE, offered=(holding(0, 1, 2),)))
    assert figures.minimal is not None
    assert figures.minimal.is_everything
    assert figures.minimal_ns == figures.prediction.complete_ns
    assert figures_of(content(None, offered=(holding(0, 1),))).minimal is None
