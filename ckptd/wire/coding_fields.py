"""What a receiver says of itself when it asks for coded blocks: which coders, and which bases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ckptd.errors import ProtocolViolation, UsageError
from ckptd.model.ids import Digest, parse_digest
from ckptd.model.words import Coder

CODERS: Final = "Ckptd-Coders"
"""Which coders the receiver can decode."""
BASES: Final = "Ckptd-Bases"
"""Versions that the receiver has, too; a coded block names its base by its place in this list."""
BASES_MAX: Final = 4
"""More versions than this are not kept side by side by those who follow one."""


def format_coders(coders: Collection[Coder]) -> str:
    """Write coders as a field has them."""
    return ", ".join(coder for coder in Coder if coder in coders)


def parse_coders(value: str | None) -> frozenset[Coder]:
    """Return the coders in a field; a receiver may know others as well."""
    words = {word.strip() for word in (value or "").split(",")}
    return frozenset(coder for coder in Coder if coder in words)


def format_bases(bases: Sequence[Digest]) -> str:
    """Write bases as a field has them."""
    return ", ".join(bases)


def parse_bases(value: str | None) -> tuple[Digest, ...]:
    """Return the bases in a field, in their order.

    Raises:
        ProtocolViolation: They are no digests, or too many.
    """
    words = [word.strip() for word in value.split(",")] if value else []
    if len(words) > BASES_MAX:
        raise ProtocolViolation("request head", f"offers {len(words)} bases, more than {BASES_MAX}")
    try:
        return tuple(parse_digest(word) for word in words)
    except UsageError as error:
        raise ProtocolViolation(f"base {error.subject}", error.problem) from error
