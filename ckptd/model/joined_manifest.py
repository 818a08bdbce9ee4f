"""The manifest that several shards are together: each name once, and which of them have it.

A path that is not the same in all shards that have it is a conflict: they cannot stand in one
directory. The order of the units is that of their urgency, see :mod:`ckptd.model.joined_urgency`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby, pairwise
from typing import Final, TypeAlias

from ckptd.errors import Conflict
from ckptd.model.bare_names import SymbolicLink, required_words
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.joined_urgency import JoinedUnits
from ckptd.model.manifest import FORMAT, Manifest, Unit, check_manifest
from ckptd.model.shards import Shard

_UNIT, _LINK, _DIRECTORY = range(3)
_KINDS: Final = ("a file", "a symbolic link", "a directory")

_Name: TypeAlias = tuple[str, int, int, int]
"""Path, index of the member, kind, index among the member's names of that kind."""


class JoinedManifest:
    """One manifest of several: their names, gone through in the order of their paths.

    Args:
        job: The job whose shards they are.
        version: Of which version.
        shards: Which shard each is.
        manifests: Of each shard, in ascending order.

    Raises:
        Conflict: The same path is not the same in two of them; both are named.
        InvalidManifest: Together they are more than one manifest may hold.

    Attributes:
        manifest: The joined manifest.
        owners: Of each of its units, the members that have it, and which of their units it is.
    """

    def __init__(
        self,
        job: CheckpointName,
        version: Version,
        shards: Sequence[Shard],
        manifests: Sequence[Manifest],
    ) -> None:
        self._subject = f"{job}@{version}"
        self._shards = shards
        self._manifests = manifests
        self._units = JoinedUnits([manifest.phases for manifest in manifests])
        self._links: list[SymbolicLink] = []
        self._directories: dict[str, None] = {}
        self._open: list[str] = []  # names that the latest one begins with
        self._by_length: dict[int, _Name] = {}  # the same
        names = merge(*(stream for index in range(len(manifests)) for stream in self._names(index)))
        for _, alike in groupby(names, key=lambda name: name[0]):
            self._take(list(alike))
        units = self._units.in_order()
        self.owners = [owners for _, owners in units]
        self.manifest = self._joined(job, version, tuple(unit for unit, _ in units))
        check_manifest(self.manifest)

    def _names(self, member: int) -> Iterator[Iterator[_Name]]:
        """Yield the names of a member, in several streams that are each in order of the paths."""
        manifest = self._manifests[member]
        starts: list[int] = []
        urgent: tuple[int, int] | None = None
        for index, unit in enumerate(manifest.units):
            if (unit.phase, unit.criticality) != urgent:
                urgent = (unit.phase, unit.criticality)
                starts.append(index)
        for start, end in pairwise((*starts, len(manifest.units))):
            yield _unit_names(manifest, member, start, end)
        yield ((link.path, member, _LINK, at) for at, link in enumerate(manifest.links))
        yield ((path, member, _DIRECTORY, at) for at, path in enumerate(manifest.directories))

    def _take(self, alike: Sequence[_Name]) -> None:
        """Take the next path, with all that goes by it."""
        first = alike[0]
        path, _, kind, _ = first
        self._check_directories(first)
        for other in alike[1:]:
            if other[2] != kind:
                raise self._conflict(path, first, other)
        if kind == _UNIT:
            self._take_units(alike)
        elif kind == _LINK:
            self._take_links(alike)
        else:
            self._directories[path] = None
        self._open.append(path)
        self._by_length[len(path)] = first

    def _check_directories(self, name: _Name) -> None:
        """Check that no directory of a path is something else in another member."""
        path = name[0]
        while self._open and not path.startswith(self._open[-1]):
            del self._by_length[len(self._open.pop())]
        longest = len(self._open[-1]) if self._open else 0
        end = path.find("/", 0, longest + 1)
        while end >= 0:
            above = self._by_length.get(end)
            if above is not None and above[2] != _DIRECTORY:
                raise self._conflict(path[:end], above, (path[:end], name[1], _DIRECTORY, 0))
            if above is not None:  # it is not empty here
                self._directories.pop(path[:end], None)
            end = path.find("/", end + 1, longest + 1)

    def _take_units(self, alike: Sequence[_Name]) -> None:
        units = [self._manifests[member].units[index] for _, member, _, index in alike]
        first = units[0]
        for unit, name in zip(units[1:], alike[1:], strict=True):
            if not _has_content_of(unit, first):
                raise self._conflict(first.path, alike[0], name)
        owners = tuple((member, index) for _, member, _, index in alike)
        self._units.take(units, owners)

    def _take_links(self, alike: Sequence[_Name]) -> None:
        links = [self._manifests[member].links[index] for _, member, _, index in alike]
        for link, name in zip(links[1:], alike[1:], strict=True):
            if link.target != links[0].target:
                raise self._conflict(link.path, alike[0], name)
        self._links.append(links[0])

    def _conflict(self, path: str, one: _Name, other: _Name) -> Conflict:
        """Return the error that a path is not the same in two shards."""
        first, second = self._shards[one[1]], self._shards[other[1]]
        kinds = (
            f"{_KINDS[one[2]]} in shard {first} and {_KINDS[other[2]]} in shard {second}"
            if one[2] != other[2]
            else f"other content in shard {first} than in shard {second}"
        )
        return Conflict(
            self._subject,
            f"{path[:80]!r} is {kinds}",
            "Give it another name in each shard, or save it alike in all, and publish them again.",
        )

    def _joined(self, job: CheckpointName, version: Version, units: tuple[Unit, ...]) -> Manifest:
        manifests = self._manifests
        words, *others = [manifest.annotations for manifest in manifests]
        runs = {manifest.run for manifest in manifests}
        directories = tuple(self._directories)
        links = tuple(self._links)
        return Manifest(
            format=FORMAT,
            checkpoint=job,
            version=version,
            units=units,
            requires=required_words(links, directories),
            run=runs.pop() if len(runs) == 1 else "",
            created_at_s=max(manifest.created_at_s for manifest in manifests),
            annotations={
                word: text
                for word, text in words.items()
                if all(other.get(word) == text for other in others)
            },
            phases=self._units.phases.names,
            links=links,
            directories=directories,
        )


def _unit_names(manifest: Manifest, member: int, start: int, end: int) -> Iterator[_Name]:
    return ((manifest.units[at].path, member, _UNIT, at) for at in range(start, end))


def _has_content_of(unit: Unit, other: Unit) -> bool:
    """Return whether two units are the same bytes in the same blocks."""
    return (
        unit.digest == other.digest
        and unit.size_bytes == other.size_bytes
        and unit.block_size_bytes == other.block_size_bytes
        and unit.block_digests == other.block_digests
    )
