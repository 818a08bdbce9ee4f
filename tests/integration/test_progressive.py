"""Phases of a version appear while later ones still travel, between real daemons."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ckptd.limits import MIB
from ckptd.model.words import PlaceState, Result, Stage
from tests.support.cluster import Cluster, FileFacts, Node, eventually, tree_digest
from tests.support.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.integration

PHASES = (("0-core", "model-1*"), ("1-serving", "config.*"), ("2-rest", "*"))
STATE = ".ckptd-state.json"


@contextmanager
def throttled(cluster: Cluster, sections: str = "") -> Iterator[tuple[Node, Node, FaultProxy]]:
    """A source of a version in phases behind a link on which the rest takes long."""
    (source,) = cluster.sources("a")
    source.publish(source.path("100"), "phased", critical=(), deferred=(), phases=PHASES)
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        yield source, cluster.node("r", peers=[link.address], sections=sections), link


def state(directory: Path) -> dict[str, bool]:
    """Return which phases the file says are complete."""
    try:
        said = json.loads((directory / STATE).read_bytes())
    except FileNotFoundError:
        return {}
    return {phase["name"]: phase["complete"] for phase in said["phases"]}


def wait_phase(directory: Path, name: str) -> None:
    eventually(lambda: state(directory).get(name), f"phase {name} is complete")


def files(directory: Path) -> dict[str, FileFacts]:
    found = dict(tree_digest(directory))
    found.pop(STATE, None)
    return found


def place_states(node: Node) -> list[PlaceState]:
    return [place.state for row in node.client.checkpoints() for place in row.places]


def test_a_phase_is_there_served_and_survives_a_kill_before_the_rest_is(cluster: Cluster) -> None:
    with throttled(cluster) as (source, receiver, link):
        published = files(source.path("100"))
        target = receiver.path("here")
        recovery = receiver.begin("phased", to=target, place="progressive")
        wait_phase(target, "0-core")
        assert {str(path.relative_to(target)) for path in target.rglob("model*")} == {
            path for path in published if path.startswith("model-1")
        }
        assert receiver.client.recovery(recovery).stage is Stage.TRANSFERRING
        eventually(lambda: place_states(receiver) == [PlaceState.PARTIAL], "it is in the catalog")
        receiver.kill()
        receiver.restart()
        assert state(target)["0-core"]
        link.replies.rate_bytes_per_s = None
        result = receiver.result(recovery)
        assert result.result is Result.COMPLETE
        assert result.bytes_received < result.bytes_total
        assert files(target) == published
        said = json.loads((target / STATE).read_bytes())
        assert (said["complete"], said["under_way"]) == (True, False)
        assert place_states(receiver) == [PlaceState.HERE]


def test_cancelling_takes_away_what_it_placed_and_nothing_else(cluster: Cluster) -> None:
    policy = '[[policy]]\ncheckpoint = "phased*"\nplace = "progressive"\n'
    with throttled(cluster, policy) as (source, receiver, _):
        target = receiver.path("here")
        recovery = receiver.begin("phased", to=target)
        wait_phase(target, "1-serving")
        (target / "mine").write_bytes(b"mine")
        changed = next(target.glob("config.*"))
        changed.write_bytes(b"mine, too")
        receiver.client.cancel(recovery)
        assert receiver.result(recovery).result is Result.CANCELLED
        assert set(os.listdir(target)) == {"mine", changed.name}
        again = receiver.begin("phased", to=receiver.path("there"), place="progressive")
        wait_phase(receiver.path("there"), "0-core")
        receiver.client.cancel(again)
        assert receiver.result(again).result is Result.CANCELLED
        assert not receiver.path("there").exists()
        assert source.client.checkpoints()


def test_a_foreign_file_holds_its_phase_is_named_and_stays(cluster: Cluster) -> None:
    with throttled(cluster) as (source, receiver, link):
        target = receiver.path("here")
        recovery = receiver.begin("phased", to=target, place="progressive")
        wait_phase(target, "0-core")
        name = next(path for path in files(source.path("100")) if path.startswith("model-2"))
        foreign = target / name
        foreign.write_bytes(b"mine")
        link.replies.rate_bytes_per_s = None
        view = receiver.wait_view(
            recovery, lambda view: str(foreign) in view.waiting_for, "it names the file"
        )
        assert "in the way" in view.waiting_for
        diagnosis = list(receiver.client.examine())
        assert any(str(foreign) in str(row) for row in diagnosis), "the doctor names it, too"
        assert foreign.read_bytes() == b"mine"
        foreign.unlink()
        assert receiver.result(recovery).result is Result.COMPLETE
        assert files(target) == files(source.path("100"))


def test_what_fails_leaves_its_phases_and_the_next_recovery_brings_the_rest(
    cluster: Cluster,
) -> None:
    with throttled(cluster) as (source, receiver, link):
        target = receiver.path("here")
        recovery = receiver.begin("phased", to=target, place="progressive", patience_s=0.2)
        wait_phase(target, "0-core")
        source.kill()
        result = receiver.result(recovery)
        assert result.result is Result.FAILED
        there = files(target)
        assert {path for path in there if path.startswith("model")}
        said = json.loads((target / STATE).read_bytes())
        assert (said["complete"], said["under_way"]) == (False, False)
        assert place_states(receiver) == [PlaceState.PARTIAL]
        source.restart()
        link.replies.rate_bytes_per_s = None
        completed = receiver.result(receiver.begin("phased", to=target, place="atomic"))
        assert completed.result is Result.COMPLETE
        assert completed.bytes_received < completed.bytes_total
        assert files(target) == files(source.path("100"))
        said = json.loads((target / STATE).read_bytes())
        assert (said["complete"], said["under_way"]) == (True, False)
