"""TOML from elsewhere: what it costs to parse is bounded."""

from __future__ import annotations

import pytest

from ckptd.errors import UsageError
from ckptd.model.toml_text import kind_of, parse_toml


def test_a_document_becomes_a_table() -> None:
    assert parse_toml('a.b = 1\n[[c]]\nd = ["x"]') == {"a": {"b": 1}, "c": [{"d": ["x"]}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a = ", "is not TOML"),
        ("a = " + "[" * 20_000, "is not TOML"),
        ("\n" + "a." * 65 + "b = 1", r"has 65 dots in one word \(at line 2\)"),
        ("[" + "a." * 65 + "b]", "has 65 dots"),
    ],
    ids=["unfinished", "nested", "a deep key", "a deep table"],
)
def test_what_cannot_be_parsed_is_refused(content: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_toml(content)


def test_dots_in_a_comment_are_no_key() -> None:
    assert parse_toml("# " + "." * 100) == {}


def test_values_are_named_for_people() -> None:
    values = ["a", True, 1, 1.0, [], {}]
    assert [kind_of(value) for value in values] == [
        "text", "true or false", "a whole number", "a number", "a list", "a table",
    ]  # fmt: skip
