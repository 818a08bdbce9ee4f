"""Which coder makes a block shortest: by what its elements are, and by a sample of it.

What is found for a block counts for its neighbours in the file as well: whoever codes keeps it and
looks again now and then.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.frames import Readable
from ckptd.coding.nibbles import HALF_LEAST, HALF_MAX
from ckptd.limits import KIB
from ckptd.model.words import Coder

SAMPLE_BYTES: Final = 64 * KIB
"""Where the coders differ they do so on this much already; it costs a block of 1 MiB 6 % for each
that is tried."""
CHANGED_SHARE_MAX: Final = 0.5
"""Of elements that changed. Up to here a bit for each and the values of those alone are shorter
than differences of all, and are coded faster; at two thirds they are as long and take half as long
again (docs/decisions/064)."""
NIBBLES_SHARE_MIN: Final = 0.2
LARGE_SHARE_MAX: Final = 1 / 20
"""Of elements that changed, and of those whose differences take more than half a byte. Between
these half bytes are decoded twice as fast as a list of changes, and are at most 7 % longer; with
half of all changed they are shorter than anything else."""
_PIECES: Final = 4
"""Of the sample: tables of words are not alike from one end of a block to the other."""
_PAYS_SHARE_MAX: Final = 15 / 16
"""What saves less than a sixteenth is sent as it is."""
_ALIKE_SHARE_MAX: Final = 1 / 512
"""A sample that takes so little is of zeros, or is what it was: any coder is right for that."""
_GUESSED_WIDTHS: Final = (2, 4)
"""Numbers of 8 bytes are rare in checkpoints, and planes of 4 take most of what they have."""


class Fit(NamedTuple):
    """How a block is coded best.

    Attributes:
        coder: By which coder.
        width: Bytes of an element.
        share: How long the sample became, of its length.
    """

    coder: Coder = Coder.PLAIN
    width: int = 1
    share: float = 1.0

    @property
    def is_representative(self) -> bool:
        """It says something of the blocks that follow."""
        return self.share > _ALIKE_SHARE_MAX


def fit(
    coding: BlockCoding,
    block: Readable,
    base: Readable | None,
    permitted: Collection[Coder],
    width: int | None = None,
) -> Fit:
    """Return how a block is coded best.

    Args:
        coding: Tries.
        block: The bytes.
        base: As many of a base; ``None``: there is none.
        permitted: By which coders.
        width: Bytes of an element; ``None``: not known, so it is tried.
    """
    sample = _sample(block)
    was = None if base is None else _sample(base)
    best = Fit()
    for number, each in enumerate((width,) if width is not None else _GUESSED_WIDTHS):
        coders = [Coder.PLANES, Coder.ZSTD]
        if was is not None:
            coders.append(_against(sample, was, permitted, each))
        for coder in coders:
            if coder not in permitted:
                continue
            if number and coder is Coder.ZSTD:
                continue  # whatever the width
            coded = coding.encode(sample, coder, each, base=was or b"", base_number=0)
            share = len(coded) / max(len(sample), 1)
            if share < min(best.share, _PAYS_SHARE_MAX):
                best = Fit(coder, each, share)
    return best


def adapted(
    coder: Coder, width: int, block: Readable, base: Readable, permitted: Collection[Coder]
) -> Coder:
    """Return by which coder a block is coded, of a unit that is coded so.

    Args:
        coder: What was found for a block of it.
        width: Bytes of an element.
        block: The bytes.
        base: As many of a base.
        permitted: By which coders.
    """
    return _against(_sample(block), _sample(base), permitted, width) if coder.needs_base else coder


def _sample(block: Readable) -> bytes:
    """Return pieces from one end of a block to the other, one behind another."""
    view = memoryview(block)
    if len(view) <= SAMPLE_BYTES:
        return bytes(view)
    length = SAMPLE_BYTES // _PIECES
    step = (len(view) - length) // (_PIECES - 1) // 8 * 8
    return b"".join(view[number * step :][:length] for number in range(_PIECES))


def _against(block: bytes, base: bytes, permitted: Collection[Coder], width: int) -> Coder:
    changed, large = _shares(block, base, width)
    is_small = changed >= NIBBLES_SHARE_MIN and large <= LARGE_SHARE_MAX
    if is_small and Coder.NIBBLES in permitted:
        return Coder.NIBBLES
    few = changed <= CHANGED_SHARE_MAX or Coder.DELTA not in permitted
    return Coder.SPARSE if few and Coder.SPARSE in permitted else Coder.DELTA


def _shares(block: bytes, base: bytes, width: int) -> tuple[float, float]:
    """Return of how many elements something changed, and more than half a byte holds."""
    end = len(block) // width * width
    kind = numpy.dtype(f"<u{width}")
    elements, was = numpy.frombuffer(block[:end], kind), numpy.frombuffer(base[:end], kind)
    differences = elements - was
    changed = numpy.count_nonzero(differences)
    differences += HALF_LEAST
    large = numpy.count_nonzero(differences > HALF_MAX)
    return changed / max(len(elements), 1), large / max(len(elements), 1)
