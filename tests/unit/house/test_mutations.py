"""Mutations: where there may be one, what it makes of a source, and that the copy is what runs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.house.mutant_runs import PACKAGE, PROJECT, copies
from tests.house.mutants import choose, difference
from tests.house.mutations import Mutation, draw, mutations_of
from tests.house.named_mutants import NAMED, NamedMutant
from tests.house.source_tree import Module, read_package

MODULES = {module.path: module for module in read_package(PROJECT / PACKAGE)}


def mutated(body: str) -> dict[str, list[str]]:
    """Return what mutations make of the one line of a function, by operator."""
    module = Module("a.py", f"def f():\n    {body}\n")
    found: dict[str, list[str]] = {}
    for mutation in mutations_of(module):
        source = mutation.of(module.source)
        ast.parse(source)
        found.setdefault(mutation.operator, []).append(source.splitlines()[1].strip())
    return found


@pytest.mark.parametrize(
    ("body", "operator", "expected"),
    [
        ("return a < b", "boundary", ["return a <= b"]),
        ("return a <= b < c", "boundary", ["return a < b < c", "return a <= b <= c"]),
        ("return (a) > (b)", "boundary", ["return (a) >= (b)"]),
        ("return a == b", "equality", ["return a != b"]),
        ("return a is not b", "equality", ["return a is b"]),
        ("return a not in b", "equality", ["return a in b"]),
        ("return a + b", "sign", ["return a - b"]),
        ("return (a and b)", "and or", ["return (a or b)"]),
        ("return a and b", "operand", ["return (a)", "return (b)"]),
        ("return not (a or b)", "not", ["return (a or b)"]),
        ("return [7]", "constant", ["return [(6)]", "return [8]"]),
        ("return min(a, b)", "min max", ["return max(a, b)"]),
        ("self.g(a)", "skip", ["pass"]),
        ("if a: return", "condition", ["if not (a): return"]),
        ("while a: g()", "condition", ["while not (a): g()"]),
        ("return [a for a in b if a]", "condition", ["return [a for a in b if not (a)]"]),
        ("return a if b else c", "condition", ["return a if not (b) else c"]),
        ("return 'ä', a < b", "boundary", ["return 'ä', a <= b"]),
    ],
)
def test_an_operator_mutates(body: str, operator: str, expected: list[str]) -> None:
    assert mutated(body)[operator] == expected


@pytest.mark.parametrize(
    "body",
    [
        "assert a < 7",
        "raise ValueError(f'{a + 1}', 7)",
        "'''A docstring with not, and, 7.'''",
        "_log.info('much', 7)",
        "self._log.debug('much', 7)",
        "return f'{a + 1}'",
        "assert_never(a)",
        "a: Literal[7] = b",
        "while True: return",
        "return True",
    ],
)
def test_what_no_test_should_look_at_is_left_alone(body: str) -> None:
    assert mutated(body) == {}


@pytest.mark.parametrize(
    "source",
    [
        "A = 7\n",
        "def f(a=7): ...\n",
        "class A:\n    def __repr__(self):\n        return 7\n",
        "class A:\n    n = 7\n",
        "@g(7)\ndef f(): ...\n",
    ],
)
def test_what_is_not_inside_a_function_is_left_alone(source: str) -> None:
    assert mutations_of(Module("a.py", source)) == []


def test_every_mutation_of_a_room_can_be_compiled() -> None:
    module = MODULES["wire/byte_ranges.py"]
    found = mutations_of(module)
    for mutation in found:
        source = mutation.of(module.source)
        ast.parse(source)
        assert source != module.source
    assert len(found) > 20


def test_a_seed_draws_the_same_ones_and_each_operator_has_its_turn() -> None:
    candidates = mutations_of(MODULES["wire/heads.py"])
    first = draw(candidates, 20, seed=1)
    assert first == draw(candidates, 20, seed=1)
    assert first != draw(candidates, 20, seed=2)
    assert len(set(first)) == 20
    counts = Counter(mutation.operator for mutation in first)
    assert counts.keys() == {candidate.operator for candidate in candidates}


def test_no_more_are_drawn_than_there_are() -> None:
    candidates = mutations_of(Module("a.py", "def f():\n    return a < b\n"))
    assert draw(candidates, 60, seed=1) == candidates


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.rule)
def test_a_named_mutant_stands_for_a_line_of_today(named: NamedMutant) -> None:
    """Where a rule is kept in other words by now, ``named_mutants`` has to say so."""
    mutation = named.in_module(MODULES[named.path])
    ast.parse(mutation.of(MODULES[named.path].source))


def test_the_named_are_always_among_those_that_are_chosen() -> None:
    count = len(NAMED)
    modules = [MODULES[path] for path in sorted({named.path for named in NAMED})]
    chosen = choose(modules, count + 3, seed=3)
    assert count >= 13
    assert [mutation.operator for mutation in chosen[:count]] == [named.rule for named in NAMED]
    assert len(chosen) == count + 3


def test_a_difference_shows_the_line_and_its_neighbours() -> None:
    source = "a = 1\nb = 1\nc = 1\nd = 1\n"
    mutation = Mutation("a.py", "constant", 2, 10, 11, "2")
    assert list(difference(mutation, source)) == [
        "     a = 1", "    -b = 1", "    +b = 2", "     c = 1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three modules with their tests."""
    place = tmp_path_factory.mktemp("project")
    (place / "ckptd" / "wire").mkdir(parents=True)
    (place / "ckptd" / "__init__.py").touch()
    (place / "ckptd" / "wire" / "__init__.py").touch()
    (place / "ckptd" / "wire" / "small.py").write_text("def is_small(n):\n    return n < 7\n")
    tests = place / "tests" / "unit" / "wire"
    tests.mkdir(parents=True)
    (tests / "test_small.py").write_text(
        "from ckptd.wire.small import is_small\n\n"
        "def test_six_is_small_and_seven_is_not():\n    assert is_small(6) and not is_small(7)\n"
    )
    (place / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\npythonpath = ['.']\n"
    )
    return place


