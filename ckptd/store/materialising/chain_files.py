"""What a materialised copy consists of: which files, and what is applied to which tensors of them.

Weights are the files of tensors that the full version's index names, or all of its safetensors
files if it has no index. They keep their names and their layout, and so does the index. Every
other file is that of the latest version of the chain that has it. What has weights in another
form, which no delta knows, is left out: it would be that of the full version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from ckptd.chains.delta_index import DELTA_INDEX, SUM_DIGITS, DeltaIndex, tensor_sums
from ckptd.errors import Conflict, InvalidFormat
from ckptd.model.formats.contents import finished, reading_tensors
from ckptd.model.formats.safetensors_header import PREFIX_BYTES, values_start
from ckptd.model.formats.tensors import Tensor
from ckptd.model.formats.weight_index import decode_index
from ckptd.model.ids import Version
from ckptd.store.materialising.differences import Difference
from ckptd.store.materialising.verified_blocks import VerifiedBlocks, VerifiedUnit
from ckptd.store.published.serving import ServedVersion

_TENSORS: Final = ".safetensors"
_OTHER_WEIGHTS: Final = re.compile(
    r"(?:.*/)?(?:pytorch_model[^/]*|consolidated[^/]*|tf_model[^/]*|flax_model[^/]*"
    rf"|[^/]*(?:\.gguf|\.pth|{re.escape(_TENSORS)}(?:\.index\.json)?))"
)


@dataclass(frozen=True, slots=True)
class ChainVersion:
    """A version of a chain.

    Attributes:
        version: Which version.
        served: Where its bytes are read from.
        index: What it says as a delta version; ``None``: it is the full one.
    """

    version: Version
    served: ServedVersion
    index: DeltaIndex | None = None


class TensorChange(NamedTuple):
    """What a delta says of a tensor.

    Attributes:
        version: Which version.
        difference: Where its difference is.
        encoding: How that is encoded.
        sum_kind: By what it is checked.
        expected: What that has to be once it is applied.
    """

    version: Version
    difference: Difference
    encoding: str
    sum_kind: str
    expected: str


class MadeFile(NamedTuple):
    """A file of the materialised copy.

    Attributes:
        source: The unit that it is made of.
        origin: The version that has that unit, by its number in the chain.
        unit: Its number in that version.
        tensors: What in it deltas may change, in order; empty: it is that unit.
    """

    source: VerifiedUnit
    origin: int
    unit: int
    tensors: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainFiles:
    """All that is made.

    Attributes:
        files: By path.
        changes: What is applied to a tensor, by its name, in that order.
        left_out: Names of the full version that the copy does not have.
    """

    files: Mapping[str, MadeFile]
    changes: Mapping[str, Sequence[TensorChange]]
    left_out: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Length of all files."""
        return sum(file.source.size_bytes for file in self.files.values())

    @property
    def apply_bytes(self) -> int:
        """Length of the tensors to which deltas are applied, each as often as one is."""
        return sum(
            len(self.changes.get(tensor.name, ())) * (tensor.end - tensor.start)
            for file in self.files.values()
            for tensor in file.tensors
        )


def chain_files(versions: Sequence[ChainVersion], blocks: VerifiedBlocks) -> ChainFiles:
    """Find out what a chain makes. Blocks.

    Args:
        versions: The full one, and the deltas in the order in which they are applied.
        blocks: Reads them.

    Raises:
        Conflict: They are no chain.
        InvalidFormat: A file is not what its name says, or a delta does not fit what it stands on.
        ContentChanged: A file is not what was published.
        StorageError: The disk refused.
    """
    full, *deltas = versions
    _check_is_chain(versions)
    units = _units_of(full, blocks)
    weights = _weights(units)
    files, tensors = {}, dict[str, Tensor]()
    for path in sorted(weights):
        number, unit = units[path]
        found = finished(reading_tensors(unit.label, unit.size_bytes), unit.read)
        files[path] = MadeFile(unit, 0, number, found)
        for tensor in found:
            if tensor.name in tensors:
                raise _unfit(full, f"has tensor {tensor.name[:80]!r} in two files")
            tensors[tensor.name] = tensor
    others = {path: each for path, each in units.items() if path not in weights}
    left_out = {path for path in others if _OTHER_WEIGHTS.fullmatch(path) and path != DELTA_INDEX}
    files |= {
        path: MadeFile(unit, 0, number)
        for path, (number, unit) in others.items()
        if path not in left_out
    }
    changes: dict[str, list[TensorChange]] = {}
    for origin, version in enumerate(deltas, 1):
        beside = _units_of(version, blocks)
        for tensor_name, change in _changes(version, beside):
            if tensor_name not in tensors:
                raise _unfit(
                    version, f"changes tensor {tensor_name[:80]!r}, which its base does not have"
                )
            changes.setdefault(tensor_name, []).append(change)
        for path, (number, unit) in beside.items():
            if path != DELTA_INDEX and not _OTHER_WEIGHTS.fullmatch(path):
                files[path] = MadeFile(unit, origin, number)
    manifest = full.served.space.manifest
    bare = (*(link.path for link in manifest.links), *manifest.directories)
    return ChainFiles(dict(sorted(files.items())), changes, tuple(sorted([*left_out, *bare])))


