"""What deciding about copies costs, and how evenly it spreads them. No daemon, no disk.

    python -m tests.benchmarks.copying --nodes 1000 --versions 1000

Times are of the processor. Movement: how many copies of all have another holder when one node goes
or comes and everything was placed again from nothing, against the ideal, which is what that node
held or is to hold. What is placed already moves less: only what a node that went had is replaced.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import FleetNode, FleetView
from ckptd.copies.ordering import order
from ckptd.copies.zones import Zone
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, NodeId
from tests.support.fleets import claim, fleet_version, fleet_view

COPIES: Final = 3
RULE: Final = CopyRule(CopyCounts(COPIES, COPIES, COPIES))
MOVED_NODES: Final = 128
"""Orders of whole fleets take time with the square of the nodes."""


def zone_of(number: int, kind: str) -> Zone:
    """Return where a node is: nowhere known, in ten rows of ten racks, or in a rack of its own."""
    if kind == "none":
        return ()
    return (f"row-{number % 10}", f"rack-{number % 100 if kind == 'racks' else number}")


def view(kind: str, nodes: int, versions: int, holders: int) -> FleetView:
    known = [FleetNode(NodeId(f"n{number}"), zone_of(number, kind)) for number in range(nodes)]
    made = [
        fleet_version(
            *(claim(f"n{(number * 7 + index * 13) % nodes}") for index in range(holders)),
            name=CheckpointName(f"run-{number // 8}/shard-{number % 8}-of-8"),
        )
        for number in range(versions)
    ]
    return fleet_view("n5", known, *made, rule=RULE)


def decisions(nodes: int, versions: int) -> None:
    print(f"{nodes} nodes, {versions} versions, {COPIES} copies each; processor time a decision")
    for kind in ("none", "racks", "own racks"):
        for holders, state in ((1, "nothing is copied yet"), (COPIES, "all are as asked")):
            some = view(kind, nodes, versions, holders)
            lost = FleetNode(NodeId("n7"), is_live=False, lost_since_ns=1)
            less = replace(some, nodes={**some.nodes, lost.node: lost})
            decider = Decider()
            took_ms = []
            for index, each in enumerate((some, some, less)):
                began = time.process_time()
                decider.decide(each, now=10_000 * SECOND + index)
                took_ms.append((time.process_time() - began) * 1000)
            first, again, after = took_ms
            print(
                f"  zones {kind:9}  {state:21}  first {first:4.0f} ms  again {again:4.0f} ms"
                f"  one node lost {after:4.0f} ms"
            )


def placed(names: Sequence[str], members: Mapping[NodeId, Zone]) -> dict[str, set[NodeId]]:
    return {name: set(order(name, members)[:COPIES]) for name in names}


def movement(names_count: int) -> None:
    names = [f"run-{number}" for number in range(names_count)]
    print(f"{MOVED_NODES} nodes, {names_count} names, {COPIES} copies each")
    for kind in ("none", "racks"):
        members = {NodeId(f"n{number}"): zone_of(number, kind) for number in range(MOVED_NODES)}
        before = placed(names, members)
        held = Counter(node for each in before.values() for node in each)
        mean = COPIES * names_count / MOVED_NODES
        gone = NodeId("n7")
        rest = {node: zone for node, zone in members.items() if node != gone}
        after = placed(names, rest)
        moved = sum(len(after[name] - before[name]) for name in names)
        zones = Counter(len({members[node][:1] for node in each}) for each in before.values())
        print(
            f"  zones {kind:6} one node less moves {moved} copies, it held {held[gone]}"
            f" ({moved / held[gone]:.2f} times);"
            f" the fullest node has {max(held.values()) / mean:.2f}, the emptiest"
            f" {min(held.values()) / mean:.2f} times the mean;"
            f" rows of a version: {dict(sorted(zones.items(), reverse=True))}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000, help="nodes (%(default)s)")
    parser.add_argument("--versions", type=int, default=1000, help="versions (%(default)s)")
    options = parser.parse_args()
    decisions(options.nodes, options.versions)
    movement(options.versions)


if __name__ == "__main__":
    main()
