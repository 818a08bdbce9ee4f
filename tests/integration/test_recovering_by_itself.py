"""What the configuration names comes back by itself: at the start, or whenever it is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ckptd.control.messages.observation import CheckRow
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.control.messages.waiting import WaitRequest, WaitResult
from ckptd.model.words import CheckResult, Stage
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration

NAME = "llama"


def recover(at: str, more: str = "") -> str:
    return f'[[recover]]\ncheckpoint = "{NAME}"\nat = "{at}"\n{more}'


@pytest.fixture
def source(cluster: Cluster) -> Node:
    node = cluster.node("source")
    make_checkpoint(node.path("100"))
    node.publish(node.path("100"), NAME)
    return node


def asked(node: Node) -> list[RecoveryView]:
    """What the daemon asked for itself, newest first."""
    return [view for view in node.client.recoveries() if view.asked_by == "configuration"]


def placed(node: Node) -> Path:
    """Wait for what is placed, as a job would, and return where."""
    *_, last = node.client.wait(WaitRequest(checkpoint=NAME, goal="complete"))
    assert isinstance(last, WaitResult)
    assert last.is_reached, last.why
    return Path(last.directory)


def remove_by_hand(node: Node, directory: Path) -> None:
    """Remove a version as somebody would who knows nothing of the daemon."""
    shutil.rmtree(directory)
    eventually(lambda: not any(row.places for row in node.client.checkpoints()), "it is noticed")


def test_a_wiped_node_has_its_version_active_after_the_start_and_once_for_each_boot(
    cluster: Cluster, source: Node
) -> None:
    once = recover("start", "activate = true\n")
    node = cluster.node("wiped", peers=[source.address], sections=once)
    directory = placed(node)
    assert tree_digest(directory) == tree_digest(source.path("100"))
    (view,) = eventually(
        lambda: [each for each in asked(node) if each.stage is Stage.COMPLETE], "it is asked for"
    )
    eventually(lambda: node.path(NAME, "current").exists(), "it is active")
    assert node.path(NAME, "current").resolve() == directory
    (event,) = node.events("recovery.configured")
    assert (event.facts["recovery"], event.facts["at"]) == (view.recovery, "start")

    node.path(NAME, "current").unlink()
    remove_by_hand(node, directory)
    node.sections = once + '[[recover]]\ncheckpoint = "other"\nat = "start"\n'
    node.restart()
    # The tables are looked at together: when the other one was asked for this one was decided on.
    eventually(lambda: node.events("recovery.configured"), "the other one is asked for")
    (other,) = node.events("recovery.configured")
    assert other.facts["checkpoint"] == "other"
    assert [each.recovery for each in asked(node) if each.checkpoint == NAME] == [view.recovery]
    assert not directory.exists()

    node.sections = recover("missing")
    node.restart()
    assert placed(node) == directory
    first = asked(node)[0].recovery
    assert first != view.recovery
    remove_by_hand(node, directory)
    eventually(lambda: asked(node)[0].recovery != first, "it is asked for again")
    assert tree_digest(placed(node)) == tree_digest(source.path("100"))


def test_what_a_job_has_at_the_target_stays_and_is_named_once(
    cluster: Cluster, source: Node
) -> None:
    node = cluster.prepare("busy", peers=[source.address], sections=recover("missing"))
    own = node.path(NAME, "100", "own")
    own.parent.mkdir(parents=True)
    own.write_text("of the job")
    node.start()
    node.wait_ready()
    unmet = eventually(lambda: node.client.status().unmet, "it is said")
    why = unmet[NAME]
    assert str(own.parent) in why
    rows = [row for row in node.client.examine() if isinstance(row, CheckRow)]
    (row,) = [row for row in rows if row.check == "recover"]
    assert (row.verdict, row.finding) == (CheckResult.WARN, why)
    assert len(node.events("recovery.unmet")) == 1
    assert [path.name for path in own.parent.iterdir()] == ["own"]
    assert own.read_text() == "of the job"

    shutil.rmtree(own.parent)
    assert tree_digest(placed(node)) == tree_digest(source.path("100"))
    eventually(lambda: not node.client.status().unmet, "nothing is unmet")
