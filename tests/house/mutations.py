"""Small mutations of a source: where there may be one, and what it makes of the text.

Only what runs inside functions is mutated, and nothing that no test should look at: messages of
errors and logs, assertions, what ``repr`` says, annotations.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tests.house.source_tree import Module

SWAPS: Final[dict[type[ast.AST], tuple[str, str, str]]] = {
    ast.Lt: ("boundary", r"<", "<="),
    ast.LtE: ("boundary", r"<=", "<"),
    ast.Gt: ("boundary", r">", ">="),
    ast.GtE: ("boundary", r">=", ">"),
    ast.Eq: ("equality", r"==", "!="),
    ast.NotEq: ("equality", r"!=", "=="),
    ast.Is: ("equality", r"\bis\b", "is not"),
    ast.IsNot: ("equality", r"\bis\s+not\b", "is"),
    ast.In: ("equality", r"\bin\b", "not in"),
    ast.NotIn: ("equality", r"\bnot\s+in\b", "in"),
    ast.Add: ("sign", r"\+", "-"),
    ast.Sub: ("sign", r"-", "+"),
    ast.And: ("and or", r"\band\b", "or"),
    ast.Or: ("and or", r"\bor\b", "and"),
}
"""Operators by their node: which kind of mutation, how they are written, what takes their place."""

LOGGERS: Final = frozenset({"log", "_log"})
UNSEEN_FUNCTIONS: Final = frozenset({"__repr__", "__str__"})


class Mutation(NamedTuple):
    """One replacement in one module.

    Attributes:
        path: Of the module, below the package.
        operator: What kind of mutation it is.
        line: Where, from 1 on.
        start: The first byte of the source that is replaced.
        end: The byte after the last.
        replacement: What takes their place.
    """

    path: str
    operator: str
    line: int
    start: int
    end: int
    replacement: str

    def of(self, source: str) -> str:
        """Return the source with this mutation."""
        data = source.encode()
        return (data[: self.start] + self.replacement.encode() + data[self.end :]).decode()


def mutations_of(module: Module) -> list[Mutation]:
    """Return every mutation there may be of a module, in the order of the text."""
    text = _Text(module)
    found = {
        mutation
        for _, function in module.functions
        if function.name not in UNSEEN_FUNCTIONS
        for statement in function.body
        for node in visible(statement)
        for mutation in text.mutations_at(node)
    }
    return sorted(found, key=lambda each: (each.start, each.end, each.replacement))


def draw(candidates: Sequence[Mutation], count: int, seed: int) -> list[Mutation]:
    """Choose mutations so that each operator has its turn.

    Args:
        candidates: What to choose from.
        count: How many, if there are as many.
        seed: The same one chooses the same ones.
    """
    rng = random.Random(seed)
    by_operator: dict[str, list[Mutation]] = defaultdict(list)
    for candidate in candidates:
        by_operator[candidate.operator].append(candidate)
    for sites in by_operator.values():
        rng.shuffle(sites)
    chosen: list[Mutation] = []
    while len(chosen) < count and by_operator:
        for operator in sorted(by_operator):
            chosen.append(by_operator[operator].pop())
            if not by_operator[operator]:
                del by_operator[operator]
    return chosen[:count]


def visible(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, without what no test should look at."""
    match node:
        case ast.Assert() | ast.Raise() | ast.JoinedStr() | ast.FunctionDef() | ast.ClassDef():
            return
        case ast.AsyncFunctionDef() | ast.Import() | ast.ImportFrom():
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call() if is_unseen_call(node):
            return
        case ast.Expr(value=ast.Call() as call) if is_unseen_call(call):
            return
        case ast.AnnAssign():
            yield node
            if node.value is not None:
                yield from visible(node.value)
        case _:
            yield node
            for child in ast.iter_child_nodes(node):
                yield from visible(child)


def is_unseen_call(call: ast.Call) -> bool:
    """Return whether a call logs, or only speaks to the type checker."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)) if name in LOGGERS:
            return True
        case ast.Name(id="assert_never" | "cast"):
            return True
        case _:
            return False


class _Text:
    """The bytes of a module, and what mutations make of them."""

    def __init__(self, module: Module) -> None:
        self._path = module.path
        self._data = module.source.encode()
        self._lines = [0]
        for line in self._data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def mutations_at(self, node: ast.AST) -> Iterator[Mutation]:
        """Yield the mutations whose place is a node itself, not what is in it."""
        for operator, left, right in operations(node):
            yield from self._swap(operator, left, right)
        for test in conditions(node):
            if not isinstance(test, ast.Constant):
                yield self._replace("condition", test, f"not ({self._segment(test)})")
        match node:
            case ast.BoolOp(op=joined, values=values):
                for place in range(len(values)):
                    rest = [*values[:place], *values[place + 1 :]]
                    left_over = rest[0] if len(rest) == 1 else ast.BoolOp(joined, rest)
                    yield self._replace("operand", node, f"({ast.unparse(left_over)})")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._replace("not", node, f"({ast.unparse(operand)})")
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                yield self._replace("constant", node, str(number + 1))
                yield self._replace("constant", node, f"({number - 1})")
            case ast.Call(func=ast.Name(id="min" | "max" as name) as called):
                yield self._replace("min max", called, "max" if name == "min" else "min")
            case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
                yield self._replace("skip", node, "pass")
            case _:
                pass

    def _swap(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> Iterator[Mutation]:
        if any(isinstance(each, ast.JoinedStr | ast.List | ast.Dict) for each in (left, right)):
            return  # nothing but a TypeError
        if type(operator) not in SWAPS:
            return
        kind, written, other = SWAPS[type(operator)]
        start, end = self._span(left)[1], self._span(right)[0]
        found = re.search(written.encode(), self._data[start:end])
        assert found is not None, (self._path, left.lineno)
        yield Mutation(
            self._path, kind, left.lineno, start + found.start(), start + found.end(), other
        )

    def _replace(self, kind: str, node: ast.expr | ast.stmt, replacement: str) -> Mutation:
        start, end = self._span(node)
        return Mutation(self._path, kind, node.lineno, start, end, replacement)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._lines[node.lineno - 1] + node.col_offset,
            self._lines[node.end_lineno - 1] + node.end_col_offset,
        )

    def _segment(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._data[start:end].decode()


def operations(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr, ast.expr]]:
    """Yield the operators that are written at a node, and what each stands between."""
    match node:
        case ast.Compare(left=left, ops=operators, comparators=right):
            yield from zip(operators, [left, *right[:-1]], right, strict=True)
        case ast.BinOp(left=left, op=operator, right=last):
            yield operator, left, last
        case ast.BoolOp(op=joined, values=values):
            yield from ((joined, left, right) for left, right in pairwise(values))
        case _:
            pass


def conditions(node: ast.AST) -> list[ast.expr]:
    """Return what decides at a node whether something is done."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            return [test]
        case ast.comprehension(ifs=tests):
            return tests
        case ast.match_case(guard=ast.expr() as guard):
            return [guard]
        case _:
            return []
