"""A receiver behind faulty links, and what holds whatever is wrong with them."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Callable, Mapping, Sequence

from ckptd.control.messages.recovery_results import RecoveryResult
from ckptd.limits import KIB, MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, FileFacts, eventually, tree_digest
from tests.support.fault_proxy import FaultProxy

RATE = 32 * MIB
"""Slow enough that every source of several gets its share."""


class Network:
    """A receiver, and sources behind proxies; maybe other peers that claim the same."""

    def __init__(
        self, cluster: Cluster, links: Sequence[FaultProxy], others: Sequence[str] = ()
    ) -> None:
        self.links = links
        peers = [*(link.address for link in links), *others]
        self.receiver = cluster.node("r", peers=peers)

        def knows_all() -> bool:
            rows = self.receiver.client.checkpoints()
            return any(len(row.nodes) == len(peers) for row in rows)

        eventually(knows_all, "all holders are known")

    def recover_through_mishap(self) -> RecoveryResult:
        """Recover; until the mishap of the first link has come, hardly anything comes elsewhere.

        Else the others may bring everything before it, on a machine that is busy.
        """
        first, *others = self.links
        for link in others:
            link.replies.rate_bytes_per_s = 256 * KIB
        recovery = self.receiver.begin()
        eventually(lambda: first.plan.mishap_count, "the mishap has come")
        for link in others:
            link.replies.rate_bytes_per_s = RATE
        return self.receiver.result(recovery)

    @property
    def distrusted(self) -> int:
        """How many sources the receiver takes for liars."""
        address = self.receiver.client.status().listen.metrics
        assert address is not None
        with contextlib.closing(http.client.HTTPConnection(address)) as connection:
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
        (count,) = re.findall(r'^ckptd_sources\{state="distrusted"\} (\S+)', page, re.MULTILINE)
        return int(float(count))


Connect = Callable[[int], Network]
"""Makes a receiver that knows so many of the sources."""


def check_whole(result: RecoveryResult, published: Mapping[str, FileFacts]) -> None:
    """Check that a recovery ended complete and bit-exact, and that its books are right."""
    assert (result.result, result.is_degraded) == (Result.COMPLETE, False), result
    assert tree_digest(result.target) == published
    assert result.bytes_received - result.bytes_wasted == result.bytes_total


def shares(result: RecoveryResult) -> dict[str, int]:
    """Return who gave how many bytes."""
    return {share.node: share.bytes for share in result.sources}
