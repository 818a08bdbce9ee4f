from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import Conflict, ContentChanged, VerificationFailed
from ckptd.store.files.roots import Root
from ckptd.store.materialising.chain_files import chain_files
from ckptd.store.materialising.making import make_copy, standing_copy
from ckptd.store.materialising.verified_blocks import VerifiedBlocks
from ckptd.store.staging.orphans import remove_orphan, staged_recoveries
from ckptd.store.trees.finishing import Finishing
from tests.support.delta_versions import (
    Training,
    assert_same,
    tensors_in,
    write_chain,
    write_delta,
    write_full,
)
from tests.support.materialising import chain_of, hashed_versions, made, target_at
from tests.support.stores import rot


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open("data", str(tmp_path))


def test_the_same_chain_makes_the_same_bytes(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 2, Training())
    assert made(root, range(3), "one").files == made(root, range(3), "two").files


def test_a_file_that_is_not_what_was_published_is_not_used(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 2, Training())
    hashed = hashed_versions(root, range(3))
    for number in range(3):
        unit = next(
            number
            for number, unit in enumerate(hashed[number].manifest.units)
            if unit.path.endswith(".safetensors")
        )
        rotten = [*hashed]
        rotten[number] = rot(root, hashed[number], unit, 3000)
        chain = chain_of(root, rotten)
        with pytest.raises(ContentChanged):
            make_copy(
                target_at(root, "made"),
                chain_files(chain, VerifiedBlocks()),
                [Finishing(each.served.space.manifest) for each in chain],
                lambda _: None,
            )
        assert not (tmp_path / "made").exists()
        hashed[number] = rot(root, hashed[number], unit, 3000)  # the same bit again


def test_what_is_no_copy_is_in_the_way(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 1, Training())
    (tmp_path / "made").mkdir()
    assert standing_copy(target_at(root, "made"), lambda _: None) is None
    (tmp_path / "made/mine").write_text("mine")
    with pytest.raises(Conflict, match="no materialised copy"):
        standing_copy(target_at(root, "made"), lambda _: None)
    with pytest.raises(Conflict):
        made(root, range(2))
    assert (tmp_path / "made/mine").read_text() == "mine"
    assert not (tmp_path / ".ckptd").exists()


def test_what_is_stopped_leaves_nothing(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 1, Training())
    chain = chain_of(root, hashed_versions(root, range(2)))
    finishings = [Finishing(each.served.space.manifest) for each in chain]

    class Stopped(Exception):
        pass

    def stop(_: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        make_copy(target_at(root, "made"), chain_files(chain, VerifiedBlocks()), finishings, stop)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}


def test_what_a_killed_daemon_left_is_removed_by_the_next_one(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_chain(tmp_path, 1, training)
    child = os.fork()
    if not child:
        made(root, range(2), on_progress=lambda _: os._exit(9))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "made").exists()
    assert len(list((tmp_path / ".ckptd").iterdir())) == 1
    (left,) = staged_recoveries(root)
    assert remove_orphan(root, left)
    assert not (tmp_path / ".ckptd").exists()
    made(root, range(2))
    assert_same(tensors_in(tmp_path / "made"), training.tensors)


def test_when_one_file_fails_the_others_end_before_it_is_said(tmp_path: Path, root: Root) -> None:
    training = Training(rows=30_000)
    write_full(tmp_path / "0", training.tensors, shards=3)
    before = training.step()
    after = {**training.tensors, "norm.bias": before["norm.bias"] + 1}
    write_delta(tmp_path / "1", before, after, 1, 0)
    chain = chain_of(root, hashed_versions(root, range(2)))
    files = chain_files(chain, VerifiedBlocks())
    wrong = files.changes["norm.bias"][-1]._replace(expected="00" * 16)
    files = replace(files, changes={**files.changes, "norm.bias": [wrong]})
    finishings = [Finishing(each.served.space.manifest) for each in chain]
    with pytest.raises(VerificationFailed, match="does not sum up"):
        make_copy(target_at(root, "made"), files, finishings, lambda _: None)
    assert not any(each.name.startswith("materialise") for each in threading.enumerate())
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
