"""A version that stands at its target already, in part or with faults, is put right there."""

from __future__ import annotations

import mmap
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.verifications import RepairBegun, VerifyRequest, VerifyResult
from ckptd.errors import ExitCode
from ckptd.limits import MIB
from ckptd.model.words import FailureCause, Result
from tests.support.cluster import NAME, Cluster, Node, eventually, tree_digest
from tests.support.metrics_page import samples

pytestmark = pytest.mark.integration

LARGE = "model-1.safetensors"


@pytest.fixture
def source(cluster: Cluster) -> Node:
    [source] = cluster.sources("a")
    return source


@pytest.fixture
def receiver(cluster: Cluster, source: Node) -> Node:
    return cluster.node("r", peers=[source.address])


def test_a_half_that_somebody_copied_there_is_completed(source: Node, receiver: Node) -> None:
    target = receiver.path("half")
    shutil.copytree(source.path("100"), target)
    whole = tree_digest(target)
    shutil.move(target / LARGE, receiver.path("aside"))
    (target / "notes.txt").write_text("mine")
    result = receiver.recover(to=target)
    missing_bytes = receiver.path("aside").stat().st_size
    assert (result.result, result.bytes_received) == (Result.COMPLETE, missing_bytes)
    assert result.bytes_local == result.bytes_total - missing_bytes
    assert (target / "notes.txt").read_text() == "mine"
    (target / "notes.txt").unlink()
    assert tree_digest(target) == whole


def test_one_flipped_byte_costs_one_block_and_is_overwritten_only_on_demand(
    source: Node, receiver: Node
) -> None:
    target = receiver.path("kept")
    receiver.recover(to=target)
    file = target / LARGE
    with file.open("r+b") as opened:
        opened.seek(2 * MIB + 5)
        byte = opened.read(1)[0]
        opened.seek(2 * MIB + 5)
        opened.write(bytes((byte ^ 1,)))
    changed = file.read_bytes()
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
    refused = receiver.recover(to=target)
    assert (refused.result, refused.cause) == (Result.FAILED, FailureCause.STORE)
    assert "--overwrite" in refused.message
    assert file.read_bytes() == changed
    result = receiver.recover(to=target, overwrite=True)
    assert result.result is Result.COMPLETE
    assert 0 < result.bytes_received <= MIB
    assert tree_digest(target) == tree_digest(source.path("100"))
    kept = receiver.path(".ckptd/replaced", result.recovery, LARGE)
    assert kept.read_bytes() == changed == mapped[:]
    assert samples(receiver, "repaired_units_total") == {"": 1}
    mapped.close()


def test_a_directory_with_other_files_is_no_target(receiver: Node) -> None:
    (receiver.path("other") / "deep").mkdir(parents=True)
    receiver.path("other/deep/mine").write_text("mine")
    result = receiver.recover(to=receiver.path("other"))
    assert (result.result, result.cause) == (Result.FAILED, FailureCause.STORE)
    assert "holds other files" in result.message
    assert receiver.path("other/deep/mine").read_text() == "mine"


def test_a_repair_that_is_killed_leaves_old_or_new_and_goes_on(
    source: Node, receiver: Node
) -> None:
    target = receiver.path("kept")
    receiver.recover(to=target)
    whole = tree_digest(source.path("100"))
    right = (target / LARGE).read_bytes()
    rng = Random(14)
    for seed in range(6):
        wrong = bytearray(right)
        wrong[rng.randrange(len(wrong))] ^= 1
        (target / LARGE).write_bytes(wrong)
        (target / "config.json").unlink()
        seen: set[bytes] = set()
        is_over = threading.Event()

        def read_all_the_time(seen: set[bytes] = seen, over: threading.Event = is_over) -> None:
            while not over.is_set():
                seen.add((target / LARGE).read_bytes())

        reader = threading.Thread(target=read_all_the_time)
        reader.start()
        recovery = receiver.begin(to=target, overwrite=True)
        threading.Event().wait(rng.uniform(0, 0.3))
        receiver.restart()
        result = receiver.result(recovery)
        is_over.set()
        reader.join()
        assert result.result is Result.COMPLETE, f"round {seed}"
        assert tree_digest(target) == whole, f"round {seed}"
        assert seen <= {bytes(wrong), right}, f"round {seed}: a mixture was seen"
        kept = receiver.path(".ckptd/replaced", recovery, LARGE)
        assert kept.read_bytes() == wrong, f"round {seed}"


