"""Pausing, resuming and cancelling a recovery that is under way."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import Conflict, ExitCode, NotFound, UsageError
from ckptd.limits import MIB
from ckptd.model.words import Result, Stage
from tests.support.cluster import NAME, Cluster, Node, make_checkpoint, tree_digest
from tests.support.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def link(sources: list[Node]) -> Iterator[FaultProxy]:
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=6 * MIB) as made:
        yield made


def test_a_paused_recovery_stands_still_until_it_is_resumed(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    assert receiver.client.pause(recovery).is_paused
    still = receiver.wait_view(
        recovery,
        lambda view: all(row.in_flight_bytes == 0 for row in view.sources),
        "nothing is in flight",
    )
    link.heal()
    receiver.stop()
    receiver.restart()  # it does not forget that it was told to stand still, nor what it has
    paused = receiver.wait_view(
        recovery, lambda view: view.stage is Stage.TRANSFERRING, "it is taken up again"
    )
    assert paused.is_paused
    assert paused.bytes_verified >= still.bytes_verified
    assert not receiver.client.resume(recovery).is_paused
    result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))


def test_a_cancelled_recovery_leaves_nothing_behind(cluster: Cluster, link: FaultProxy) -> None:
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    assert os.listdir(receiver.root) == [".ckptd"]
    assert receiver.client.cancel(recovery).stage is Stage.CANCELLED
    assert receiver.result(recovery).result is Result.CANCELLED
    assert os.listdir(receiver.root) == []
    with pytest.raises(NotFound, match="has ended already"):
        receiver.client.cancel(recovery)


def test_a_recovery_that_is_asked_for_twice_is_one(cluster: Cluster, link: FaultProxy) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin()
    receiver.wait_bytes(first, 2 * MIB)
    assert receiver.begin() == first
    again = receiver.client.recover(RecoverRequest(checkpoint=NAME, version=100))
    assert (again.recovery, again.is_joined, again.is_promoted) == (first, True, False)
    assert not receiver.client.recovery(first).is_joined
    receiver.client.cancel(first)


def test_the_newest_is_recovered_once_however_it_is_asked_for(
    cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin(version=None)
    receiver.wait_bytes(first, 1)
    assert receiver.begin(version=None) == first
    assert receiver.begin(version=100) == first
    receiver.client.cancel(first)


def test_one_in_the_background_becomes_urgent_when_it_is_asked_for_again(
    cluster: Cluster, link: FaultProxy, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin(is_background=True)
    receiver.wait_bytes(first, 2 * MIB)
    assert receiver.begin(is_background=True) == first
    assert receiver.client.recovery(first).is_background
    socket = ("--socket", receiver.client.socket_path)
    assert ckptctl([*socket, "recover", f"{NAME}@100"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert said.out == f"{first} → {receiver.path(NAME, '100')}\n"
    assert "was under way already; it was in the background and is urgent now" in said.err
    assert not receiver.client.recovery(first).is_background
    receiver.restart()
    assert not receiver.client.recovery(first).is_background
    link.heal()
    assert receiver.result(first).result is Result.COMPLETE
    assert [view.recovery for view in receiver.client.recoveries()] == [first]


def test_a_version_goes_to_two_directories_at_once(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    both = [receiver.begin(to=receiver.path(name)) for name in ("one", "two")]
    assert len(set(both)) == 2
    link.heal()
    for recovery in both:
        result = receiver.result(recovery)
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(sources[0].path("100"))


def test_what_is_asked_for_while_it_is_given_up_begins_when_that_is_done(cluster: Cluster) -> None:
    source = cluster.node("a")
    source.path("small").mkdir()
    for number in range(6000):
        source.path(f"small/{number:04}").write_bytes(number.to_bytes(2, "big") * 200)
    source.publish(source.path("small"), critical=(), deferred=())
    with fault_proxy(source.data_port, rate_bytes_per_s=MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        first = receiver.begin()
        receiver.wait_bytes(first, MIB)
        with ThreadPoolExecutor(1) as threads:
            cancelled = threads.submit(receiver.client.cancel, first)
            while receiver.client.recovery(first).stage is Stage.TRANSFERRING:
                pass
            second = receiver.begin()
            assert cancelled.result().stage is Stage.CANCELLED
        assert second != first
        receiver.client.cancel(second)


def test_one_that_may_do_less_than_is_asked_for_is_not_joined(
    cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin()
    request = RecoverRequest(checkpoint=NAME, version=100, overwrite=True, allow_partial=True)
    with pytest.raises(Conflict, match=f"{first}: is under way without --overwrite and --allow-p"):
        receiver.client.recover(request)
    receiver.client.cancel(first)
    more = receiver.client.recover(request).recovery
    assert more != first
    assert receiver.begin() == more
    receiver.client.cancel(more)


def test_a_target_that_another_recovery_will_have_is_refused_before_anything_is_begun(
    cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin(to=receiver.path("deep/current"))
    for target in ("deep/current", "deep", "deep/current/inner"):
        with pytest.raises(Conflict, match=f"is where {first} recovers to"):
            receiver.begin(version=7, to=receiver.path(target))
    assert [view.recovery for view in receiver.client.recoveries()] == [first]
    receiver.client.cancel(first)


def test_a_pattern_begins_all_recoveries_or_none(cluster: Cluster) -> None:
    source = cluster.node("s")
    saved = {name: source.path("saved", name) for name in ("evals/a", "evals/b")}
    for name, directory in saved.items():
        make_checkpoint(directory, files=[PlannedFile(f"{name}.bin", MIB)])
        source.publish(directory, name, critical=(), deferred=())
    receiver = cluster.node("r", peers=[source.address])
    each = RecoverRequest(checkpoint="evals/*")
    for of_one in (
        replace(each, to=str(receiver.path("x"))),
        replace(each, shards="all"),
        replace(each, digest="ab" * 8),
    ):
        with pytest.raises(UsageError, match="is for several checkpoints"):
            receiver.client.recover_matching(of_one)
    in_the_way = receiver.begin("nobody-has-it", None, to=receiver.path("evals", "b", "100"))
    with pytest.raises(Conflict, match=in_the_way):
        receiver.client.recover_matching(RecoverRequest(checkpoint="evals/*", version=100))
    assert [view.recovery for view in receiver.client.recoveries()] == [in_the_way]
    receiver.client.cancel(in_the_way)
    views = receiver.client.recover_matching(RecoverRequest(checkpoint="evals/*"))
    assert [view.checkpoint for view in views] == ["evals/a", "evals/b"]
    for view in views:
        result = receiver.result(view.recovery)
        assert (result.result, result.version) == (Result.COMPLETE, 100)
        assert tree_digest(result.target) == tree_digest(saved[view.checkpoint])
