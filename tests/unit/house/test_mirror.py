"""Each module of the mirrored rooms has its test file, and each test file there its module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.mirror import ELSEWHERE, MIRRORED, STORIES, belongs_to_another, mirror_of
from tests.house.mutations import mutations_of
from tests.house.source_tree import read_package

PROJECT = Path(__file__).parents[3]
UNIT_TESTS = PROJECT / "tests" / "unit"
MODULES = {
    module.path: module
    for module in read_package(PROJECT / "ckptd")
    if module.path.startswith(tuple(f"{room}/" for room in MIRRORED)) and not module.is_init
}
TEST_FILES = sorted(
    test.relative_to(UNIT_TESTS).as_posix()
    for room in MIRRORED
    for test in (UNIT_TESTS / room).rglob("test_*.py")
)


@pytest.mark.parametrize("path", sorted(MODULES.keys() - ELSEWHERE.keys()))
def test_a_module_has_its_test_file(path: str) -> None:
    """``ckptd/a/b.py`` has ``tests/unit/a/test_b.py``; exceptions stand in ``mirror``."""
    module = Path(path)
    assert (UNIT_TESTS / module.parent / f"test_{module.stem}.py").exists()


@pytest.mark.parametrize("path", sorted(ELSEWHERE))
def test_an_exception_is_a_module_without_a_test_file_and_has_a_reason(path: str) -> None:
    module = Path(path)
    assert path in MODULES
    assert not (UNIT_TESTS / module.parent / f"test_{module.stem}.py").exists()
    assert ELSEWHERE[path].reason
    assert all((UNIT_TESTS / test).exists() for test in ELSEWHERE[path].tests)


@pytest.mark.parametrize("path", sorted(path for path in ELSEWHERE if not ELSEWHERE[path].tests))
def test_what_is_tested_nowhere_has_nothing_to_test(path: str) -> None:
    assert mutations_of(MODULES[path]) == []


@pytest.mark.parametrize("test", TEST_FILES)
def test_a_test_file_is_of_a_module_or_tells_of_several(test: str) -> None:
    stem = Path(test).stem.removeprefix("test_")
    folder = Path(test).parent
    modules = {Path(path).stem for path in MODULES if Path(path).parent == folder}
    assert belongs_to_another(stem, modules) or test in STORIES


def test_stories_are_files_and_tell_of_modules() -> None:
    for test, paths in STORIES.items():
        assert (UNIT_TESTS / test).exists()
        assert set(paths) <= MODULES.keys()


def test_a_file_whose_name_goes_on_is_of_the_module_with_the_longest_name(tmp_path: Path) -> None:
    unit_tests = tmp_path / "tests" / "unit"
    (tmp_path / "ckptd" / "a").mkdir(parents=True)
    (unit_tests / "a").mkdir(parents=True)
    for module in ("lane", "lane_trials"):
        (tmp_path / "ckptd" / "a" / f"{module}.py").touch()
    for test in ("lane", "lane_open", "lane_trials", "lane_trials_long", "lanes"):
        (unit_tests / "a" / f"test_{test}.py").touch()
    assert [test.stem for test in mirror_of("a/lane.py", unit_tests)] == [
        "test_lane", "test_lane_open",
    ]  # fmt: skip
    assert [test.stem for test in mirror_of("a/lane_trials.py", unit_tests)] == [
        "test_lane_trials", "test_lane_trials_long",
    ]  # fmt: skip
    assert mirror_of("a/other.py", unit_tests) == []
