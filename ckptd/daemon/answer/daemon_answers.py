"""Answers what the daemon is and what it limits, and reloads its configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ckptd.control.messages.daemon_status import ListenAddresses, ReloadResult, RootRow, Status
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.core.peers.listing import one_each
from ckptd.daemon.answer.recovery_views import RecoveryViews
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.recover.recovering import Recovering
from ckptd.model.ids import Epoch, NodeId
from ckptd.model.words import PeerState
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import count_by_state


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What the daemon says of itself."""

    node: NodeId
    ckptd_version: str
    epoch: Epoch
    started_at_s: float
    uptime_s: float
    listen: ListenAddresses
    event_loop_lag_s: float


class DaemonAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about the daemon as a whole.

    Args:
        facts: What the daemon says of itself.
        recovering: All recoveries, and which peers answer.
        views: Shows recoveries that have not ended.
        catalog: What is here.
        root_watch: Whether the roots can be used.
        limiting: What may move in a second.
        reload: Reads the configuration again and applies it.
        unmet: Returns why what the configuration asks for did not come.
    """

    def __init__(  # noqa: PLR0913 (it speaks for all of the daemon)
        self,
        *,
        facts: Callable[[], DaemonFacts],
        recovering: Recovering,
        views: RecoveryViews,
        catalog: Catalog,
        root_watch: RootWatch,
        limiting: Limiting,
        reload: Callable[[], Awaitable[ReloadResult]],
        unmet: Callable[[], dict[str, str]],
    ) -> None:
        self._facts = facts
        self._book = recovering.book
        self._peering = recovering.peering
        self._views = views
        self._catalog = catalog
        self._root_watch = root_watch
        self._limiting = limiting
        self._reload = reload
        self._unmet = unmet

    def status(self) -> Status:
        """Return the daemon at this moment."""
        facts = self._facts()
        known = one_each(self._peering.peers())
        others = [peer for peer in known if peer.state is not PeerState.SELF]
        return Status(
            node=facts.node,
            ckptd_version=facts.ckptd_version,
            epoch=facts.epoch,
            started_at_s=facts.started_at_s,
            uptime_s=facts.uptime_s,
            listen=facts.listen,
            roots=tuple(
                RootRow(
                    name=root.name,
                    path=root.path,
                    free_bytes=root.free_bytes,
                    problem=root.obstacle,
                )
                for root in self._root_watch.states()
            ),
            checkpoints=sum(1 for holding in self._catalog.holdings() if holding.is_whole),
            peers=len(others),
            peers_reachable=sum(1 for peer in others if peer.state is PeerState.LIVE),
            recoveries=tuple(self._views.of(recovery) for recovery in self._book),
            event_loop_lag_s=facts.event_loop_lag_s,
            places=count_by_state(self._catalog.versions()),
            unmet=self._unmet(),
        )

    def limits(self) -> LimitsView:
        """Return what is limited at this moment."""
        return self._limiting.view()

    def change_limits(self, request: ChangeLimits) -> LimitsView:
        """Set limits, or forget what was set."""
        return self._limiting.change(request)

    async def reload(self) -> ReloadResult:
        """Read the configuration again and apply it."""
        return await self._reload()
