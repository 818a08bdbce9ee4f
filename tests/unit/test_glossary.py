"""Names and prose use the words of ARCHITECTURE.md, and none of those that it forbids."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "ckptd"
ROW = re.compile(r"^\| ([\w ,]+) \| (.+?) \| ?([\w ,`]*?) ?\|$", re.MULTILINE)
METRIC = re.compile(r"ckptd_\w+")


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
    assert {"bottleneck", "prioritized", "retry", "wake", "narration"} <= words
    assert not words & set(FORBIDDEN)


@pytest.mark.parametrize(
    ("module", "source", "offence"),
    [
        ("limiter", "", "limiter: say bottleneck"),
        ("state", "class RaisedUnits: ...", "RaisedUnits: say prioritized"),
        ("state", "class Turn: ...", "Turn: say step"),
        ("state", "def rouse_lanes(): ...", "rouse_lanes: say wake"),
        ("state", "async def tell(*, chunk_bytes=1): ...", "chunk_bytes: say block"),
        ("state", "CHUNK_BYTES_MAX: Final = 1", "CHUNK_BYTES_MAX: say block"),
        ("state", "self.limiter_s = 0", "limiter_s: say bottleneck"),
        ("state", "import queue as channel", "channel: say lane"),
        ("state", "NAME = 'ckptd_chunk_bytes_total'", "ckptd_chunk_bytes_total: say block"),
    ],
)
def test_a_forbidden_name_is_found(module: str, source: str, offence: str) -> None:
    assert offences(module, source, FORBIDDEN) == [offence]


def test_words_inside_of_others_and_in_prose_are_permitted() -> None:
    source = '"""A turn of the limiter."""\n\ndef banner(urban, turn): return "chunk"'
    assert offences("returns", source, FORBIDDEN) == []


def unwanted_phrases(architecture: str) -> dict[str, str]:
    """Return each phrase that prose does without, with what is written in its place."""
    (table,) = re.findall(r"^\| write \| not \|\n\|.*\n((?:\|.*\n)+)", architecture, re.MULTILINE)
    rows = re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)
    return {phrase: instead for instead, unwanted in rows for phrase in unwanted.split(", ")}


ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text()
UNWANTED = unwanted_phrases(ARCHITECTURE)
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


def prose(source: str) -> Iterator[str]:
    """Yield the comments and docstrings of a module, those of attributes as well."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text
            case _:
                pass


def phrases_in(text: str) -> list[str]:
    plain = " ".join(re.sub(r"``.+?``|`[^`]+`", "", text).split()).lower()
    return [
        f"{phrase}: write {instead}"
        for phrase, instead in UNWANTED.items()
        if re.search(rf"\b{phrase}\b", plain)
    ]


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_comments_and_docstrings_are_plain(module: Path) -> None:
    texts = prose(module.read_text())
    assert [found for text in texts for found in phrases_in(text)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_plain(document: Path) -> None:
    text = re.sub(r"^\|.*\| not \|\n(?:\|.*\n)+", "", document.read_text(), flags=re.MULTILINE)
    assert phrases_in(text) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 1  # begins anew",
        '"""Waits, lest somebody\nwaits in\nvain."""',
        'X = 1\n"""Told of everything."""',
        "def f():\n    # Waits for\n    # leave.\n    # Stumbles.\n    pass",
    ],
)
def test_a_phrase_that_is_not_plain_is_found(source: str) -> None:
    assert [found for text in prose(source) for found in phrases_in(text)]


def test_text_for_people_and_names_in_code_marks_are_left_alone() -> None:
    source = 'print("begins anew")\n"""``told`` and `anew`: a stranger, the tolddest."""'
    assert [found for text in prose(source) for found in phrases_in(text)] == []
