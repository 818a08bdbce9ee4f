"""Everything by which versions go from this node, put together."""

from __future__ import annotations

from collections.abc import Callable

from ckptd.daemon.audit.auditing import Auditing
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.daemon.retain.named_places import NamedPlaces
from ckptd.daemon.retain.removing import Removing
from ckptd.daemon.retain.retaining import Retaining
from ckptd.daemon.serve.advertising import Advertising
from ckptd.model.ids import Digest


class Retention:
    """The parts of it.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        advertising: What this node says that it holds.
        note_let_go: Given each version that somebody wants to go from a place: nobody misses it.
        auditing: Asks peers for proof, also of what may go soon.
        is_busy: Tells whether there is other work, which goes before what is done by itself.

    Attributes:
        standings: Finds versions that stand here, and says which are not to be touched.
        removing: Removes them.
        leases: Knows who reads what.
        retaining: Removes by itself what nothing keeps.
    """

    def __init__(
        self,
        parts: Parts,
        recovering: Recovering,
        advertising: Advertising,
        *,
        note_let_go: Callable[[Digest], None],
        auditing: Auditing,
        is_busy: Callable[[], bool],
    ) -> None:
        self.standings = NamedPlaces(parts.storage, recovering, note_let_go)
        self.removing = Removing(parts.storage, self.standings)
        self.leases = Leases(parts.storage.retention)
        self.retaining = Retaining(
            parts,
            recovering,
            advertising,
            self.standings,
            self.removing,
            self.leases,
            is_proven=auditing.is_proven,
            is_busy=is_busy,
        )
        auditing.goes = lambda: self.retaining.seen.going
