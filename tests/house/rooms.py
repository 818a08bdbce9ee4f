"""``make rooms``: where the source is above an aim of this house, and why it may stay there.

    python -m tests.house.rooms

A report and no gate: a good reason beats a number. A reason is an item of the list under
``REASONS_HEADING`` in ``docs/contributing.md``; it begins with the keys of the rows it is about, in
backquotes, each as the report prints it (or a pattern, ``sim/*``), then a colon:

    * `store/files/roots.py`, `Root`: every path is made in one place.

Rows without a reason stand first. A reason that no row needs is listed at the end.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from tests.house.source_tree import Function, Module, importers, read_package

PROJECT: Final = Path(__file__).parents[2]
REASONS: Final = PROJECT / "docs" / "contributing.md"
REASONS_HEADING: Final = "## What stays above an aim"

MODULES_MAX: Final = 12
MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70
FIELDS_MAX: Final = 20
NEIGHBOUR_CODE_LINES_MAX: Final = 40
ARGUMENTS_WITHOUT_SECTION_MAX: Final = 3
ROWS_MAX: Final = 40
WIDTH: Final = 120


class Row(NamedTuple):
    """Something above an aim.

    Attributes:
        key: What it is called; reasons name it so.
        value: How much of it there is.
        detail: What helps to find or judge it.
    """

    key: str
    value: int
    detail: str = ""


class Reason(NamedTuple):
    """Why rows may stay above an aim: the patterns of their keys, and the text."""

    patterns: tuple[str, ...]
    text: str


Look: TypeAlias = Callable[[Sequence[Module]], list[Row]]


@dataclass(frozen=True)
class Topic:
    """One thing that the report looks at, and what it is called there."""

    title: str
    look: Look


def full_folders(modules: Sequence[Module]) -> list[Row]:
    """Return folders that have too many modules."""
    counts = Counter(module.folder for module in modules if not module.is_init)
    return largest(Row(folder or "./", n) for folder, n in counts.items() if n > MODULES_MAX)


def long_modules(modules: Sequence[Module]) -> list[Row]:
    """Return modules that have too many lines."""
    return largest(
        Row(module.path, module.lines) for module in modules if module.lines > MODULE_LINES_MAX
    )


def long_functions(modules: Sequence[Module]) -> list[Row]:
    """Return functions that have too many lines, their docstrings counted."""
    return largest(
        Row(f"{module.path}:{name}", span(function))
        for module in modules
        for name, function in module.functions
        if span(function) > FUNCTION_LINES_MAX
    )


def wide_records(modules: Sequence[Module]) -> list[Row]:
    """Return dataclasses and structs that have too many fields of their own."""
    return largest(
        Row(f"{module.path}:{made.name}", fields_of(made))
        for module in modules
        for made in module.classes
        if is_record(made) and fields_of(made) > FIELDS_MAX
    )


def classes_twice(modules: Sequence[Module]) -> list[Row]:
    """Return names that classes of several modules have."""
    places = defaultdict(list)
    for module in modules:
        for made in module.classes:
            places[made.name].append(module.dotted)
    return repeated(places)


def stems_twice(modules: Sequence[Module]) -> list[Row]:
    """Return names that several modules have."""
    places = defaultdict(list)
    for module in modules:
        if not module.is_init:
            places[module.stem].append(module.folder or "./")
    return repeated(places)


def functions_of_their_neighbour(modules: Sequence[Module]) -> list[Row]:
    """Return small modules that one other module imports and nobody else."""
    users = importers(list(modules), "ckptd")
    return largest(
        Row(module.path, module.code_lines, f"only for {user}")
        for module in modules
        if not module.is_init
        for user in ([*users[module.path]] if len(users[module.path]) == 1 else [])
        if module.code_lines <= NEIGHBOUR_CODE_LINES_MAX  # last: it reads all its tokens
    )


def undocumented(modules: Sequence[Module]) -> list[Row]:
    """Return public functions that lack ``Args:`` or ``Raises:`` where one is due."""
    rows = []
    for module in modules:
        for name, function in module.functions:
            lacking = sections_lacking(function) if is_public(name) else []
            if lacking:
                rows.append(Row(f"{module.path}:{name}", len(lacking), " ".join(lacking)))
    return rows


TOPICS: Final = (
    Topic(f"modules of a folder (aim: {MODULES_MAX})", full_folders),
    Topic(f"lines of a module (aim: {MODULE_LINES_MAX})", long_modules),
    Topic(f"lines of a function (aim: {FUNCTION_LINES_MAX})", long_functions),
    Topic(f"fields of a record (aim: {FIELDS_MAX})", wide_records),
    Topic("names of classes that stand more than once", classes_twice),
    Topic("names of modules that stand more than once", stems_twice),
    Topic(
        f"modules of at most {NEIGHBOUR_CODE_LINES_MAX} lines of code that only one module imports",
        functions_of_their_neighbour,
    ),
    Topic(
        f"public functions with more than {ARGUMENTS_WITHOUT_SECTION_MAX} arguments or that raise,"
        " without Args: or Raises:",
        undocumented,
    ),
)


def largest(rows: Iterator[Row]) -> list[Row]:
    """Return rows, the one furthest above the aim first."""
    return sorted(rows, key=lambda row: (-row.value, row.key))


def repeated(places: dict[str, list[str]]) -> list[Row]:
    """Return the names that have more than one place."""
    return largest(
        Row(name, len(found), ", ".join(found)) for name, found in places.items() if len(found) > 1
    )


def span(function: Function) -> int:
    """Return how many lines a function has."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def is_record(made: ast.ClassDef) -> bool:
    """Return whether a class is a dataclass, a struct or a named tuple."""
    decorators = [ast.unparse(each) for each in made.decorator_list]
    bases = [ast.unparse(each) for each in made.bases]
    return any(re.match(r"(dataclasses\.)?dataclass\b", each) for each in decorators) or any(
        re.search(r"(Struct|NamedTuple)$", each) for each in bases
    )


