"""The file as TOML, and errors that name a place in it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, get_type_hints

import msgspec

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import MIB
from ckptd.model.quantities import format_size
from ckptd.model.toml_text import kind_of, parse_toml

CONFIG_BYTES_MAX: Final = MIB
"""Room for thousands of peers; whatever is longer is some other file."""

_INDEX: Final = re.compile(r"\[.*")

_NOT_ONLY_TEXT: Final = re.compile(r"""[\[{"'+\-0-9]|(true|false|inf|nan)$""")
"""How something begins that may be another value of TOML than a bare word."""

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)
Parser: TypeAlias = Callable[[object], object]
"""Turns a value of the file into one of the configuration; raises UsageError."""


@dataclass(frozen=True, slots=True)
class Key:
    """How the value of a key is read; stands in the annotation of its field."""

    parser: Parser

    def within(self, _: Mapping[str, str]) -> Parser:
        """Return the parser, which is the same in every environment."""
        return self.parser


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """The same for a value that means a place in the environment."""

    parser: Callable[[object, Mapping[str, str]], object]

    def within(self, environ: Mapping[str, str]) -> Parser:
        """Return the parser for one environment."""
        return lambda value: self.parser(value, environ)


class Document:
    """The configuration as TOML, and the errors that name a place in it.

    Args:
        path: The file.
        values: What is in it.
        stated: Where each key stands, if not in the file.
        environ: What parsers may ask.
    """

    def __init__(
        self,
        path: str,
        values: dict[str, object],
        stated: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.values = values
        self._stated = stated or {}
        self._environ = environ or {}
        self._problems: list[ConfigurationError] = []

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep an error of what is done inside, so that the others are found as well."""
        try:
            yield
        except ConfigurationError as error:
            self._problems.append(error)

    def check(self) -> None:
        """Refuse the configuration if anything was kept.

        Raises:
            ConfigurationError: The first one, with the others.
        """
        if self._problems:
            raise ConfigurationError.of(self._problems)

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        """Refuse the configuration because of one key.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"{self._place_of(key)}: {key}", problem, hint)

    def section(self, name: str, kind: type[_S]) -> _S | None:
        """Read one table into its struct; ``None`` if it cannot be used, which is kept.

        Raises:
            ConfigurationError: It is no table.
        """
        known = len(self._problems)
        fields = _fields_of(kind)
        self.check_keys(f"{name}.", self.table(name), [field.encode_name for field in fields])
        values = self.keys(name, kind)
        return kind(**values) if len(self._problems) == known else None

    def keys(self, name: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """Read those keys of a table that have a parser, by the names of their fields.

        That one cannot be used, or is missing, is kept.

        Raises:
            ConfigurationError: It is no table.
        """
        return self._read(name, self.table(name), kind, _fields_of(kind))

    def named_tables(
        self,
        place: str,
        placeholder: str,
        read: Callable[[str, object], _T],
        *,
        most: int | None = None,
    ) -> dict[str, _T]:
        """Read the tables below a key of a section, by their names; errors of each are kept.

        Args:
            place: The section and the key.
            placeholder: Stands for a name in the remedy.
            read: Reads one: its name, and what it says.
            most: How many there may be.

        Raises:
            ConfigurationError: There is something else at the key, or there are too many.
        """
        section, _, key = place.partition(".")
        table = self.table(section).get(key, {})
        if not isinstance(table, dict):
            self.fail(
                place,
                f"is {kind_of(table)}, not a table",
                f"Begin it with [{place}.{placeholder}].",
            )
        if most is not None and len(table) > most:
            self.fail(place, f"has {len(table)} rules, more than {most}")
        found: dict[str, _T] = {}
        for name, values in table.items():
            with self.collecting():
                found[name] = read(name, values)
        return found

    def special(
        self, place: str, table: Mapping[str, object], kind: type[_S], section: msgspec.Struct
    ) -> _S:
        """Read what counts for some in place of a section, whose keys are read as there.

        That one cannot be used is kept.

        Args:
            place: The table, by its keys.
            table: What it says; what it does not say counts as in the section.
            kind: Has those fields of the section that it may say.
            section: What counts for all others.
        """
        fields = [
            field for field in _fields_of(type(section)) if field.name in kind.__struct_fields__
        ]
        self.check_keys(f"{place}.", table, [field.encode_name for field in fields])
        values = {field.name: getattr(section, field.name) for field in fields}
        return kind(**values | self._read(place, table, type(section), fields))

    def _read(
        self,
        name: str,
        table: Mapping[str, object],
        kind: type[msgspec.Struct],
        fields: Iterable[msgspec.structs.FieldInfo],
    ) -> dict[str, Any]:
        """Read some keys of a table as a struct says, by the names of their fields."""
        hints = _hints_of(kind)
        values: dict[str, Any] = {}
        for field in fields:
            key = field.encode_name
            for read in getattr(hints[field.name], "__metadata__", ()):
                with self.collecting():
                    if key in table:
                        parser = read.within(self._environ)
                        values[field.name] = self.parse(f"{name}.{key}", table[key], parser)
                    elif field.required:
                        self.fail(f"{name}.{key}", "is missing", "It has no default.")
        return values

    def table(self, name: str) -> dict[str, object]:
        """Return a table of the file; one that is not there is empty."""
        table = self.values.get(name, {})
        if not isinstance(table, dict):
            self.fail(name, f"is {kind_of(table)}, not a table", f"Begin a section with [{name}].")
        return table

    def parse(self, key: str, value: object, parser: Callable[[object], _T]) -> _T:
        """Read one value; the error names its key.

        Raises:
            ConfigurationError: It cannot be used.
        """
        try:
            return parser(value)
        except UsageError as error:
            raise self.refusal(key, error) from error

    def refusal(self, key: str, error: UsageError) -> ConfigurationError:
        """Return the error that a value cannot be used, with its key."""
        problem = f"{error.subject} {error.problem}".lstrip()
        return ConfigurationError(f"{self._place_of(key)}: {key}", problem, error.hint)

    def check_keys(self, prefix: str, table: Iterable[str], known: Iterable[str]) -> None:
        """Refuse keys that nobody reads, with the nearest one that is read; each is kept."""
        for key in table:
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known: {', '.join(known)}."
            with self.collecting():
                self.fail(f"{prefix}{key[:64]}", "is not a key of the configuration", hint)

    def _place_of(self, key: str) -> str:
        """Return where a key stands; of one that is missing, the file."""
        return self._stated.get(_INDEX.sub("", key).replace("'", ""), self.path)


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a struct; hundreds of tables can be read by one section's."""
    return msgspec.structs.fields(kind)


@cache
def _hints_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


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
    return _parse(content, path)


def as_toml(value: str, subject: str) -> object:
    """Return a text as the value that it is in TOML, or as itself: ``7``, ``["a"]``, ``eth0``.

    Raises:
        ConfigurationError: Python gives up on it.
    """
    if not _NOT_ONLY_TEXT.match(value):
        return value
    try:
        table = _parse(f"value = {value}", subject)
    except ConfigurationError:
        if value[0] in "[{\"'":
            raise
        return value
    return table["value"] if table.keys() == {"value"} else value


def _parse(content: str, subject: str) -> dict[str, object]:
    try:
        return parse_toml(content)
    except UsageError as error:
        raise ConfigurationError(subject, error.problem, error.hint) from error