def _check_is_chain(versions: Sequence[ChainVersion]) -> None:
    for before, version in pairwise(versions):
        index = version.index
        if index is None or (index.base, index.version) != (before.version, version.version):
            says = "is a full version" if index is None else f"is a delta on {index.base}"
            raise Conflict(
                f"delta version {version.version}",
                f"{says}, and cannot be applied to {before.version}",
                "See 'ckptctl show'.",
            )


def _units_of(version: ChainVersion, blocks: VerifiedBlocks) -> dict[str, tuple[int, VerifiedUnit]]:
    return {
        unit.path: (number, VerifiedUnit(blocks, version.served, number))
        for number, unit in enumerate(version.served.space.manifest.units)
    }


def _weights(units: Mapping[str, tuple[int, VerifiedUnit]]) -> set[str]:
    """Return the files of tensors that deltas are about.

    Raises:
        InvalidFormat: There are none, or one is not there.
    """
    index = units.get(DELTA_INDEX)
    if index is None:
        weights = {path for path in units if path.endswith(_TENSORS) and "/" not in path}
    else:
        content = index[1].read(0, index[1].size_bytes)
        weights = set(decode_index(content, DELTA_INDEX).values())
    lacking = sorted(weights - units.keys())
    if lacking or not weights:
        problem = f"has no file {lacking[0][:80]!r}" if lacking else f"has no *{_TENSORS}"
        raise InvalidFormat("full version", f"{problem}, so no delta can be applied to it")
    return weights


def _changes(
    version: ChainVersion, units: Mapping[str, tuple[int, VerifiedUnit]]
) -> Iterable[tuple[str, TensorChange]]:
    """Yield what a delta version changes, by the names of tensors.

    Raises:
        InvalidFormat: Its files are not what its index says.
    """
    index = version.index
    assert index is not None
    stray = {path for path in units if path.endswith(_TENSORS) and "/" not in path}
    stray -= set(index.files.values())
    if stray:
        raise _unfit(version, f"has a file {min(stray)[:80]!r} that its index does not name")
    named = dict(index.files)
    for path in sorted(set(named.values())):
        if path not in units:
            raise _unfit(version, f"has no file {path[:80]!r}, which its index names")
        unit = units[path][1]
        header_end = values_start(unit.read(0, PREFIX_BYTES), unit.label, unit.size_bytes)
        sums = tensor_sums(unit.read(PREFIX_BYTES, header_end), unit.label)
        for tensor in finished(reading_tensors(unit.label, unit.size_bytes), unit.read):
            expected = sums.get(tensor.name, "")
            if named.pop(tensor.name, "") != path:
                raise _unfit(version, f"has tensor {tensor.name[:80]!r}, not as its index says")
            if len(expected) != SUM_DIGITS[index.sum_kind]:
                raise _unfit(version, f"does not say what tensor {tensor.name[:80]!r} sums up to")
            difference = Difference(unit, tensor.start, tensor.end, index.compression)
            yield (
                tensor.name,
                TensorChange(version.version, difference, index.encoding, index.sum_kind, expected),
            )
    if named:
        raise _unfit(version, f"lacks tensor {min(named)[:80]!r}, which its index names")


def _unfit(version: ChainVersion, problem: str) -> InvalidFormat:
    name = f"{version.served.space.manifest.checkpoint}@{version.version}"
    return InvalidFormat(name, problem, "Publish the version again as it should be.")
