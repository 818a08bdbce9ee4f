from __future__ import annotations

from ckptd.copies.counts import CopyRule
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, Room
from ckptd.limits import GIB
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Criticality

LLAMA = CheckpointName("llama")
NODES = tuple(NodeId(each) for each in "abcd")


def view(own: NodeId) -> FleetView:
    version = FleetVersion(
        LLAMA,
        Version(7),
        Digest("0" * 64),
        dict.fromkeys(Criticality, GIB),
        (Claim(NODES[0], Criticality.DEFERRED, is_proven=True),),
    )
    return FleetView(
        own=own,
        rule_of=lambda _: CopyRule(),
        nodes={node: FleetNode(node) for node in NODES},
        members={LLAMA: NODES},
        versions=(version,),
        room=Room(quota_bytes=100 * GIB),
    )


def test_each_node_finds_what_is_its_own_and_together_they_make_what_is_asked() -> None:
    decided = {node: Decider().decide(view(node), now=0).pulls for node in NODES}
    assert sorted(pull.least for pulls in decided.values() for pull in pulls) == [
        Criticality.CRITICAL,
        Criticality.NORMAL,
    ]
    assert all(len(pulls) <= 1 for pulls in decided.values())
    assert not decided[NODES[0]]