class Rot:
    """Changes a byte of a file by a mapping, of which no metadata tells.

    The first write to a page of a mapping changes the times of the file, later ones do not until
    the page was written back; a tmpfs writes nothing back.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 0)
        self._mapped[OFFSET] = self._mapped[OFFSET]

    def set_in(self) -> None:
        self._mapped[OFFSET] ^= 1
        self._mapped.close()


OFFSET = 3 * MIB + 17


@pytest.fixture
def in_memory(cluster: Cluster, source: Node) -> Iterator[Callable[[str], Node]]:
    """Make a receiver whose root is in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ckptd-test-") as directory:

        def make(sections: str) -> Node:
            node = cluster.add("m", peers=[source.address], root=Path(directory), sections=sections)
            node.wait_ready()
            return node

        yield make


def verify(node: Node, *, repair: bool = False) -> tuple[list[RepairBegun], VerifyResult]:
    *events, last = node.client.verify(VerifyRequest(checkpoint=NAME, repair=repair))
    assert isinstance(last, VerifyResult)
    return [event for event in events if isinstance(event, RepairBegun)], last


def test_what_has_rotted_is_found_and_put_right_on_demand(
    source: Node, in_memory: Callable[[str], Node]
) -> None:
    node = in_memory('[store]\ncheck_every = "1h"\n')
    target = Path(node.recover().target)
    rot = Rot(target / LARGE)
    assert verify(node)[1].changed_units == 0
    rot.set_in()
    with (target / LARGE).open("rb") as opened:
        old = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
    assert node.recover().was_here, "nothing shows it but the content"
    [begun], result = verify(node, repair=True)
    assert (result.changed_units, begun.directory) == (1, str(target))
    repaired = node.result(begun.recovery)
    assert repaired.result is Result.COMPLETE
    assert 0 < repaired.bytes_received <= MIB
    assert tree_digest(target) == tree_digest(source.path("100"))
    assert old[OFFSET] != (target / LARGE).read_bytes()[OFFSET]
    assert verify(node, repair=True)[0] == []
    assert not node.path(".ckptd").exists(), "nobody meant it to be so: nothing is kept"
    old.close()


def test_a_repair_that_is_interrupted_does_not_forget_what_it_is_for(
    source: Node, in_memory: Callable[[str], Node]
) -> None:
    node = in_memory('[store]\ncheck_every = "1h"\n')
    target = Path(node.recover().target)
    rot = Rot(target / LARGE)
    verify(node)
    rot.set_in()
    source.kill()
    [begun], _ = verify(node, repair=True)
    node.wait_view(begun.recovery, lambda view: bool(view.waiting_for), "it waits for a holder")
    node.restart()
    source.restart()
    assert node.result(begun.recovery).result is Result.COMPLETE
    assert tree_digest(target) == tree_digest(source.path("100"))


def test_rot_is_put_right_without_anybody_asking_if_that_is_configured(
    source: Node, in_memory: Callable[[str], Node]
) -> None:
    node = in_memory('[store]\ncheck_every = "1h"\n[scrub]\nrepair = true\n')
    target = Path(node.recover().target)
    rot = Rot(target / LARGE)
    verify(node)
    rot.set_in()
    assert verify(node)[1].changed_units == 1
    eventually(lambda: tree_digest(target) == tree_digest(source.path("100")), "it is right again")


def test_what_is_missing_is_put_right_on_demand_and_waited_for(
    source: Node, receiver: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Path(receiver.recover().target)
    (target / "run.sh").unlink()
    command = ["--socket", receiver.client.socket_path, "verify", NAME]
    assert ckptctl(command) == ExitCode.VERIFICATION
    assert ckptctl([*command, "--repair"]) == ExitCode.DONE
    assert f"recovered {NAME}@100" in capsys.readouterr().out
    assert tree_digest(target) == tree_digest(source.path("100"))
    assert ckptctl(command) == ExitCode.DONE
