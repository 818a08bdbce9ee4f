"""What the daemon must offer behind the control socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from ckptd.control.messages.api import (
    CheckpointRow,
    PeerRow,
    PublishEvent,
    PublishRequest,
    RecoverRequest,
    RecoveryView,
    ReloadResult,
    Status,
    WatchEvent,
)
from ckptd.control.messages.explanations import Explanation
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.control.messages.peer_details import PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import NeedEvent, NeedRequest, PrioritizeRequest, Raised


class Operations(Protocol):
    """What the daemon offers behind the socket.

    Everything runs on the event loop; snapshots return at once. An action may be cancelled at
    any ``await`` when its client goes away: it has then taken effect or it has not. Whatever
    cannot be done raises a :class:`~ckptd.errors.CkptdError`; ``NotFound`` for a recovery that
    is not among :meth:`recoveries`.
    """

    def status(self) -> Status:
        """Return the daemon at this moment."""
        ...

    def checkpoints(self) -> Sequence[CheckpointRow]:
        """Return what this node and its peers hold, by name, newest version first."""
        ...

    def peers(self) -> Sequence[PeerRow]:
        """Return the known peers, by address."""
        ...

    def peer(self, node: str) -> PeerView:
        """Return one peer; ``NotFound`` names those that are known."""
        ...

    async def plan(self, request: PlanRequest) -> Plan:
        """Say what a recovery would do, without beginning it."""
        ...

    def recoveries(self) -> Sequence[RecoveryView]:
        """Return those that have not ended and the last 100 that have, newest first."""
        ...

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        ...

    def explain(self, recovery: str) -> Explanation:
        """Say why a recovery goes as it does, or went; of old ones little is left to say."""
        ...

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery and return it as it begins."""
        ...

    async def pause(self, recovery: str) -> RecoveryView:
        """Let no more ranges be requested until it is resumed."""
        ...

    async def resume(self, recovery: str) -> RecoveryView:
        """Let a paused recovery go on."""
        ...

    async def cancel(self, recovery: str) -> RecoveryView:
        """Give a recovery up and remove what it has staged."""
        ...

    async def prioritize(self, recovery: str, request: PrioritizeRequest) -> Raised:
        """Let some units of a recovery go before all others; ``NotFound`` names the nearest."""
        ...

    def need(self, request: NeedRequest) -> AsyncGenerator[NeedEvent, None]:
        """Let one unit go before all others; yield progress once a second, and last one result.

        Of a unit that is here, only the result. Closing the generator leaves it raised.
        """
        ...

    def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
        """Yield progress once a second, the first at once, and last exactly one result.

        Of a recovery that has ended, only the result. Closing the generator leaves the
        recovery alone.
        """
        ...

    def publish(self, request: PublishRequest) -> AsyncGenerator[PublishEvent, None]:
        """Publish a directory; yield progress once a second, and last exactly one result.

        Cancelling or closing the generator stops the publishing.
        """
        ...

    def limits(self) -> LimitsView:
        """Return what is limited at this moment."""
        ...

    def change_limits(self, request: ChangeLimits) -> LimitsView:
        """Set limits or forget what was set; all of it or, if anything is wrong, nothing."""
        ...

    async def reload(self) -> ReloadResult:
        """Read the configuration again and apply it as a whole, or say why not."""
        ...
