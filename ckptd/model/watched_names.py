"""The tables ``[[watch]]``: in which directory a job saves, and how it names what it saves.

Presets say for a framework how it names its directories, what it writes last into one, and which
file beside them names the newest that is complete. There are only those of which that is certain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import VERSION_MAX
from ckptd.model.ids import CheckpointName, Version, parse_version

VERSION_WORD: Final = "{version}"
_DIGITS: Final = "([0-9]+)"
_NUMBER: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Preset:
    """How a framework saves.

    Attributes:
        pattern: Of the names of its directories.
        require: Patterns of files that it writes last.
        pointer: A file beside them that names the newest that is complete; empty: none.
    """

    pattern: str
    require: tuple[str, ...] = ()
    pointer: str = ""


PRESETS: Final[Mapping[str, Preset]] = {
    "dcp": Preset(r"[^0-9]*(\d+)", (".metadata",)),
    "deepspeed": Preset(r"global_step(\d+)", pointer="latest"),
    "huggingface": Preset(r"checkpoint-(\d+)", ("trainer_state.json",)),
    "lightning": Preset(r"epoch=\d+-step=(\d+)\.ckpt"),
    "megatron": Preset(r"iter_(\d+)", pointer="latest_checkpointed_iteration.txt"),
    "orbax": Preset(r"(\d+)", ("_CHECKPOINT_METADATA",)),
    "torchtitan": Preset(r"step-(\d+)", (".metadata",)),
}
"""By the word that stands in the configuration. PyTorch DCP leaves names to its callers: of it any
name is taken that ends with its only number; torchtitan has names of its own. NVRx writes global
checkpoints as Megatron does; its local ones are files, of which nothing is taken. Of Lightning only
directories are, which is what its sharded strategies write."""


@dataclass(frozen=True, slots=True)
class WatchRule:
    """One table ``[[watch]]``.

    Attributes:
        directory: Where saves appear, absolute.
        pattern: What the names of saves match as a whole, a regular expression; its group is the
            version.
        checkpoint: What they are versions of; with its shard, if there is one.
        quiet_s: So long nothing may have changed in one.
        require: Patterns of files without which one is not complete.
        pointer: A file beside them that names the newest that is complete; empty: none.
        newest: So many of the newest are taken.
        rate_bytes_per_s: How fast they are read.
    """

    directory: str
    pattern: str
    checkpoint: CheckpointName
    quiet_s: float
    require: tuple[str, ...]
    pointer: str
    newest: int
    rate_bytes_per_s: int

    def version_of(self, name: str) -> Version | None:
        """Return the version that a name says; ``None`` if it is no name of a save.

        One that does not print is none: it could be neither published nor shown.
        """
        if not name.isprintable():
            return None
        found = re.fullmatch(self.pattern, name)
        return None if found is None or found[1] is None else _version(found[1])

    def version_in(self, pointer: str) -> Version | None:
        """Return the version that what is in the pointer says: a name, or a number."""
        named = self.version_of(pointer.strip())
        return _version(pointer.strip()) if named is None else named


def name_pattern(text: str) -> str:
    """Return what the names of saves match: a regular expression, or text with ``{version}``.

    Raises:
        UsageError: It is neither.
    """
    if VERSION_WORD in text:
        before, _, after = text.partition(VERSION_WORD)
        if VERSION_WORD in after:
            raise UsageError(f"{text[:80]!r}", f"has {VERSION_WORD} more than once")
        return f"{re.escape(before)}{_DIGITS}{re.escape(after)}"
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{text[:80]!r}", f"is no regular expression: {error}") from error
    if groups != 1:
        raise UsageError(
            f"{text[:80]!r}",
            f"has {groups} groups, not one",
            r"Write step_{version}, or put the digits in brackets: 'checkpoint-(\d+)'.",
        )
    return text


def _version(digits: str) -> Version | None:
    is_number = digits.isascii() and _NUMBER.fullmatch(digits) is not None
    if not is_number or len(digits.lstrip("0")) > len(str(VERSION_MAX)):
        return None
    return parse_version(int(digits)) if int(digits) <= VERSION_MAX else None
