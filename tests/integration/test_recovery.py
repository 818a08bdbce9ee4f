"""A version is published on two nodes and made complete on others."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.errors import ExitCode, OutsideRoots
from ckptd.limits import MIB
from ckptd.model.words import FailureCause, Location, PlaceState, Result
from tests.support.cluster import NAME, Cluster, Node, make_checkpoint, tree_digest
from tests.support.fault_proxy import fault_proxy
from tests.support.mounts import needs_disk
from tests.support.page_cache import pages_in_memory

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def receiver(sources: list[Node], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that knows both sources; each test recovers to a place of its own."""
    with Cluster(tmp_path_factory.mktemp("receiver")) as made:
        yield made.node("r", peers=[source.address for source in sources])


def test_a_version_comes_back_bit_by_bit_under_its_usual_name(
    sources: list[Node], receiver: Node
) -> None:
    result = receiver.recover()
    assert (result.result, result.is_degraded, result.message) == (Result.COMPLETE, False, "")
    assert result.target == str(receiver.path(NAME, "100"))
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))
    assert sum(share.bytes for share in result.sources) == result.bytes_total
    assert result.bytes_received - result.bytes_wasted == result.bytes_total
    assert result.time_to_critical_s is not None
    assert {entry.name for entry in receiver.path().iterdir()} == {"llama"}


def test_a_version_recovers_to_a_directory_of_choice(sources: list[Node], receiver: Node) -> None:
    target = receiver.path("elsewhere/deep/v")
    result = receiver.recover(to=target)
    assert (result.result, result.target) == (Result.COMPLETE, str(target))
    assert tree_digest(target) == tree_digest(sources[0].path("100"))


def test_recovering_what_is_there_fetches_nothing(receiver: Node) -> None:
    target = receiver.path("twice")
    first = receiver.recover(to=target)
    assert first.bytes_received + first.bytes_local == first.bytes_total
    before = tree_digest(target)
    again = receiver.recover(to=target)
    assert (again.result, again.bytes_received, again.bytes_local, again.was_here) == (
        Result.COMPLETE,
        0,
        again.bytes_total,
        True,
    )
    assert tree_digest(target) == before


def test_without_a_version_the_newest_is_recovered(sources: list[Node], receiver: Node) -> None:
    for version in (7, 9, 8):
        make_checkpoint(sources[0].path(f"steps/{version}"), seed=version)
        sources[0].publish(sources[0].path(f"steps/{version}"), "steps", version)
    result = receiver.recover("steps", None)
    assert (result.result, result.version) == (Result.COMPLETE, 9)
    assert tree_digest(result.target) == tree_digest(sources[0].path("steps/9"))


def test_a_target_outside_the_roots_is_refused(receiver: Node, tmp_path: Path) -> None:
    for target in (tmp_path, "/", f"{receiver.root}/../elsewhere"):
        with pytest.raises(OutsideRoots):
            receiver.begin(to=target)
    assert not list(tmp_path.iterdir())


def test_a_target_with_something_in_it_is_refused_and_left_alone(receiver: Node) -> None:
    target = receiver.path("taken")
    target.mkdir()
    (target / "precious").write_text("mine")
    result = receiver.recover(to=target)
    assert (result.result, result.cause) == (Result.FAILED, FailureCause.STORE)
    assert str(target) in result.message
    assert [entry.name for entry in target.iterdir()] == ["precious"]


def test_a_receiver_becomes_a_source(receiver: Node, cluster: Cluster) -> None:
    assert receiver.recover().result is Result.COMPLETE
    next_one = cluster.node("next", peers=[receiver.address])
    result = next_one.recover()
    assert [share.node for share in result.sources] == ["r"]
    assert tree_digest(result.target) == tree_digest(receiver.path(NAME, "100"))


def test_two_thousand_small_units_travel_in_few_requests(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    directory = source.path("small")
    directory.mkdir()
    for number in range(2000):
        (directory / f"{number:04}").write_bytes(number.to_bytes(2, "big") * 1024)
    source.publish(directory, "small", critical=(), deferred=())
    with fault_proxy(source.data_port) as link:
        receiver = cluster.node("r", peers=[link.address])
        result = receiver.recover("small")
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(directory)
        assert 1 <= len(link.ranges) <= 200  # on a slow machine a request is for less


def test_what_a_source_sent_leaves_its_memory_if_that_is_wanted(cluster: Cluster) -> None:
    source = cluster.node("source", sections="[serving]\ndrop_sent = true\n")
    needs_disk(source.path())
    make_checkpoint(source.path("100"), files=[PlannedFile("model.bin", 64 * MIB)])
    source.publish(source.path("100"), critical=(), deferred=())
    os.sync()  # what is not on the disk yet cannot leave
    receiver = cluster.node("receiver", peers=[source.address])
    assert receiver.recover().result is Result.COMPLETE
    kept = pages_in_memory(source.path("100", "model.bin"))
    assert kept * mmap.PAGESIZE < 32 * MIB  # a send buffer, and what was read ahead


def test_ctl_tells_the_shell_how_it_ended(
    receiver: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--socket", receiver.client.socket_path, "recover", "--wait", "--patience", "100ms"]
    to = str(receiver.path("by-hand"))
    assert ckptctl([*command, f"{NAME}@100", "--to", to]) == ExitCode.DONE
    assert "every block verified" in capsys.readouterr().out
    assert ckptctl([*command, "nobody/has-this@1"]) == ExitCode.MISSING
    assert "nobody has nobody/has-this" in capsys.readouterr().err


def test_a_version_is_complete_without_optional_units_that_nobody_has(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    source = cluster.node("a")
    directory = source.path("100")
    directory.mkdir()
    (directory / "model.bin").write_bytes(bytes(MIB))
    (directory / "train.log").write_bytes(b"x")
    command = ["--socket", source.client.socket_path, "publish", str(directory)]
    published = [*command, "--checkpoint", NAME, "--version", "100", "--optional", "*.log"]
    assert ckptctl(published) == ExitCode.DONE
    (directory / "train.log").unlink()
    receiver = cluster.node("r", peers=[source.address])
    capsys.readouterr()
    command = ["--socket", receiver.client.socket_path, "recover", NAME, "--wait"]
    assert ckptctl([*command, "--patience", "1s"]) == ExitCode.DONE
    assert "missing, optional: train.log" in capsys.readouterr().out
    (result,) = receiver.client.recoveries()
    assert os.listdir(result.target) == ["model.bin"]
    (row,) = receiver.client.checkpoints()
    assert (row.held, row.is_complete, row.nodes) == (Location.HERE, True, ("a", "r"))
    assert [place.state for place in row.places] == [PlaceState.HERE]


def test_a_name_that_nobody_has_ends_at_once_with_the_nearest_ones(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    command = ["--socket", receiver.client.socket_path, "recover", "--wait", "--timeout", "20s"]
    assert ckptctl([*command, f"{NAME}x"]) == ExitCode.MISSING
    assert f"nobody has {NAME}x; known: {NAME}" in capsys.readouterr().err
