"""What a job saves into a watched directory is on offer with no command."""

from __future__ import annotations

import shutil

import pytest

from ckptd.control.messages.watched import SaveRow
from ckptd.model.words import SavedState
from tests.support.cluster import Cluster, Node, eventually
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

WATCH = """
[[watch]]
directory = "{directory}"
checkpoint = "llama"
pattern = "step_{{version}}"
quiet = "500ms"
require = ["done"]
"""


def saves(node: Node) -> dict[int, SaveRow]:
    (row,) = node.client.watches()
    return {each.version: each for each in row.saves}


def offered(node: Node) -> dict[int, str]:
    return {row.version: row.digest for row in node.client.checkpoints()}


def test_what_is_saved_is_on_offer_and_what_is_rotated_away_is_not(cluster: Cluster) -> None:
    place = cluster.directory / "a" / "root" / "run"
    node = cluster.node("a", sections=WATCH.format(directory=place))
    eventually(lambda: node.events("watch.blind"), "it is said that there is no directory")
    write_files(node.path("run/step_1"), {"weights": b"1", "done": b""})
    write_files(node.path("run/step_2"), {"weights": b"half"})
    node.path("run/latest").symlink_to("step_2")
    eventually(lambda: node.events("watch.taken"), "one is taken")

    def lacking() -> SaveRow | None:
        row = saves(node).get(2)
        return row if row is not None and "'done'" in row.why else None

    assert eventually(lacking, "it is said what the other one lacks").state is SavedState.WAITS
    assert offered(node).keys() == {1}
    first = offered(node)[1]

    write_files(node.path("run/step_1"), {"weights": b"another"})
    eventually(lambda: len(node.events("watch.taken")) >= 2, "it is taken again")
    eventually(lambda: offered(node).get(1, first) != first, "the other content is on offer")
    assert offered(node).keys() == {1}

    (node.path("run/step_2") / "done").touch()
    eventually(lambda: offered(node).keys() == {1, 2}, "what is complete is taken")
    shutil.rmtree(node.path("run/step_1"))
    eventually(lambda: offered(node).keys() == {2}, "what was rotated away is forgotten")
    eventually(lambda: saves(node).keys() == {2}, "nor is it seen any more")
