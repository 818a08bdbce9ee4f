"""Every threat that ARCHITECTURE.md lists names tests that exist, or says why it needs none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (T\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`(test_\w+)`")

ROWS = ROW.findall((PROJECT / "ARCHITECTURE.md").read_text())


@pytest.fixture(scope="module")
def all_tests() -> set[str]:
    return {
        node.name
        for path in (PROJECT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_all_threats_are_there_in_order() -> None:
    assert [number for number, *_ in ROWS] == [f"T{number}" for number in range(1, 26)]


@pytest.mark.parametrize(("threat", "proof"), [(row[0], row[3]) for row in ROWS], ids=str)
def test_a_threat_names_tests_that_exist_or_says_why_it_has_none(
    threat: str, proof: str, all_tests: set[str]
) -> None:
    named = set(TEST.findall(proof))
    assert named or len(proof.split()) > 6, f"{threat} has neither a test nor a reason"
    assert named <= all_tests
