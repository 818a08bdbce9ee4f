"""What is wrong with each part of the daemon, in a few words: for probes."""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.daemon.host.root_watch import RootState
from ckptd.daemon.recover.peering import Peering
from ckptd.model.words import PeerState, PlaceState
from ckptd.store.files.permission import writing_remedy
from ckptd.store.published.catalog import Catalog


def components(peering: Peering, catalog: Catalog, roots: Iterable[RootState]) -> dict[str, str]:
    """Say of each part what is wrong with it; empty if nothing is."""
    peers = [peer for peer in peering.peers() if peer.state is not PeerState.SELF]
    is_alone = peers and all(peer.state is not PeerState.LIVE for peer in peers)
    stale = sum(held.main.state is PlaceState.STALE for held in catalog.versions())
    return {
        "peers": "no peer answers" if is_alone else "",
        "store": f"{stale} stale versions" if stale else "",
        **{f"root {root.name}": root.obstacle for root in roots},
    }


def forbidden_root(roots: Iterable[RootState]) -> str:
    """Name a root that is not this user's to write to, and why; empty if there is none.

    Whoever configures that meant something else. One whose file system is read-only may serve.
    """
    for root in roots:
        if writing_remedy(root.obstacle, root.path):
            return f"root {root.name}: {root.obstacle}"
    return ""
