"""What a source can do for a recovery now."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import PathId
from ckptd.model.words import Criticality


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """A source with room and the most urgent run of blocks it can serve.

    Attributes:
        rank: What decides between offers; the lowest goes first.
        recovery: For which recovery.
        peer: The source.
        run: The blocks, not yet cut to the size of a range.
        criticality: As how urgent they are asked for.
        is_express: On a lane of their own, beside what was asked of the source before.
    """

    rank: tuple[bool, Criticality, int, int, PathId, int]
    recovery: Recovery = field(compare=False)
    peer: Peer = field(compare=False)
    run: BlockRun = field(compare=False)
    criticality: Criticality = field(compare=False)
    is_express: bool = field(default=False, compare=False)
