"""Ranges of a unit that is still away are read as they come, and never as zeros."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.client import ControlClient
from ckptd.control.messages.prioritized import NeedBytes, NeedRequest, NeedResult
from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.errors import CkptdError, DaemonUnreachable, ExitCode, NotFound, UsageError
from ckptd.limits import MIB
from tests.support.cluster import NAME, Cluster, Node
from tests.support.control import StandInDaemon, serving
from tests.support.control_samples import NEED_PROGRESS, NEED_RESULT
from tests.support.fault_proxy import fault_proxy
from tests.support.loops import NewLoop

pytestmark = pytest.mark.integration

DEFERRED = "optimizer/shard.pt"


def test_bytes_follow_their_message_on_the_same_stream(new_loop: NewLoop, tmp_path: Path) -> None:
    path, data = str(tmp_path / "ckptd.sock"), os.urandom(3 * MIB)
    first, second = NeedBytes(offset=0, size_bytes=len(data)), NeedBytes(offset=9, size_bytes=2)
    steps = (NEED_PROGRESS, data, first, NEED_PROGRESS, b"\n{", second, NEED_RESULT)
    with serving(StandInDaemon(needing=steps), path, new_loop):
        got = list(ControlClient(path).need_bytes(NeedRequest(path="a", offset=0)))
    assert got == [NEED_PROGRESS, first, data, NEED_PROGRESS, second, b"\n{", NEED_RESULT]


def test_a_stream_that_ends_among_bytes_is_no_answer(new_loop: NewLoop, tmp_path: Path) -> None:
    path = str(tmp_path / "ckptd.sock")
    steps = (b"abc", NeedBytes(offset=0, size_bytes=1000))
    with (
        serving(StandInDaemon(needing=steps), path, new_loop),
        pytest.raises(DaemonUnreachable, match="before the unit was here"),
    ):
        list(ControlClient(path).need_bytes(NeedRequest(path="a", offset=0)))


@pytest.fixture
def receiver(sources: list[Node], tmp_path: Path) -> Iterator[Node]:
    """A node with one slow source: what is not needed does not come while a test lasts."""
    with (
        fault_proxy(sources[0].data_port, rate_bytes_per_s=MIB // 2) as link,
        Cluster(tmp_path / "receiver") as made,
    ):
        yield made.node("r", peers=[link.address])


def test_a_range_is_read_before_its_unit_is_here_and_after(
    sources: list[Node], receiver: Node, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    content = sources[0].path("100", DEFERRED).read_bytes()
    recovery = receiver.begin()
    reader = receiver.client.open_range(f"{NAME}:{DEFERRED}")
    assert reader.size_bytes == len(content)
    at = 5 * MIB + 4097
    assert reader.read(at, 4096) == content[at : at + 4096]
    assert receiver.client.recovery(recovery).bytes_left, "it was read before all of it is here"
    with pytest.raises(UsageError, match=f"it has {len(content)}"):
        reader.read(len(content), 1)
    shown = ("--socket", receiver.client.socket_path, "need")
    named = f"{NAME}@100:{DEFERRED}:{at + 1}-100"
    assert ckptctl([*shown, named, "--cat"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == content[at + 1 : at + 101]
    assert ckptctl([*shown, named]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == f"{DEFERRED}: the range is here\n".encode()
    receiver.restart()
    assert reader.read(at, 4096) == content[at : at + 4096], "the same content, after a restart"
    receiver.client.cancel(recovery)
    with pytest.raises(NotFound):
        reader.read(at, 4096)


def test_on_demand_only_what_is_read_is_fetched_until_the_rest_is_wanted(
    sources: list[Node], receiver: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sources[0].path("100", DEFERRED).read_bytes()
    socket = ("--socket", receiver.client.socket_path)
    assert ckptctl([*socket, "recover", f"{NAME}@100", "--on-demand"]) == ExitCode.DONE
    recovery = capsys.readouterr().out.split()[0]
    reader = receiver.client.open_range(f"{NAME}:{DEFERRED}")
    assert reader.read(5 * MIB, 4096) == content[5 * MIB : 5 * MIB + 4096]
    receiver.restart()
    assert reader.read(MIB, 10) == content[MIB : MIB + 10]
    view = receiver.wait_view(
        recovery, lambda view: "on demand" in view.waiting_for, "nothing more is fetched"
    )
    assert view.is_on_demand
    assert view.bytes_verified <= 4 * MIB, "two blocks, and zeros"
    again = receiver.client.recover(RecoverRequest(checkpoint=NAME, version=100))
    assert (again.recovery, again.is_joined, again.rest_is_wanted) == (recovery, True, True)
    assert not again.is_on_demand
    receiver.wait_bytes(recovery, view.bytes_verified + 1)
    receiver.client.cancel(recovery)


def test_a_range_of_what_stands_here_is_read_and_compared(
    sources: list[Node], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    source = sources[0]
    content = source.path("100", DEFERRED).read_bytes()
    reader = source.client.open_range(f"{NAME}:{DEFERRED}")
    pieces = list(itertools.islice(reader.pieces(1), 2))
    assert b"".join(pieces) == content[1 : 1 + sum(map(len, pieces))]
    request = NeedRequest(path=str(source.path("100", DEFERRED)), offset=0, length=1)
    (result,) = source.client.need(request)
    assert isinstance(result, NeedResult)
    assert (result.unit_bytes, result.path) == (len(content), request.path)
    shown = ("--socket", source.client.socket_path, "need")
    assert ckptctl([*shown, f"{NAME}:{DEFERRED}:{len(content) - 3}-", "--cat"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == content[-3:]
    for wrong in ("none", f"{NAME}:none"):
        with pytest.raises(CkptdError):
            source.client.open_range(wrong).read(0, 1)
