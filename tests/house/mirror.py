"""Which tests a module has: those at its own path below ``tests/unit``.

``ckptd/store/files/names.py`` is tested by ``tests/unit/store/files/test_names.py`` and by the
files whose name goes on after that (``test_names_hostile.py``). A test of the house demands it of
the rooms in ``MIRRORED``; ``make mutants`` runs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

MIRRORED: Final = ("chains", "coding", "copies", "core", "model", "net", "store", "traffic", "wire")
"""Rooms of which each module has a test file of its own."""


class Elsewhere(NamedTuple):
    """Where a module is tested that has no test file of its own.

    Attributes:
        tests: Files below ``tests/unit``; none: it has nothing that a test could see.
        reason: Why.
    """

    tests: tuple[str, ...]
    reason: str


RECORDS: Final = Elsewhere((), "fields without a line of behaviour")
CODED: Final = Elsewhere(("coding/test_block_coding.py",), "a step of each coder")
OVER_A_LANE: Final = Elsewhere(("net/lane/test_coded_bodies.py",), "both ends of one exchange")

ELSEWHERE: Final[Mapping[str, Elsewhere]] = {
    "coding/changed_elements.py": CODED,
    "coding/coded_block.py": CODED,
    "coding/differences.py": CODED,
    "coding/element_planes.py": CODED,
    "coding/frames.py": CODED,
    "coding/nibbles.py": CODED,
    "copies/decided.py": RECORDS,
    "core/peers/consequences.py": Elsewhere(("core/peers/test_following.py",), "values alone"),
    "core/report/choice.py": RECORDS,
    "core/report/verdicts.py": RECORDS,
    "core/report/views.py": RECORDS,
    "core/state/offer.py": RECORDS,
    "core/state/record/coverage.py": RECORDS,
    "core/state/record/rivalry.py": RECORDS,
    "core/state/record/swarm.py": RECORDS,
    "net/coded_bases.py": OVER_A_LANE,
    "net/source/coded_sending.py": OVER_A_LANE,
}
"""By the path of the module below the package."""

STORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "core/ranges/test_pacing.py": ("core/ranges/ordering.py", "core/options.py"),
    "core/ranges/test_swarming.py": ("core/ranges/picker.py", "core/state/record/spread.py"),
    "core/stages/test_choices.py": (
        "core/stages/advance.py",
        "core/stages/claims_on_content.py",
        "core/stages/manifest_search.py",
        "core/stages/restaging.py",
    ),
    "core/stages/test_shortages.py": (
        "core/stages/advance.py",
        "core/stages/ending.py",
        "core/stages/manifest_search.py",
    ),
    "core/stages/test_invented_versions.py": (
        "core/stages/manifest_search.py",
        "core/stages/manifest_faults.py",
        "core/stages/claims_on_content.py",
        "core/stages/discounted.py",
    ),
    "core/stages/test_refused_versions.py": (
        "core/stages/version_choice.py",
        "core/stages/manifest_search.py",
    ),
    "store/staging/test_phases.py": ("store/staging/target.py",),
    "store/trees/test_bare_names.py": ("store/staging/target.py",),
    "store/trees/test_replacing.py": ("store/staging/target.py",),
}
"""Test files in mirrored rooms that tell of several modules: which ones they are tests of, too."""


def mirror_of(path: str, unit_tests: Path) -> list[Path]:
    """Return the files that test a module, in order; none if it has none.

    Args:
        path: Of the module, below the package: ``store/files/names.py``.
        unit_tests: ``tests/unit``.
    """
    if path in ELSEWHERE:
        return [unit_tests / test for test in ELSEWHERE[path].tests]
    module = Path(path)
    folder = unit_tests / module.parent
    own = folder / f"test_{module.stem}.py"
    parts = folder.glob(f"test_{module.stem}_*.py")
    others = {f"test_{other}" for other in neighbours(path, unit_tests)}
    mirror = {
        test
        for test in [own, *parts]
        if test.exists() and (test == own or not belongs_to_another(test.stem, others))
    }
    stories = [unit_tests / test for test, paths in STORIES.items() if path in paths]
    return [*sorted(mirror), *stories]


def neighbours(path: str, unit_tests: Path) -> Sequence[str]:
    """Return the stems of modules beside one whose names begin with its own."""
    module = unit_tests.parents[1] / "ckptd" / path
    return [other.stem for other in module.parent.glob(f"{module.stem}_*.py")]


def belongs_to_another(test_stem: str, others: set[str]) -> bool:
    """Return whether a test file is that of a module with a longer name."""
    return any(test_stem == other or test_stem.startswith(f"{other}_") for other in others)
