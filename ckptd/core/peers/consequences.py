"""What there is to ask an address, and what follows from its answer, for the driver."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost
from ckptd.core.peers.addresses import PeerAddress, PeerEntry
from ckptd.model.ids import NodeId
from ckptd.model.words import PeerState


class Question(NamedTuple):
    """What to ask an address.

    Attributes:
        etag: The answer that is known; ``None``: there is none.
        wait_ns: How long the peer may hold the question back; 0: not at all.
        is_first: This address was never asked.
    """

    etag: str | None
    wait_ns: int
    is_first: bool


class PeerFound(NamedTuple):
    """An address answers; for the log."""

    node: NodeId
    name: str


class AddressLost(NamedTuple):
    """An address is not relied on any more; for the log."""

    name: str
    state: PeerState
    why: str


class DeltaUnfit(NamedTuple):
    """A delta did not fit what was known: the next answer says everything; for the log."""

    name: str
    why: str


class AskNow(NamedTuple):
    """An address is to be asked without waiting for the end of its pause.

    Attributes:
        peer: Which.
        is_open_ended: Also a question that it holds back is to be put again.
    """

    peer: PeerAddress
    is_open_ended: bool = False


class LookUpNow(NamedTuple):
    """A name is to be looked up without waiting for the end of its pause."""

    entry: PeerEntry


Consequence: TypeAlias = (
    HoldingsArrived
    | PeerLost
    | DiscoverySettled
    | PeerFound
    | AddressLost
    | DeltaUnfit
    | AskNow
    | LookUpNow
)
"""An event for the scheduler, a note for the log, or something to ask at once."""


class NextStep(NamedTuple):
    """What follows from an answer or its lack.

    Attributes:
        consequences: In the order in which they are to be carried out.
        pause_ns: How long to wait before the next question.
    """

    consequences: list[Consequence]
    pause_ns: int


class Change(NamedTuple):
    """What follows from other entries, or from other addresses of a name.

    Attributes:
        left: Addresses that do not count any more.
        joined: Those that are new.
        consequences: In the order in which they are to be carried out.
    """

    left: list[PeerAddress]
    joined: list[PeerAddress]
    consequences: list[Consequence]
