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
from ckptd.limits import KIB
from ckptd.model.words import Coder

SAMPLE_BYTES: Final = 64 * KIB
"""Where the coders differ they do so on this much already; it costs a block of 1 MiB 6 % for each
that is tried."""
CHANGED_SHARE_MAX: Final = 0.5
"""Of elements that changed. Up to here a bit for each and the values of those alone are shorter
than differences of all, and are coded faster (bf16, 10 steps at 2e-5: 8.0 to 6.7 times); at two
thirds they are as long and take half as long again (docs/decisions/064)."""
_PAYS_SHARE_MAX: Final = 15 / 16
"""What saves less than a sixteenth is sent as it is."""
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
    start = (len(block) - SAMPLE_BYTES) // 2 // 8 * 8 if len(block) > SAMPLE_BYTES else 0
    sample = memoryview(block)[start : start + SAMPLE_BYTES]
    was = None if base is None else memoryview(base)[start : start + SAMPLE_BYTES]
    best = Fit()
    for number, each in enumerate((width,) if width is not None else _GUESSED_WIDTHS):
        for coder in _to_try(sample, was, permitted, each):
            if number and coder is Coder.ZSTD:
                continue  # whatever the width
            coded = coding.encode(sample, coder, each, base=was or b"", base_number=0)
            share = len(coded) / max(len(sample), 1)
            if share < min(best.share, _PAYS_SHARE_MAX):
                best = Fit(coder, each, share)
    return best


def _to_try(
    sample: memoryview, base: memoryview | None, permitted: Collection[Coder], width: int
) -> list[Coder]:
    coders = [Coder.PLANES, Coder.ZSTD]
    if base is not None:
        few = _changed_share(sample, base, width) <= CHANGED_SHARE_MAX
        coders.append(Coder.SPARSE if few and Coder.SPARSE in permitted else Coder.DELTA)
    return [each for each in coders if each in permitted]


def _changed_share(sample: memoryview, base: memoryview, width: int) -> float:
    end = len(sample) // width * width
    kind = numpy.dtype(f"<u{width}")
    elements, was = numpy.frombuffer(sample[:end], kind), numpy.frombuffer(base[:end], kind)
    return float(numpy.count_nonzero(elements != was)) / max(len(elements), 1)
