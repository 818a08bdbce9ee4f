"""Units that somebody waits for come first, and can be read before the rest is here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.prioritized import (
    NeedProgress,
    NeedRequest,
    NeedResult,
    PrioritizeRequest,
)
from ckptd.errors import Conflict, ExitCode, NotFound, OutsideRoots, UsageError
from ckptd.limits import MIB
from ckptd.model.words import Stage
from tests.support.cluster import NAME, Cluster, Node
from tests.support.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.integration

DEFERRED = "optimizer/shard.pt"
DEFERRED_BYTES = 8 * MIB - 1


@pytest.fixture(scope="module")
def link(sources: list[Node]) -> Iterator[FaultProxy]:
    """The way to a source, on which the whole version takes six seconds."""
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=4 * MIB) as made:
        yield made


@pytest.fixture(scope="module")
def receiver(link: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with one slow source, for tests that leave nothing on it."""
    with Cluster(tmp_path_factory.mktemp("receiver")) as made:
        yield made.node("r", peers=[link.address])


@pytest.fixture
def recovery(receiver: Node) -> Iterator[str]:
    """A recovery that has just begun to transfer."""
    begun = receiver.begin()
    receiver.wait_bytes(begun, 1)
    yield begun
    if not receiver.client.recovery(begun).stage.is_ended:
        receiver.client.cancel(begun)


def test_a_deferred_unit_that_is_needed_comes_before_normal_ones(
    sources: list[Node], receiver: Node, recovery: str
) -> None:
    *progress, result = receiver.client.need(NeedRequest(path=DEFERRED))
    view = receiver.client.recovery(recovery)
    assert view.bytes_left > DEFERRED_BYTES, "more urgent units are still missing"
    assert result == NeedResult(
        recovery=recovery,
        unit=DEFERRED,
        path=str(receiver.path(".ckptd", recovery, DEFERRED)),
        is_placed=False,
    )
    assert Path(result.path).read_bytes() == sources[0].path("100", DEFERRED).read_bytes()
    assert all(isinstance(event, NeedProgress) and event.is_prioritized for event in progress)


def test_units_that_are_prioritized_come_before_the_others(receiver: Node, recovery: str) -> None:
    raised = receiver.client.prioritize(recovery, PrioritizeRequest(pattern="optimizer/*"))
    assert (raised.units, raised.units_here) == (1, 0)
    assert (raised.bytes, raised.bytes_here) == (DEFERRED_BYTES, 0)
    *_, result = receiver.client.need(NeedRequest(path=DEFERRED))
    assert isinstance(result, NeedResult)
    view = receiver.client.recovery(recovery)
    assert view.bytes_left > 0
    again = receiver.client.prioritize(recovery, PrioritizeRequest(pattern="*.pt"))
    assert (again.units_here, again.bytes_here) == (1, DEFERRED_BYTES)


def test_who_waits_for_a_unit_is_told_when_its_recovery_is_given_up(
    receiver: Node, recovery: str
) -> None:
    events = receiver.client.need(NeedRequest(path=DEFERRED))
    assert isinstance(next(events), NeedProgress)
    receiver.client.cancel(recovery)
    with pytest.raises(NotFound, match=r"did not come: recovery .* has ended: cancelled"):
        list(events)


def test_what_matches_nothing_is_refused_with_the_nearest_names(
    receiver: Node, recovery: str
) -> None:
    with pytest.raises(NotFound, match=r"matches no unit\. .*optimizer/shard\.pt"):
        receiver.client.prioritize(recovery, PrioritizeRequest(pattern="optimiser/shard.*"))
    with pytest.raises(NotFound, match=r"of no running recovery\. .*optimizer/shard\.pt"):
        list(receiver.client.need(NeedRequest(path="optimizer/shards.pt")))
    with pytest.raises(NotFound, match="is not in what"):
        list(receiver.client.need(NeedRequest(path=str(receiver.path(NAME, "100", "none")))))
    with pytest.raises(NotFound, match="is no unit of a version"):
        list(receiver.client.need(NeedRequest(path=str(receiver.path("none")))))
    with pytest.raises(OutsideRoots):
        list(receiver.client.need(NeedRequest(path="/etc/passwd")))


def test_a_unit_of_two_recoveries_has_to_be_named_by_its_place(
    receiver: Node, recovery: str
) -> None:
    other = receiver.begin(to=receiver.path("other"))
    receiver.wait_view(
        other, lambda view: view.stage.value == Stage.TRANSFERRING.value, "it transfers"
    )
    with pytest.raises(UsageError, match="is of 2 running recoveries"):
        list(receiver.client.need(NeedRequest(path=DEFERRED)))
    first = next(receiver.client.need(NeedRequest(path=str(receiver.path("other", DEFERRED)))))
    assert isinstance(first, NeedProgress)
    assert first.recovery == other
    receiver.client.cancel(other)


def test_units_cannot_be_chosen_before_they_are_known(receiver: Node) -> None:
    seeking = receiver.begin("nobody/has/this", 1)
    with pytest.raises(Conflict, match="does not know its units yet"):
        receiver.client.prioritize(seeking, PrioritizeRequest(pattern="*"))
    first = next(receiver.client.need(NeedRequest(path=str(receiver.path("nobody/has/this/1/a")))))
    assert isinstance(first, NeedProgress)
    assert not first.is_prioritized
    assert first.waiting_for
    receiver.client.cancel(seeking)


def test_a_recovery_in_the_background_is_still_there_after_a_restart(receiver: Node) -> None:
    recovery = receiver.begin(to=receiver.path("later"), is_background=True)
    assert receiver.wait_bytes(recovery, 1).is_background
    receiver.restart()
    assert receiver.client.recovery(recovery).is_background
    receiver.client.cancel(recovery)


def test_a_needed_file_is_named_by_where_it_will_stand(
    receiver: Node, recovery: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = receiver.path(NAME, "100", DEFERRED)
    socket = ("--socket", receiver.client.socket_path)
    assert ckptctl([*socket, "need", str(place)]) == ExitCode.DONE
    out = capsys.readouterr().out.strip()
    assert os.path.getsize(out) == DEFERRED_BYTES
    assert receiver.result(recovery).target == str(receiver.path(NAME, "100"))
    assert ckptctl([*socket, "need", str(place)]) == ExitCode.DONE
    assert capsys.readouterr().out == f"{place}\n"
