"""What people call a unit, a range of its bytes, and a tensor in it.

``NAME@VERSION:UNIT:OFFSET-LENGTH``: the name of a checkpoint has no colon, so the first one ends
it. The path of a unit may have some: only what two numbers at the very end mean is asked, and a
colon behind them says that they are part of the path.

``NAME@VERSION:UNIT#TENSOR``: paths and tensors may both have ``#``, and which one parts them only
those can say who know the units. Of several that are there the longest path is meant, and before
all of them the whole text, if that is a unit itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ckptd.errors import UsageError
from ckptd.limits import UNIT_BYTES_MAX
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name, parse_version

_RANGE: Final = re.compile(r":(\d{1,20})-(\d{1,20})?", re.ASCII)
_VERSION: Final = re.compile(r"\d{1,19}", re.ASCII)
TENSOR_SIGN: Final = "#"
_PARTINGS_MAX: Final = 8
"""Each one is asked about."""


class UnitName(NamedTuple):
    """A unit of a checkpoint.

    Attributes:
        checkpoint: Of which one.
        version: Of which version; ``None``: of the one that is under way, or the newest here.
        unit: The path of the unit; not checked.
    """

    checkpoint: CheckpointName
    version: Version | None
    unit: str


class UnitRange(NamedTuple):
    """Bytes of a unit.

    Attributes:
        offset: The first one.
        length: How many; ``None``: up to the end of the unit.
    """

    offset: int
    length: int | None


def split_unit_name(text: str) -> UnitName | None:
    """Take ``NAME:UNIT`` or ``NAME@VERSION:UNIT`` apart.

    Returns:
        ``None`` if it cannot be one: before the first colon is no name of a checkpoint.
    """
    named, colon, unit = text.partition(":")
    name, at, version = named.partition("@")
    if not colon or not unit or (at and not _VERSION.fullmatch(version)):
        return None
    try:
        checkpoint = parse_checkpoint_name(name)
        return UnitName(checkpoint, parse_version(int(version)) if at else None, unit)
    except UsageError:
        return None


def split_range(text: str) -> tuple[str, UnitRange | None]:
    """Take the range off what a person typed for a unit.

    ``…:OFFSET-LENGTH`` and ``…:OFFSET-`` at the end is a range. A unit whose own path ends so is
    named with one more colon at the end, which is taken off.

    Returns:
        What names the unit, and the range; ``None``: the whole unit is meant.

    Raises:
        UsageError: No unit is so long.
    """
    if text.endswith(":"):
        kept = text[:-1]
        if _range_at_end(kept) is not None:
            return kept, None
    found = _range_at_end(text)
    if found is None or not found.start():
        return text, None
    offset, length = int(found[1]), None if found[2] is None else int(found[2])
    if offset + (length or 0) > UNIT_BYTES_MAX:
        raise UsageError(f"range {found[0][1:]!r}", "is in no unit: none is so long")
    return text[: found.start()], UnitRange(offset, length)


def partings(text: str) -> Iterator[tuple[str, str]]:
    """Yield what may be meant by ``UNIT#TENSOR``: a unit, or a checkpoint, and the tensor in it.

    Args:
        text: As it was typed; without a ``#`` in it nothing is meant.

    Yields:
        The longest unit first.
    """
    unit = text
    for _ in range(_PARTINGS_MAX):
        unit, sign, _after = unit.rpartition(TENSOR_SIGN)
        tensor = text[len(unit) + len(sign) :]
        if not sign:
            return
        if unit and tensor:
            yield unit, tensor


def is_checkpoint_name(text: str) -> bool:
    """Return whether a text can be ``NAME`` or ``NAME@VERSION``."""
    return split_unit_name(f"{text}:a") is not None and ":" not in text


def _range_at_end(text: str) -> re.Match[str] | None:
    return _RANGE.fullmatch(text, max(text.rfind(":"), 0))
