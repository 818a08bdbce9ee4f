"""Versions as trainers publish them for inference engines: full ones, and deltas on those.

The layout is that of slime: each tensor that changed is a frame of zstd, as bytes, in files that
the safetensors library wrote; what it sums up to is in the header.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import xxhash
import zstandard
from blake3 import blake3
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Array = NDArray[Any]

INDEX = "model.safetensors.index.json"
XOR, OVERWRITE = "xor", "overwrite"
SUMS: Mapping[str, Callable[[bytes], str]] = {
    "xxh3-128": lambda content: xxhash.xxh3_128(content).hexdigest(),
    "blake3": lambda content: blake3(content).hexdigest(),
    "adler32": lambda content: f"{zlib.adler32(content):08x}",
}


class Training:
    """Weights that change from step to step.

    Attributes:
        tensors: As they are now.

    Args:
        rows: So long is the largest tensor, in rows of 64 numbers.
        seed: By which they are drawn.
    """

    def __init__(self, rows: int = 300, seed: int = 1) -> None:
        self._random = numpy.random.default_rng(seed)
        draw = self._random.standard_normal
        self.tensors: dict[str, Array] = {
            "embed.weight": draw((rows, 64)).astype("<f2"),
            "layers.0.weight": draw((rows // 2, 64)).astype("<f4"),
            "layers.1.weight": draw((rows // 2, 64)).astype("<f2"),
            "norm.bias": draw(7).astype("<f4"),
            "step": numpy.zeros((), "<i8"),
        }

    def step(self, share: float = 0.05, names: Sequence[str] = ()) -> dict[str, Array]:
        """Change some numbers of some tensors, of all if none is named; return how it was."""
        before = {name: tensor.copy() for name, tensor in self.tensors.items()}
        for name in names or self.tensors:
            tensor = self.tensors[name]
            if name == "step":
                self.tensors[name] = numpy.asarray(tensor + 1)
            else:
                moved = self._random.random(tensor.shape) < share
                self.tensors[name] = numpy.where(moved, tensor * 1.01, tensor).astype(tensor.dtype)
        return before


def write_full(
    directory: Path,
    tensors: Mapping[str, Array],
    *,
    shards: int = 2,
    others: Mapping[str, str] = {},
) -> Path:
    """Write a full version; with one shard it has no index."""
    directory.mkdir(parents=True)
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        chosen = names[number::shards]
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        if shards == 1:
            file = "model.safetensors"
        save_file({name: tensors[name] for name in chosen}, directory / file, {"format": "pt"})
        weight_map |= dict.fromkeys(chosen, file)
    if shards > 1:
        size = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index))
    for name, content in others.items():
        (directory / name).write_text(content)
    return directory


def write_delta(
    directory: Path,
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    version: int,
    base: int,
    *,
    encoding: str = XOR,
    sum_kind: str = "xxh3-128",
    compression: str = "zstd",
    others: Mapping[str, str] = {},
) -> Path:
    """Write what changed as a delta version."""
    directory.mkdir(parents=True)
    changed = {
        name: difference(before[name], after[name], encoding)
        for name in after
        if before[name].tobytes() != after[name].tobytes()
    }
    stored = {
        name: zstandard.ZstdCompressor(level=1).compress(content)
        if compression == "zstd"
        else content
        for name, content in changed.items()
    }
    sums = {name: SUMS[sum_kind](after[name].tobytes()) for name in changed}
    file = "model-00000-of-00001.safetensors"
    if stored:
        arrays = {name: numpy.frombuffer(content, "u1") for name, content in stored.items()}
        save_file(arrays, directory / file, sums)
    index = {
        "metadata": {
            "version": f"{version:06d}",
            "base_version": f"{base:06d}",
            "delta_encoding": encoding,
            "compression_format": compression,
            "checksum_format": sum_kind,
        },
        "weight_map": dict.fromkeys(stored, file),
    }
    (directory / INDEX).write_text(json.dumps(index))
    for name, content in others.items():
        (directory / name).write_text(content)
    return directory


def difference(before: Array, after: Array, encoding: str = XOR) -> bytes:
    """Return what a delta has of a tensor, before it is compressed."""
    was = numpy.frombuffer(before.tobytes(), "u1")
    now = numpy.frombuffer(after.tobytes(), "u1")
    if encoding == XOR:
        return bytes(was ^ now)
    places = numpy.flatnonzero(was != now).astype("<u4")
    return b"".join(map(bytes, (numpy.array([len(places)], "<u4"), places, now[places])))


def write_chain(directory: Path, length: int, training: Training, **how: Any) -> list[Path]:  # noqa: ANN401
    """Write a full version 0 and so many deltas, each in a directory named by its number."""
    paths = [write_full(directory / "0", training.tensors)]
    for version in range(1, length + 1):
        before = training.step()
        paths.append(
            write_delta(
                directory / str(version), before, training.tensors, version, version - 1, **how
            )
        )
    return paths


def tensors_in(directory: Path) -> dict[str, Array]:
    """Return all tensors below a directory, read by the safetensors library."""
    found: dict[str, Array] = {}
    for file in sorted(directory.glob("*.safetensors")):
        found |= load_file(file)
    return found


def assert_same(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Compare tensors by their bytes."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].tobytes() == tensor.tobytes(), name
