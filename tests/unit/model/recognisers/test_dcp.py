"""Directories of PyTorch DCP: some that PyTorch wrote, others with metadata as it writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.limits import MIB
from ckptd.model.recognisers import dcp
from ckptd.model.recognisers.dcp import is_state
from ckptd.model.recognisers.recognise import recognise
from tests.support.dcp_files import BytesStorageMetadata, index, info, metadata, tensor
from tests.support.recognising import phases_of, proposed, said_of

MADE = sorted((Path(__file__).parents[1] / "formats" / "dcp").iterdir())


def described(**files: tuple[str, ...]) -> bytes:
    """Return metadata: the items of each file."""
    items = [(name, item) for name, inside in files.items() for item in inside]
    storage = {
        index(item, (at,)): info(f"{name}.distcp", at * 8) for at, (name, item) in enumerate(items)
    }
    return metadata(
        storage,
        {
            item: tensor((1,), ((at,), (1,))) if "." in item else BytesStorageMetadata()
            for at, (_, item) in enumerate(items)
        },
    )


@pytest.mark.parametrize("directory", MADE, ids=lambda path: path.name)
def test_of_what_pytorch_wrote_each_file_has_some_of_the_model(directory: Path) -> None:
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    del files["said.json"]
    assert phases_of(files) == {
        ".metadata": "core critical",
        "__0_0.distcp": "core normal",
        "__1_0.distcp": "core normal",
    }
    assert proposed(files).policy.phases == ("core",)


def test_files_with_nothing_but_state_come_later() -> None:
    content = described(
        __0_0=("model.layer.weight", "model.layer.bias"),
        __0_1=("optim.state.layer.weight.exp_avg", "lr_scheduler.last_epoch", "step"),
        __1_0=("model.head.weight", "optim.state.head.weight.exp_avg"),
    )
    files = {
        "7/.metadata": content,
        "7/__0_0.distcp": b"",
        "7/__0_1.distcp": b"",
        "7/__1_0.distcp": b"",
        "7/__9_9.distcp": b"",  # nobody says what is in it
    }
    assert phases_of(files) == {
        "7/.metadata": "core critical",
        "7/__0_0.distcp": "core normal",
        "7/__0_1.distcp": "rest deferred",
        "7/__1_0.distcp": "core normal",
        "7/__9_9.distcp": "core normal",
    }
    said = said_of(files)
    assert said["7/.metadata"].why == (
        "recognised: PyTorch DCP: says what is in which file; fetched first and placed last"
    )
    assert said["7/__0_1.distcp"].why == (
        "recognised: PyTorch DCP: nothing but a job's state is in it, as .metadata says"
    )


def test_of_a_directory_with_nothing_but_state_all_comes_later() -> None:
    """As Accelerate saves it: the model in one directory, the optimizer in another."""
    files = {
        "pytorch_model_fsdp_0/.metadata": described(__0_0=("model.w", "model.v")),
        "pytorch_model_fsdp_0/__0_0.distcp": b"",
        "optimizer_0/.metadata": described(__0_0=("optimizer.state.w.exp_avg",)),
        "optimizer_0/__0_0.distcp": b"",
    }
    assert phases_of(files) == {
        "pytorch_model_fsdp_0/.metadata": "core critical",
        "pytorch_model_fsdp_0/__0_0.distcp": "core normal",
        "optimizer_0/.metadata": "rest normal",
        "optimizer_0/__0_0.distcp": "rest deferred",
    }


@pytest.mark.parametrize("content", [b"", b"no pickle", None])
def test_without_metadata_that_can_be_read_all_may_be_of_the_model(content: bytes | None) -> None:
    files = {".metadata": content or b"", "__0_0.distcp": b""}
    said = said_of(files if content is not None else list(files))
    assert said["__0_0.distcp"].phase == "core"
    assert "cannot be read" in said["__0_0.distcp"].why


def test_metadata_that_is_too_long_for_the_daemon_is_not_read() -> None:
    sizes = {".metadata": 4 * MIB + 1, "__0_0.distcp": 1}
    asked: list[str] = []
    assert recognise(sizes, asked.append) is not None
    assert asked == []
    assert recognise(sizes | {".metadata": 4 * MIB}, asked.append) is not None
    assert asked == [".metadata"]


def test_very_many_files_with_nothing_but_state_are_not_named_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There can be one for each item of the optimizer, and each is compared with each path."""
    monkeypatch.setattr(dcp, "_STATE_FILES_MAX", 3)
    state = {f"__{rank}_1": (f"optim.state.{rank}.exp_avg",) for rank in range(4)}
    files = {".metadata": described(__0_0=("model.w",), **state), "__0_0.distcp": b""}
    files |= {f"{name}.distcp": b"" for name in state}
    assert len(proposed(files).policy.rules) == 3
    assert set(phases_of(files).values()) == {"core critical", "core normal"}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("model.layers.0.weight", False),
        ("layers.0.weight", False),
        ("tok_embeddings.weight", False),
        ("app.model.0.optim_head.weight", False),
        ("optimizer.state.layers.0.weight.exp_avg", True),
        ("optim.param_groups.0.lr", True),
        ("app.optim.state.w.step", True),
        ("state.layers.0.weight.exp_avg_sq", True),
        ("lr_scheduler", True),
        ("dataloader.rank_0", True),
        ("step", True),
        ("model.step", False),
    ],
)
def test_what_is_of_a_jobs_state_is_known_by_names(item: str, expected: bool) -> None:
    assert is_state(item) is expected
