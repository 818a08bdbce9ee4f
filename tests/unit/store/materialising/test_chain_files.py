from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from ckptd.errors import CkptdError, Conflict, InvalidFormat, VerificationFailed
from ckptd.store.files.roots import Root
from tests.support.delta_versions import (
    Training,
    write_chain,
    write_delta,
    write_full,
)
from tests.support.materialising import files_of, made


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open("data", str(tmp_path))


def test_other_files_are_those_of_the_latest_version(tmp_path: Path, root: Root) -> None:
    training = Training()
    others = {"config.json": "0", "vocab.txt": "v", "pytorch_model.bin": "old weights"}
    write_full(tmp_path / "0", training.tensors, others=others)
    before = training.step()
    write_delta(tmp_path / "1", before, training.tensors, 1, 0, others={"config.json": "1"})
    before = training.step()
    write_delta(tmp_path / "2", before, training.tensors, 2, 1, others={"notes.txt": "2"})
    note = made(root, range(3))
    assert (tmp_path / "made/config.json").read_text() == "1"
    assert (tmp_path / "made/vocab.txt").read_text() == "v"
    assert (tmp_path / "made/notes.txt").read_text() == "2"
    assert note.left_out == ("pytorch_model.bin",)
    assert not (tmp_path / "made/pytorch_model.bin").exists()


def test_a_delta_is_applied_to_nothing_but_its_base(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 3, Training())
    for versions in ([0, 2, 3], [0, 1, 1], [0, 1, 3], [1, 2], [0, 0]):
        with pytest.raises(CkptdError) as raised:
            made(root, versions)
        assert isinstance(raised.value, Conflict | InvalidFormat | VerificationFailed), versions
    assert not (tmp_path / "made").exists()


def test_a_delta_that_is_not_what_its_index_says_is_refused(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_chain(tmp_path, 1, training)
    index = tmp_path / "1/model.safetensors.index.json"
    text = index.read_text()
    for changed, problem in (
        (text.replace('"embed.weight"', '"embed.other"'), "not as its index says"),
        (text.replace("-of-00001", "-of-00002"), "does not name"),
        (text.replace("xxh3-128", "adler32"), "does not say what tensor"),
    ):
        index.write_text(changed)
        with pytest.raises(InvalidFormat, match=problem):
            made(root, range(2))
    index.write_text(text)
    (tmp_path / "1/model-7.safetensors").write_bytes(b"")
    with pytest.raises(InvalidFormat, match="does not name"):
        made(root, range(2))


def test_of_a_file_that_is_cut_off_its_version_is_said(tmp_path: Path, root: Root) -> None:
    write_chain(tmp_path, 3, Training())
    for version, file in ((2, "model-00000-of-00001"), (0, "model-00001-of-00002")):
        damaged = tmp_path / f"{version}/{file}.safetensors"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        with pytest.raises(InvalidFormat, match=rf"{file}.safetensors of \S+@{version}'.* ends"):
            made(root, range(4))


def test_weights_are_what_the_index_of_the_full_version_names(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_chain(tmp_path, 1, training)
    save_file({"extra": training.tensors["step"]}, tmp_path / "0/consolidated.safetensors")
    found = files_of(root, range(2))
    assert found.left_out == ("consolidated.safetensors",)
    assert {path for path, file in found.files.items() if file.tensors} == {
        f"model-0000{number}-of-00002.safetensors" for number in (1, 2)
    }


def test_a_full_version_that_lacks_weights_is_refused(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_chain(tmp_path, 1, training)
    for path in (tmp_path / "0").glob("*.safetensors"):
        path.unlink()
    (tmp_path / "0/model.safetensors.index.json").unlink()
    (tmp_path / "0/config.json").write_text("{}")
    with pytest.raises(InvalidFormat, match="has no"):
        files_of(root, range(2))
    save_file(training.tensors, tmp_path / "0/a.safetensors")
    save_file(training.tensors, tmp_path / "0/b.safetensors")
    with pytest.raises(InvalidFormat, match="in two files"):
        files_of(root, range(2))


def test_a_tensor_that_the_base_does_not_have_is_refused(tmp_path: Path, root: Root) -> None:
    training = Training()
    write_full(tmp_path / "0", training.tensors)
    before = {**training.tensors, "new": training.tensors["norm.bias"]}
    after = {**before, "new": before["new"] + 1}
    write_delta(tmp_path / "1", before, after, 1, 0)
    with pytest.raises(InvalidFormat, match="'new', which its base does not have"):
        files_of(root, range(2))
