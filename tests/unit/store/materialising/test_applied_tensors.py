from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from ckptd.errors import InvalidFormat, VerificationFailed
from ckptd.store.files.layout import MADE_NOTE
from ckptd.store.files.roots import Root
from tests.support.delta_versions import (
    OVERWRITE,
    SUMS,
    XOR,
    Training,
    assert_same,
    tensors_in,
    write_chain,
    write_delta,
    write_full,
)
from tests.support.materialising import made


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open("data", str(tmp_path))


@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("sum_kind", list(SUMS))
@pytest.mark.parametrize("encoding", [XOR, OVERWRITE])
def test_a_chain_makes_the_latest_tensors(
    tmp_path: Path, root: Root, encoding: str, sum_kind: str, compression: str
) -> None:
    training = Training()
    write_chain(
        tmp_path, 3, training, encoding=encoding, sum_kind=sum_kind, compression=compression
    )
    note = made(root, range(4))
    assert_same(tensors_in(tmp_path / "made"), training.tensors)
    full = {path.name for path in (tmp_path / "0").iterdir()}
    assert {file.path for file in note.files} == full
    assert {path.name for path in (tmp_path / "made").iterdir()} == {*full, MADE_NOTE}
    assert not (tmp_path / ".ckptd").exists()


def test_tensors_longer_than_slices_and_blocks_are_right(tmp_path: Path, root: Root) -> None:
    training = Training(rows=30_000)
    write_chain(tmp_path, 2, training, encoding=OVERWRITE)
    made(root, range(3))
    assert_same(tensors_in(tmp_path / "made"), training.tensors)


def test_a_tensor_that_did_not_change_is_as_in_the_full_version(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_full(tmp_path / "0", training.tensors, shards=1)
    for version, name in ((1, "norm.bias"), (2, "embed.weight"), (3, "norm.bias")):
        before = training.step(share=0.5, names=[name])
        write_delta(tmp_path / str(version), before, training.tensors, version, version - 1)
    made(root, range(4))
    assert_same(tensors_in(tmp_path / "made"), training.tensors)


@pytest.mark.parametrize("encoding", [XOR, OVERWRITE])
def test_a_base_with_other_weights_is_found(tmp_path: Path, root: Root, encoding: str) -> None:
    training = Training()
    write_chain(tmp_path, 2, training, encoding=encoding)
    other = Training(seed=2)
    (tmp_path / "0").rename(tmp_path / "right")
    write_full(tmp_path / "0", other.tensors)
    with pytest.raises(VerificationFailed, match="does not sum up"):
        made(root, range(3))
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / ".ckptd").exists()


def test_a_tensor_of_another_length_is_refused(tmp_path: Path, root: Root) -> None:
    training = Training()
    before = {**training.tensors, "norm.bias": numpy.zeros(9, "<f4")}
    write_full(tmp_path / "0", training.tensors)
    after = {**training.tensors, "norm.bias": numpy.ones(9, "<f4")}
    write_delta(tmp_path / "1", before, after, 1, 0)
    with pytest.raises(InvalidFormat, match="goes on behind the end"):
        made(root, range(2))