ENDLESS = "\nwhile True:\n    pass\n"
SMALL = Module("wire/small.py", "def is_small(n):\n    return n < 7\n")

RUN = """
import json, sys
from pathlib import Path
from tests.house.mutant_runs import Bench, Job
from tests.house.mutations import Mutation

copy, path, limit_s, *mutations = json.load(sys.stdin)
jobs = [Job(path, mutation and Mutation(*mutation), limit_s) for mutation in mutations]
outcomes = Bench([Path(copy)], seed=1).run(jobs)
print(json.dumps([[outcome.status, outcome.output] for outcome in outcomes]))
"""


def statuses(copy: Path, *mutations: Mutation | None, limit_s: float = 60) -> list[int]:
    """Run the tests of the small module with each mutation, in a process that may fork."""
    result = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([str(copy), SMALL.path, limit_s, *mutations]),
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [status for status, _ in json.loads(result.stdout)]


def test_a_mutation_is_caught_by_the_tests_of_its_module_and_undone(copy: Path) -> None:
    (boundary,) = [each for each in mutations_of(SMALL) if each.operator == "boundary"]
    assert statuses(copy, None, boundary, None) == [0, 1, 0]
    assert (copy / "ckptd" / SMALL.path).read_text() == SMALL.source


def test_a_mutation_that_changes_nothing_survives(copy: Path) -> None:
    end = len(SMALL.source)
    assert statuses(copy, Mutation(SMALL.path, "none", 2, end, end, "\n# nothing\n")) == [0]


def test_a_mutant_that_does_not_end_is_killed_and_caught(copy: Path) -> None:
    end = len(SMALL.source)
    endless = Mutation(SMALL.path, "none", 2, end, end, ENDLESS)
    assert statuses(copy, endless, limit_s=2) == [-9]


def test_a_copy_is_of_the_whole_project_and_goes_away() -> None:
    with copies(1) as (copy,):
        assert (copy / PACKAGE / "wire" / "heads.py").exists()
        assert (copy / "tests" / "unit" / "house" / Path(__file__).name).exists()
    assert not copy.exists()
