"""Names use the words of the glossary in ARCHITECTURE.md, and none of those that it forbids."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "ckptd"
ROW = re.compile(r"^\| ([\w ,]+) \| (.+?) \| ?([\w ,`]*?) ?\|$", re.MULTILINE)
METRIC = re.compile(r"ckptd_\w+")

STABLE: Mapping[str, str] = {}
"""Forbidden names that stay, with the reason: others rely on them."""


def forbidden_names(architecture: str) -> dict[str, str]:
    """Return each forbidden word with the word of the glossary that stands for it.

    One in backticks is a whole name; any other one is a part of names, whatever their case.
    """
    (table,) = re.findall(r"^\| word \|.*\n\|.*\n((?:\|.*\n)+)", architecture, re.MULTILINE)
    rows = ROW.findall(table)
    assert len(rows) == len(table.splitlines()), "a row of the glossary cannot be read"
    return {
        name: word
        for word, _, forbidden in rows
        for name in (each.strip() for each in forbidden.split(","))
        if name
    }


FORBIDDEN = forbidden_names((PROJECT / "ARCHITECTURE.md").read_text())


def names(source: str) -> Iterator[str]:
    """Yield every name that a module gives to something, and every metric in its text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.Constant(value=str(text)) if METRIC.fullmatch(text):
                yield text
            case _:
                pass


def offences(module: str, source: str, forbidden: Mapping[str, str]) -> list[str]:
    """Return the names in a module that the glossary forbids, and the word to use."""
    found: set[str] = set()
    for name in (module, *names(source)):
        parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        for word in (parts | {f"`{name}`"}) & set(forbidden):
            if name not in STABLE:
                found.add(f"{name}: say {forbidden[word]}")
    return sorted(found)


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_names_are_words_of_the_glossary(module: Path) -> None:
    name = module.parent.name if module.stem == "__init__" else module.stem
    assert offences(name, module.read_text(), FORBIDDEN) == []


def test_words_that_have_no_other_are_enough() -> None:
    words = {word for words in FORBIDDEN.values() for word in words.split(", ")}
    assert {"block", "lane", "recovery", "trust"} <= words
    assert not words & set(FORBIDDEN)


@pytest.mark.parametrize(
    ("module", "source", "offence"),
    [
        ("chunk", "", "chunk: say block"),
        ("state", "class ChunkMap: ...", "ChunkMap: say block"),
        ("state", "self.channel_s = 0", "channel_s: say lane"),
        ("state", "async def tell(*, chunk_bytes=1): ...", "chunk_bytes: say block"),
        ("state", "CHUNK_BYTES_MAX: Final = 1", "CHUNK_BYTES_MAX: say block"),
        ("state", "import queue as channel", "channel: say lane"),
        ("state", "NAME = 'ckptd_chunk_bytes_total'", "ckptd_chunk_bytes_total: say block"),
    ],
)
def test_a_forbidden_name_is_found(module: str, source: str, offence: str) -> None:
    assert offences(module, source, FORBIDDEN) == [offence]


def test_words_inside_of_others_and_in_prose_are_permitted() -> None:
    source = '"""A turn of the limiter."""\n\ndef banner(urban, turn): return "chunk"'
    assert offences("returns", source, FORBIDDEN) == []


def test_a_name_that_stays_is_there() -> None:
    given = {name for path in PACKAGE.rglob("*.py") for name in names(path.read_text())}
    assert set(STABLE) <= given
