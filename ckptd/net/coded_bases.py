"""What both ends of a coded transfer read of a version that both have."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder

DECODED: Final = frozenset(Coder) - {Coder.PLAIN}
"""All coders whose blocks this node decodes."""


class BaseLost(Exception):
    """A block of a base is not here any more, or not what it was."""


class BaseReading(Protocol):
    """Reads blocks of a base one after another."""

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block; return whether it is here, if not whether it is right. Blocks."""

    def read_right(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block; return whether it is here, and right. Blocks."""


class Base(Protocol):
    """A version that the receiver has, too."""

    @property
    def digest(self) -> Digest:
        """Identity of the version."""

    @property
    def space(self) -> AddressSpace:
        """Where each of its blocks lies."""

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block of it; return whether it is here, and right. Blocks."""

    def reading(self) -> AbstractContextManager[BaseReading]:
        """Return what reads blocks of it one after another, for one thread."""


@dataclass(frozen=True, slots=True)
class CodedAsk:
    """That a range is asked for coded.

    Attributes:
        bases: What both have of the same checkpoint; the first ones are tried first.
    """

    bases: tuple[Base, ...]
