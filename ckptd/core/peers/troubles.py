"""What keeps sources that answer from delivering: remembered for who asks why nothing comes."""

from __future__ import annotations

from typing import Final

from ckptd.core.events import IdentityJudged, SourceTroubled
from ckptd.core.state.step import NodeHandler, Step

TROUBLE_CHARS_MAX: Final = 300
"""Some of it may be what a peer said."""


def on_source_troubled(step: Step, event: SourceTroubled) -> None:
    """Remember why a source delivers nothing, until it does."""
    peer = step.state.peers.get(event.path)
    if peer is not None:
        peer.link.note_trouble(event.trouble[:TROUBLE_CHARS_MAX], now=step.now)


def on_identity_judged(step: Step, event: IdentityJudged) -> None:
    """Remember what is wrong with this node's own certificate."""
    step.state.identity_trouble = event.trouble[:TROUBLE_CHARS_MAX]


HANDLERS: Final = (
    NodeHandler(SourceTroubled, on_source_troubled),
    NodeHandler(IdentityJudged, on_identity_judged),
)
"""What is taken in here."""
