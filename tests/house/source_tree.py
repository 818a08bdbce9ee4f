"""The modules of a package as they are on disk: what each defines, imports and spans.

Reports about the source (``make rooms``) and tests of its order (the mirror of tests) read it here.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


@dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        path: Its file, relative to the package and with ``/``: ``store/files/names.py``.
        source: What the file has in it.
    """

    path: str
    source: str

    @property
    def stem(self) -> str:
        """Return its name without folders: ``names``."""
        return self.path.rpartition("/")[2].removesuffix(".py")

    @property
    def folder(self) -> str:
        """Return where it is: ``store/files/``; empty for the package itself."""
        return "".join(self.path.rpartition("/")[:2])

    @property
    def dotted(self) -> str:
        """Return its name below the package: ``store.files.names``."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_init(self) -> bool:
        """Return whether it only makes a folder a package."""
        return self.stem == "__init__"

    @property
    def lines(self) -> int:
        """Return how long the file is."""
        return self.source.count("\n")

    @cached_property
    def tree(self) -> ast.Module:
        """Return its syntax."""
        return ast.parse(self.source)

    @cached_property
    def code_lines(self) -> int:
        """Return how many lines are neither blank nor a comment nor a docstring."""
        held: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type not in NO_CODE:
                held.update(range(token.start[0], token.end[0] + 1))
        for text in strings_that_stand_alone(self.tree):
            held.difference_update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
        return len(held)

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """Return the classes at its top level."""
        return [node for node in self.tree.body if isinstance(node, ast.ClassDef)]

    @cached_property
    def functions(self) -> list[tuple[str, Function]]:
        """Return its functions and methods by name (``Class.method``), none inside another."""
        return list(named_functions(self.tree.body))

    @cached_property
    def imported(self) -> frozenset[str]:
        """Return what it imports, dotted: modules, and names that may be modules."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    found.update(name.name for name in names)
                case ast.ImportFrom(module=str(module), names=names):
                    found.add(module)
                    found.update(f"{module}.{name.name}" for name in names)
                case _:
                    pass
        return frozenset(found)


def strings_that_stand_alone(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield docstrings, and strings that say what the constant above them means."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                yield text
            case _:
                pass


def named_functions(body: list[ast.stmt], outer: str = "") -> Iterator[tuple[str, Function]]:
    """Yield functions of a body and of its classes, by name."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield outer + node.name, node
            case ast.ClassDef():
                yield from named_functions(node.body, f"{outer}{node.name}.")
            case ast.If():
                yield from named_functions(node.body, outer)
                yield from named_functions(node.orelse, outer)
            case _:
                pass


def read_package(package: Path) -> list[Module]:
    """Return the modules of a package in the order of their paths."""
    return [
        Module(path.relative_to(package).as_posix(), path.read_text())
        for path in sorted(package.rglob("*.py"))
    ]


def importers(modules: list[Module], package: str) -> Mapping[str, set[str]]:
    """Return for the path of each module the paths of those that import it.

    Args:
        modules: All of the package.
        package: What imports call it: ``ckptd``.
    """
    paths = {f"{package}.{module.dotted}": module.path for module in modules}
    found: dict[str, set[str]] = {module.path: set() for module in modules}
    for module in modules:
        for name in module.imported & paths.keys():
            if paths[name] != module.path:
                found[paths[name]].add(module.path)
    return found
