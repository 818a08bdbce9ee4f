"""Every threat and fault that the documentation lists names tests that exist, or says why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([TCAXDN]\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`(test_\w+)`")

THREATS = ROW.findall((PROJECT / "docs/security.md").read_text())
FAULTS = ROW.findall((PROJECT / "docs/faults.md").read_text())
ROWS = THREATS + FAULTS


@pytest.fixture(scope="module")
def all_tests() -> set[str]:
    return {
        node.name
        for path in (PROJECT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_all_threats_are_there_in_order() -> None:
    assert [number for number, *_ in THREATS] == [f"T{number}" for number in range(1, 54)]


def test_all_faults_of_configuration_adversaries_process_disk_and_network_are_there() -> None:
    assert [number for number, *_ in FAULTS] == [
        *(f"C{number}" for number in range(1, 11)),
        *(f"A{number}" for number in (1, 2, *range(5, 12), 13, 14)),
        *("X4", "X8", "X9", "X10", "X11", "X12", "X13", "X14", "X15"),
        *(f"D{number}" for number in range(12, 54)),
        *(f"N{number}" for number in range(1, 15)),
    ]


@pytest.mark.parametrize(("threat", "proof"), [(row[0], row[3]) for row in ROWS], ids=str)
def test_a_threat_names_tests_that_exist_or_says_why_it_has_none(
    threat: str, proof: str, all_tests: set[str]
) -> None:
    named = set(TEST.findall(proof))
    assert named or len(proof.split()) > 6, f"{threat} has neither a test nor a reason"
    assert named <= all_tests
