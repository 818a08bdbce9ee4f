"""The checkpoint of the demonstration: written, and compared without any of ckptd's own code."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from ckptd.errors import NotFound
from ckptd.limits import BLOCK_BYTES_MIN, MIB

SIZE_BYTES_MIN: Final = 16 * MIB
"""Smaller ones are no sharded checkpoint any more."""

CRITICAL: Final = ("*.json", "*config*", "*rng*", "*.metadata")
DEFERRED: Final = ("*optim*",)
"""What a job needs first and last, by the names that frameworks give it."""

_INDEX_BYTES: Final = 92_771
_MODEL_PERCENT: Final = 45
_MODEL_SHARD: Final = "model-{}-of-{}.safetensors"
_SHARD_WEIGHTS: Final = (5, 4, 4, 3)
_WORKERS: Final = 192
_RANKS: Final = 8

_STAMP_BYTES: Final = 8
_POOL_BYTES: Final = 4 * MIB
_WRITE_BLOCKS: Final = 16
"""4 MiB at once."""
_COMPARE_BYTES: Final = MIB


class PlannedFile(NamedTuple):
    """A file of the checkpoint.

    Attributes:
        path: Relative to the checkpoint's directory.
        size_bytes: Its length.
        is_executable: Its mode says so.
        text: What it begins with; spaces follow. ``None``: bytes that are drawn.
    """

    path: str
    size_bytes: int
    is_executable: bool = False
    text: str | None = None


def plan_checkpoint(size_bytes: int) -> list[PlannedFile]:
    """Return what a sharded training checkpoint of this size consists of.

    Args:
        size_bytes: All files together, at least :data:`SIZE_BYTES_MIN`.
    """
    assert size_bytes >= SIZE_BYTES_MIN
    files = [
        PlannedFile("COMPLETE", 0),
        PlannedFile("config.json", 1_219),
        PlannedFile("model.safetensors.index.json", _INDEX_BYTES, text=_index()),
        PlannedFile("resume.sh", 804, is_executable=True),
        PlannedFile("trainer_state.json", 41_003),
        *(PlannedFile(f"rng/rank-{rank}.pt", 14_645) for rank in range(_RANKS)),
        *(
            PlannedFile(f"dataloader/worker-{worker:03}.state", 1 + worker * 157)
            for worker in range(_WORKERS)
        ),
    ]
    rest = size_bytes - sum(file.size_bytes for file in files)
    model = rest * _MODEL_PERCENT // 100
    for pattern, share in (
        (_MODEL_SHARD, model),
        ("optimizer/shard-{}-of-{}.pt", rest - model),
    ):
        files += _shards(pattern, share)
    return files


def _index() -> str:
    """Return what says which tensor is in which shard; publishing looks whether all are there."""
    count = len(_SHARD_WEIGHTS)
    shards = {
        f"model.layers.{number}.weight": _MODEL_SHARD.format(number, count)
        for number in range(1, count + 1)
    }
    return json.dumps({"metadata": {}, "weight_map": shards})


def _shards(pattern: str, size_bytes: int) -> Iterator[PlannedFile]:
    left = size_bytes
    count = len(_SHARD_WEIGHTS)
    for number, weight in enumerate(_SHARD_WEIGHTS, 1):
        size = left if number == count else size_bytes * weight // sum(_SHARD_WEIGHTS)
        left -= size
        yield PlannedFile(pattern.format(number, count), size)


def write_checkpoint(directory: str, files: Iterable[PlannedFile], *, seed: int) -> None:
    """Write files whose blocks all differ; the same seed gives the same bytes.

    Each block is a number and a piece of one random pool: as fast as copying memory.
    """
    # The bytes need only differ, not be a secret.
    pool = memoryview(Random(seed).randbytes(_POOL_BYTES + BLOCK_BYTES_MIN))  # noqa: S311
    number = seed << 32
    for file in files:
        path = os.path.join(directory, file.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb", buffering=0) as out:
            if file.text is not None:
                out.write(file.text.ljust(file.size_bytes).encode())
                continue
            for size in _pieces(file.size_bytes, _WRITE_BLOCKS * BLOCK_BYTES_MIN):
                blocks: list[bytes | memoryview] = []
                for block_size in _pieces(size, BLOCK_BYTES_MIN):
                    start = number * 4099 % _POOL_BYTES
                    stamp = number.to_bytes(_STAMP_BYTES, "little")[:block_size]
                    blocks += stamp, pool[start : start + block_size - len(stamp)]
                    number += 1
                out.write(b"".join(blocks))
        if file.is_executable:
            os.chmod(path, 0o755)  # noqa: S103  as the real ones


def _pieces(size_bytes: int, piece_bytes: int) -> Iterator[int]:
    for start in range(0, size_bytes, piece_bytes):
        yield min(piece_bytes, size_bytes - start)


def patterns_with_a_match(paths: Sequence[str], patterns: Iterable[str]) -> tuple[str, ...]:
    """Return those patterns that match a path; publishing refuses the others."""
    return tuple(pattern for pattern in patterns if fnmatch.filter(paths, pattern))


def files_below(directory: str) -> dict[str, os.stat_result]:
    """Return every file below a directory by its relative path; links count as their target.

    Raises:
        NotFound: A link leads to nothing.
    """
    found: dict[str, os.stat_result] = {}
    for inner, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(inner, name)
            try:
                found[os.path.relpath(path, directory)] = os.stat(path)
            except FileNotFoundError as error:
                raise NotFound(f"file {path}", "is a link to nothing, or was removed") from error
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two directories side by side.

    Attributes:
        files: How many files were compared.
        size_bytes: Their bytes.
        differences: Each as a sentence without a full stop, in order of paths.
    """

    files: int
    size_bytes: int
    differences: tuple[str, ...]


def compare(original: str, copy: str) -> Comparison:
    """Compare names, sizes, the owner's right to execute, and every byte.

    Cost: reads both once, with as many threads as there are processors.
    """
    ours, theirs = files_below(original), files_below(copy)
    common = sorted(ours.keys() & theirs.keys())

    def difference(path: str) -> str:
        mine, other = ours[path], theirs[path]
        if mine.st_size != other.st_size:
            return f"{path} has {other.st_size} bytes, not {mine.st_size}"
        if (mine.st_mode ^ other.st_mode) & 0o100:
            return f"{path} is{'' if other.st_mode & 0o100 else ' not'} executable"
        if not _is_same(os.path.join(original, path), os.path.join(copy, path)):
            return f"{path} has other bytes"
        return ""

    with ThreadPoolExecutor(os.cpu_count() or 1, "compare") as threads:
        found = [text for text in threads.map(difference, common) if text]
    found += [f"{path} is missing" for path in sorted(ours.keys() - theirs.keys())]
    found += [f"{path} was not there" for path in sorted(theirs.keys() - ours.keys())]
    size = sum(ours[path].st_size for path in common)
    return Comparison(len(common), size, tuple(sorted(found)))


def _is_same(path: str, other_path: str) -> bool:
    with open(path, "rb", buffering=0) as file, open(other_path, "rb", buffering=0) as other:
        while piece := file.read(_COMPARE_BYTES):
            if piece != other.read(_COMPARE_BYTES):
                return False
        return not other.read(1)
