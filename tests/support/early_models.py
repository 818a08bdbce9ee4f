"""Saves a model with the state of its optimizer as two libraries do, and loads items of one.

``save_trained`` writes what the Trainer of ``transformers`` leaves, with ``safetensors``;
``save_distributed`` what PyTorch DCP does with a file for each item, with PyTorch where that is
installed. Elsewhere both sides are done again: an item is the archive that ``torch.save`` makes,
of which ``load`` below takes the numbers as they lie in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import pickle
import warnings
import zipfile
from math import prod
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tests.support.dcp_files import index, info, metadata, tensor

HAS_TORCH = importlib.util.find_spec("torch") is not None

Weights = dict[str, NDArray[numpy.float32]]

LAYERS = 4
SIZE = 64
_MOMENTS_SHAPE = (2048, 1024)
"""The state of the optimizer is much longer than the model here, so that it travels for a while."""


def weights_of(seed: int) -> Weights:
    drawn = numpy.random.default_rng(seed)
    return {
        f"model.layers.{layer}.weight": drawn.random((SIZE, SIZE), dtype="float32")
        for layer in range(LAYERS)
    }


def use(weights: Weights) -> NDArray[numpy.float32]:
    """Return what the model makes of ones."""
    found = numpy.ones(SIZE, dtype="float32")
    for layer in range(LAYERS):
        found = weights[f"model.layers.{layer}.weight"] @ found
    return found


def save_trained(directory: Path, seed: int) -> None:
    """Save as the Trainer does: weights in two shards with an index, and the state of the job."""
    directory.mkdir(parents=True)
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    weight_map: dict[str, str] = {}
    for number, name in enumerate(names):
        shard = dict(list(weights_of(seed).items())[number::2])
        save_file(shard, directory / name)
        weight_map |= dict.fromkeys(shard, name)
    contents = {
        "model.safetensors.index.json": {"metadata": {}, "weight_map": weight_map},
        "config.json": {"model_type": "gpt2"},
        "tokenizer.json": {},
        "trainer_state.json": {"global_step": 1200},
    }
    for name, content in contents.items():
        (directory / name).write_text(json.dumps(content))
    (directory / "optimizer.pt").write_bytes(os.urandom(2 * prod(_MOMENTS_SHAPE) * 4))
    (directory / "scheduler.pt").write_bytes(os.urandom(1_000))


def save_distributed(directory: Path, seed: int) -> None:
    """Save with PyTorch DCP, a file for each item."""
    weights = weights_of(seed)
    moments = {
        f"optim.state.{name}.{kind}": numpy.ones(_MOMENTS_SHAPE, dtype="float32")
        for name in list(weights)[:1]
        for kind in ("exp_avg", "exp_avg_sq")
    }
    for moment in moments.values():
        moment[:] = numpy.random.default_rng(seed).random(moment.shape, dtype="float32")
    if HAS_TORCH:
        _save_with_torch(directory, {**weights, **moments})
    else:
        _save_again(directory, {**weights, **moments})


def torch_or_stand_in() -> ModuleType:
    """Return PyTorch, or what loads an item in its place."""
    module = importlib.import_module("torch") if HAS_TORCH else ModuleType("torch")
    if not HAS_TORCH:
        vars(module)["load"] = _load
    return module


def _save_with_torch(directory: Path, arrays: Weights) -> None:
    torch: Any = importlib.import_module("torch")
    dcp: Any = importlib.import_module("torch.distributed.checkpoint")
    writer = dcp.FileSystemWriter(directory, single_file_per_rank=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is one process, as it is
        dcp.save(
            {name: torch.from_numpy(each) for name, each in arrays.items()},
            storage_writer=writer,
            no_dist=True,
        )


def _save_again(directory: Path, arrays: Weights) -> None:
    directory.mkdir(parents=True)
    stored, described = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        content = _archive(array)
        file = f"__0_{number}.distcp"
        (directory / file).write_bytes(content)
        stored[index(name, (0, 0))] = info(file, 0, len(content))
        described[name] = tensor(array.shape, ((0, 0), array.shape))
    (directory / ".metadata").write_bytes(metadata(stored, described))


def _archive(array: NDArray[numpy.float32]) -> bytes:
    """Return an archive as that of ``torch.save``: numbers, and beside them what they are."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(array.shape, protocol=2))
        archive.writestr("archive/data/0", array.tobytes())
    return made.getvalue()


def _load(file: IO[bytes], *, weights_only: bool) -> NDArray[numpy.float32]:
    assert weights_only
    with zipfile.ZipFile(file) as archive:
        found = numpy.frombuffer(archive.read("archive/data/0"), dtype="float32")
        return found.reshape(pickle.loads(archive.read("archive/data.pkl")))
