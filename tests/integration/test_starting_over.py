"""Liars that say whatever gets them asked again, between a real receiver and an honest source."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ckptd.limits import BLOCK_BYTES_MIN
from ckptd.model.ids import NodeId
from ckptd.model.words import PeerState, Result
from tests.support.cluster import (
    NAME,
    Cluster,
    eventually,
    make_checkpoint,
    tree_digest,
    with_and_without_tls,
)
from tests.support.metrics_page import samples
from tests.support.washers import Honest, washer

pytestmark = [pytest.mark.integration, with_and_without_tls]

STRIKES = 4
RUSES: dict[str, tuple[int, float | None]] = {
    "stands": (200, None),
    "denies": (410, None),
    "errs": (500, None),
    "reborn": (200, 0.25),
    "reborn-denies": (410, 0.25),
}
"""What each answers when it is asked about bad blocks, and how often it has a new epoch."""


def test_who_states_the_id_of_an_honest_node_first_does_not_keep_it(cluster: Cluster) -> None:
    source = cluster.node("a")
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    own = _files_of(cluster, "evil")
    honest = Honest.ask(source.data_port, own)
    source.stop()
    with washer("a", honest, status=410, files=own) as squatter:
        receiver = cluster.node("r", peers=[squatter.address, source.address])
        # A certificate proves who it is; without one it has the id that it states.
        state = PeerState.LIVE if own is None else PeerState.UNREACHABLE

        def found() -> bool:
            return receiver.client.peers()[0].state is state

        eventually(found, "the liar is looked at")
        source.start()
        source.wait_ready()
        result = receiver.recover()
        assert result.result is Result.COMPLETE
        assert tree_digest(receiver.path(NAME, "100")) == tree_digest(source.path("100"))
        assert result.bytes_received <= 1.05 * result.bytes_total + STRIKES * BLOCK_BYTES_MIN
        assert receiver.client.peers()[0].state is not PeerState.LIVE


def _files_of(cluster: Cluster, name: str) -> tuple[str, str] | None:
    """Return a certificate of a node and its key; ``None`` without TLS."""
    if cluster.authority is None:
        return None
    cluster.authority.issue(NodeId(name))
    return cluster.authority.paths_of(NodeId(name))


def test_liars_of_all_kinds_cost_a_few_blocks_each_and_nobody_honest_is_blamed(
    cluster: Cluster,
) -> None:
    source = cluster.node("a", sections='[limits]\negress = "8MiB/s"\n')
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))

    honest = Honest.ask(source.data_port, _files_of(cluster, "asker"))
    with ExitStack() as stack:
        liars = [
            stack.enter_context(
                washer(name, honest, status=status, epoch_s=epoch_s, files=_files_of(cluster, name))
            )
            for name, (status, epoch_s) in RUSES.items()
        ]
        addresses = [*(liar.address for liar in liars), source.address]
        receiver = cluster.node("r", peers=addresses)

        def live() -> int:
            return sum(row.state is PeerState.LIVE for row in receiver.client.peers())

        eventually(lambda: live() == len(addresses), "all are known")
        result = receiver.recover()
        assert result.result is Result.COMPLETE
        assert tree_digest(receiver.path(NAME, "100")) == tree_digest(source.path("100"))
        strikes_bytes = STRIKES * len(liars) * BLOCK_BYTES_MIN
        assert result.bytes_received <= 1.05 * result.bytes_total + strikes_bytes
        views = [receiver.client.peer(name) for name in RUSES]
        asked = [liar for liar in liars if liar.sent_bytes]
        assert len(asked) >= 3, "they were worth asking"
        for liar, view in zip(liars, views, strict=True):
            assert view.bad_blocks <= STRIKES, liar.node
            assert bool(view.quarantines or view.bad_blocks) is bool(liar.sent_bytes), liar.node
        honest_view = receiver.client.peer("a")
        assert (honest_view.quarantines, honest_view.bad_blocks) == (0, 0)
        assert honest_view.trust >= 0
        counted = sum(view.quarantines for view in views)
        assert samples(receiver, "quarantines_total") == {"": counted}
