"""The file as TOML, and errors that name a place in it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import msgspec

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import MIB
from ckptd.model.quantities import format_size

CONFIG_BYTES_MAX: Final = MIB
"""Room for thousands of peers; whatever is longer is some other file."""

_DOTS_MAX: Final = 64
"""In one key, or one value. tomllib takes time and memory with the square of a key's parts:
10 MB for 3 KiB of them."""
_BETWEEN_VALUES: Final = re.compile(r"[,=\[\]{}]")

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)
Parser: TypeAlias = Callable[[object], object]
"""Turns a value of the file into one of the configuration; raises UsageError."""

_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (str, "text"),
    (bool, "true or false"),  # before int: a bool is one
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
    (object, "a date or time"),
)


class Document:
    """The file as TOML, and the errors that name a place in it."""

    def __init__(self, path: str, values: dict[str, object]) -> None:
        self.path = path
        self.values = values

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        """Refuse the file because of one key."""
        raise ConfigurationError(f"{self.path}: {key}", problem, hint)

    def section(self, name: str, kind: type[_S], **parsers: Parser) -> _S:
        """Read one table into its struct: a parser for each key, the struct has the defaults."""
        table = self.table(name)
        self.check_keys(f"{name}.", table, parsers)
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            key = field.encode_name
            if key in table:
                fields[field.name] = self.parse(f"{name}.{key}", table[key], parsers[key])
            elif field.required:
                self.fail(f"{name}.{key}", "is missing", "It has no default.")
        return kind(**fields)

    def table(self, name: str) -> dict[str, object]:
        """Return a table of the file; one that is not there is empty."""
        table = self.values.get(name, {})
        if not isinstance(table, dict):
            self.fail(name, f"is {kind_of(table)}, not a table", f"Begin a section with [{name}].")
        return table

    def parse(self, key: str, value: object, parser: Callable[[object], _T]) -> _T:
        """Read one value; the error names its key."""
        try:
            return parser(value)
        except UsageError as error:
            problem = f"{error.subject} {error.problem}".lstrip()
            raise ConfigurationError(f"{self.path}: {key}", problem, error.hint) from error

    def check_keys(self, prefix: str, table: Iterable[str], known: Iterable[str]) -> None:
        """Refuse keys that nobody reads, with the nearest one that is read."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known: {', '.join(known)}."
                self.fail(f"{prefix}{key[:64]}", "is not a key of the configuration", hint)


def read_toml(path: str) -> dict[str, object]:
    """Read the file, whatever its keys.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigurationError(
            path, "does not exist", "Write one; configs/minimal.toml is the shortest that works."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(path, f"cannot be read: {reason}") from error
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigurationError(path, f"is longer than {format_size(CONFIG_BYTES_MAX)}")
    try:
        content = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(path, f"is not UTF-8 (at line {line})") from error
    for number, words in enumerate(content.splitlines(), start=1):
        is_comment = words.lstrip().startswith("#")
        dots = 0 if is_comment else max(each.count(".") for each in _BETWEEN_VALUES.split(words))
        if dots > _DOTS_MAX:
            raise ConfigurationError(path, f"has {dots} dots in one word (at line {number})")
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            path, f"is not TOML: {error}", "Text stands in quotes; https://toml.io has the rules."
        ) from error


def kind_of(value: object) -> str:
    """Say what kind of value it is, for a person."""
    return next(word for kind, word in _KINDS if isinstance(value, kind))


def text(parse: Callable[[str], _T]) -> Callable[[object], _T]:
    """Return a parser that takes text and gives it to another one."""

    def parser(value: object) -> _T:
        if not isinstance(value, str):
            raise UsageError("", f"is {kind_of(value)}, not text", "Put the value in quotes.")
        return parse(value)

    return parser


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise UsageError("", f"is {kind_of(value)}, not true or false", "Write it without quotes.")
    return value


def one_of(words: tuple[str, ...]) -> Parser:
    """Return a parser that takes one of some words."""

    def parser(word: str) -> str:
        if word not in words:
            raise UsageError(f"{word[:40]!r}", f"is not one of {', '.join(words)}")
        return word

    return text(parser)
