"""A version that stands at its target already, in part or with faults, is put right there."""

from __future__ import annotations

import mmap
import shutil
import threading
from random import Random

import pytest

from ckptd.limits import MIB
from ckptd.model.words import FailureCause, Result
from tests.support.cluster import Cluster, Node, tree_digest
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