def fields_of(made: ast.ClassDef) -> int:
    """Return how many fields a record declares itself."""
    return sum(
        isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation)
        for each in made.body
    )


def is_public(name: str) -> bool:
    """Return whether a function and the class that it is in have public names."""
    return not any(part.startswith("_") for part in name.split("."))


def sections_lacking(function: Function) -> list[str]:
    """Return which sections the docstring of a function lacks."""
    text = ast.get_docstring(function) or ""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    count = sum(each.arg not in {"self", "cls"} for each in named)
    lacking = []
    if count > ARGUMENTS_WITHOUT_SECTION_MAX and "Args:" not in text:
        lacking.append("Args:")
    if raises(function) and "Raises:" not in text:
        lacking.append("Raises:")
    return lacking


def raises(function: Function) -> bool:
    """Return whether an error leaves a function by a ``raise`` of its own.

    What a ``raise`` in a ``try`` with handlers becomes cannot be seen; it counts.
    """
    return any(
        isinstance(node, ast.Raise) and node.exc is not None
        for statement in function.body
        for node in without_inner_functions(statement)
    )


def without_inner_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, but not what functions inside it do."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from without_inner_functions(child)


def read_reasons(text: str) -> list[Reason]:
    """Return the reasons that a document gives under its heading for them."""
    section = text.partition(REASONS_HEADING)[2].partition("\n## ")[0]
    items = re.split(r"^[*-] ", section, flags=re.MULTILINE)[1:]
    reasons = []
    for item in items:
        keys, _, why = " ".join(item.split()).partition(": ")
        reasons.append(Reason(tuple(re.findall(r"`([^`]+)`", keys)), why))
    return reasons


def reason_for(row: Row, reasons: Sequence[Reason]) -> Reason | None:
    """Return why a row may stay, or nothing where nobody said so."""
    return next(
        (
            reason
            for reason in reasons
            if any(fnmatchcase(row.key, pattern) for pattern in reason.patterns)
        ),
        None,
    )


def report(modules: Sequence[Module], reasons: Sequence[Reason]) -> Iterator[str]:
    """Yield the lines of the report."""
    needed: set[Reason] = set()
    for topic in TOPICS:
        rows = [(row, reason_for(row, reasons)) for row in topic.look(modules)]
        needed.update(reason for _, reason in rows if reason is not None)
        yield from lines_of_topic(topic.title, rows)
        yield ""
    unneeded = [reason for reason in reasons if reason not in needed]
    if unneeded:
        yield f"reasons that nothing needs: {len(unneeded)}"
        yield from (f"  {', '.join(reason.patterns)}" for reason in unneeded)


def lines_of_topic(title: str, rows: Sequence[tuple[Row, Reason | None]]) -> Iterator[str]:
    """Yield the lines about a topic, those without a reason first, at most a screen."""
    bare = [row for row, reason in rows if reason is None]
    yield f"{title}: {len(rows)}" + (f", {len(bare)} without a reason" if rows else "")
    ordered = sorted(rows, key=lambda pair: pair[1] is not None)
    for row, reason in ordered[:ROWS_MAX]:
        why = f"({reason.text})" if reason else "NO REASON"
        line = f"  {row.value:>4}  {row.key}  {row.detail}".rstrip() + f"  {why}"
        yield line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
    if len(ordered) > ROWS_MAX:
        yield f"        and {len(ordered) - ROWS_MAX} more"


def main() -> None:
    """Print the report about ``ckptd``."""
    reasons = read_reasons(REASONS.read_text()) if REASONS.exists() else []
    for line in report(read_package(PROJECT / "ckptd"), reasons):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
