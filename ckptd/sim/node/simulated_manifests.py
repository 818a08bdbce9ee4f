"""Questions for manifests in one life of a simulated node, which may be dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from ckptd.core.effects import DropManifest, FetchManifest
from ckptd.core.events import Event, ManifestArrived, ManifestMissed, Reporting
from ckptd.limits import MS
from ckptd.model.ids import Digest, PathId, RecoveryId
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.layouts import SavedVersion

JOURNAL_NS: Final = MS
"""How long a look into the journal takes."""


class Asking(Protocol):
    """Puts a small question to a source."""

    def __call__(
        self, source: PathId, answered: Callable[[Server], None], failed: Callable[[], None]
    ) -> None:
        """Call one of the two, however late."""


class Waiting(Protocol):
    """Does something later, unless this life of the node is over by then."""

    def __call__(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do it after a while."""


class SimulatedManifests:
    """All questions for manifests of one life of a node.

    Args:
        ask: Puts questions to sources.
        after: Does something later.
        report: Takes what comes of them.
        own_version: What this node has the manifest of, in its journal or catalog.
        arrived: Takes the versions whose manifests came.
        stagings: Know which units are wanted.
    """

    def __init__(
        self,
        ask: Asking,
        after: Waiting,
        report: Reporting,
        own_version: Callable[[FetchManifest], SavedVersion | None],
        arrived: dict[tuple[RecoveryId, Digest], SavedVersion],
        stagings: Mapping[RecoveryId, SimulatedStaging],
    ) -> None:
        self._ask = ask
        self._after = after
        self._report = report
        self._own_version = own_version
        self._arrived = arrived
        self._stagings = stagings
        self._questions: dict[tuple[RecoveryId, PathId], object] = {}

    def fetch(self, order: FetchManifest) -> None:
        """Ask a source for a manifest, or this node."""
        source = order.source
        missed = ManifestMissed(order.recovery, source, is_lie=False)
        if source is None:
            version = self._own_version(order)

            def look() -> None:
                self._report(missed if version is None else self._arrival(order, version))

            self._after(JOURNAL_NS, look)
            return
        name = (order.recovery, source)
        question = self._questions[name] = object()

        def end(event: Event) -> None:
            if self._questions.get(name) is question:
                del self._questions[name]
                self._report(event)

        def arrive(version: SavedVersion) -> None:
            if self._questions.get(name) is question:
                self._arrived[order.recovery, order.digest] = version
                end(self._arrival(order, version))

        def answered(server: Server) -> None:
            version = server.held_version(order.digest)
            if server.mishaps.goes_wrong():
                end(missed)
            elif server.invents(order.digest):
                end(replace(missed, is_lie=True))
            elif version is None:
                end(replace(missed, is_denied=True))
            elif server.lies_about_manifest():
                end(replace(missed, is_lie=True))
            else:
                self._after(JOURNAL_NS, lambda: arrive(version))

        self._ask(source, answered, lambda: end(missed))

    def _arrival(self, order: FetchManifest, version: SavedVersion) -> ManifestArrived:
        """Say that a manifest came, and which blocks of the version are wanted by now."""
        staging = self._stagings[order.recovery]
        chosen = None if staging.choice is None else staging.wanted(version)
        return ManifestArrived(order.recovery, order.source, version.space, chosen)

    def drop(self, order: DropManifest) -> None:
        """Wait for a manifest no longer: the question ends as missed, soon."""
        if self._questions.pop((order.recovery, order.source), None) is not None:
            missed = ManifestMissed(order.recovery, order.source, is_lie=False)
            self._after(0, lambda: self._report(missed))
