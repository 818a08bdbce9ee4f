"""TOML that arrived from elsewhere: parsed within bounds, its values read and named for people.

For the configuration, and for policies beside checkpoints.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from ckptd.errors import UsageError

_DOTS_MAX: Final = 64
"""In one key, or one value. tomllib takes time and memory with the square of a key's parts:
10 MB for 3 KiB of them."""
_BETWEEN_VALUES: Final = re.compile(r"[,=\[\]{}]")

_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (str, "text"),
    (bool, "true or false"),  # before int: a bool is one
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
    (object, "a date or time"),
)


_T = TypeVar("_T")
_W = TypeVar("_W", bound=str)


def parse_toml(content: str) -> dict[str, object]:
    """Parse a document, whatever its keys.

    Raises:
        UsageError: It is not TOML, or Python gives up on it. There is no subject.
    """
    for number, words in enumerate(content.splitlines(), start=1):
        is_comment = words.lstrip().startswith("#")
        dots = 0 if is_comment else max(each.count(".") for each in _BETWEEN_VALUES.split(words))
        if dots > _DOTS_MAX:
            raise UsageError("", f"has {dots} dots in one word (at line {number})")
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            "",
            f"is not TOML: {error}",
            "Text stands in quotes; https://toml.io has the rules.",
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
    """Read true or false.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise UsageError("", f"is {kind_of(value)}, not true or false", "Write it without quotes.")
    return value


def one_of(words: Iterable[_W]) -> Callable[[object], _W]:
    """Return a parser that takes one of some words."""
    known = {str(word): word for word in words}

    def parser(word: str) -> _W:
        if word not in known:
            raise UsageError(f"{word[:40]!r}", f"is not one of {', '.join(known)}")
        return known[word]

    return text(parser)
