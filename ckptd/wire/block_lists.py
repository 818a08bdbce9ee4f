"""Lists of blocks: the ``Ckptd-Blocks`` field, as in ``3-7,9``, first and last included."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from ckptd.limits import MANIFEST_BLOCKS_MAX, QUESTIONED_BLOCKS_MAX
from ckptd.model.blocks import BlockSet

# At most 7 digits, as MANIFEST_BLOCKS_MAX has.
_RUN: Final = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?", re.ASCII)


def format_blocks(blocks: BlockSet) -> str:
    """Write a ``Ckptd-Blocks`` field."""
    return ",".join(
        str(start) if end == start + 1 else f"{start}-{end - 1}" for start, end in blocks.runs()
    )


def parse_blocks(value: str | None) -> BlockSet:
    """Read a ``Ckptd-Blocks`` field.

    It is advice: what makes no sense is left out, and so is what is too much.

    Args:
        value: The field; ``None`` if there is none.

    Returns:
        At most ``QUESTIONED_BLOCKS_MAX`` blocks.
    """
    found: list[int] = []
    for item in islice((value or "").split(","), QUESTIONED_BLOCKS_MAX):
        match = _RUN.fullmatch(item.strip())
        if match is None:
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        left = QUESTIONED_BLOCKS_MAX - len(found)
        found += range(first, min(last + 1, first + left, MANIFEST_BLOCKS_MAX))
    return BlockSet((block, block + 1) for block in found)
