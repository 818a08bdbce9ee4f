"""Counters of trouble do not move while nothing is wrong: alerts are made of them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ckptd.model.words import PeerState, Result
from tests.support.cluster import NAME, Cluster, Node, eventually, with_and_without_tls
from tests.support.metrics_page import page_of

pytestmark = pytest.mark.integration

OF_TROUBLE = (
    "ckptd_handshake_failures_total",
    "ckptd_refusals_total",
    "ckptd_verify_failures_total",
    "ckptd_quarantines_total",
)
AT_ANY_SPEED = {"idle", "reader_slow", "head_late", "timeout"}
"""Reasons that a busy machine may give."""


def troubles(node: Node) -> dict[str, float]:
    return {
        f"{sample.name} {sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(page_of(node))
        for sample in family.samples
        if sample.name in OF_TROUBLE and not AT_ANY_SPEED & set(sample.labels.values())
    }


@with_and_without_tls
def test_counters_of_trouble_do_not_move_where_all_nodes_have_one_list_of_peers(
    cluster: Cluster,
) -> None:
    """Also with themselves in it, as one configuration for all has it."""
    (a,) = cluster.sources("a")
    b = cluster.node("b", peers=[a.address])
    for node in (a, b):
        node._settings["peers"] = [a.address, b.address]
        node.restart()

    def all_see_all() -> bool:
        states = {row.state for node in (a, b) for row in node.client.peers()}
        return states == {PeerState.SELF, PeerState.LIVE}

    eventually(all_see_all, "both nodes answer")
    before = [troubles(node) for node in (a, b)]
    assert before[0], "there are such counters"
    assert not any(count for name, count in before[0].items() if "'self'" in name)
    assert b.recover(NAME).result is Result.COMPLETE
    assert [troubles(node) for node in (a, b)] == before
