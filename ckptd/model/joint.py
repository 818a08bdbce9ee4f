"""Several shards of a version as one: a joined manifest, and where each block of it stands.

A recovery of a job is one recovery of what its shards consist of together. Their manifests are
joined to one, with all units in urgency order; a file that several shards have alike is there once.
The joined manifest exists on one node, for one recovery: peers are asked for the shards' blocks.
So blocks are mapped both ways, by *pieces*: runs of blocks that follow each other here and in each
shard that has them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby, pairwise
from typing import Final, NamedTuple, TypeAlias

from ckptd.errors import Conflict
from ckptd.model.bare_names import SymbolicLink, required_words
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joined_urgency import JoinedUnits
from ckptd.model.manifest import FORMAT, Manifest, Unit, check_manifest
from ckptd.model.shards import Shard, split_shard
from ckptd.model.space import AddressSpace

_UNIT, _LINK, _DIRECTORY = range(3)
_KINDS: Final = ("a file", "a symbolic link", "a directory")

_Name: TypeAlias = tuple[str, int, int, int]
"""Path, index of the member, kind, index among the member's names of that kind."""


class Member(NamedTuple):
    """A shard that is joined with others.

    Attributes:
        digest: Identity of its version.
        manifest: What that consists of.
    """

    digest: Digest
    manifest: Manifest


class Joint:
    """What some shards of a version consist of together, and which block stands where.

    Args:
        job: The job whose shards they are.
        version: Of which version.
        members: The shards, in any order, each once, all of one layout.

    Raises:
        Conflict: The same path is not the same in two of them; both are named.
        InvalidManifest: Together they are more than one manifest may hold.
        ValueError: They are not different shards of one version in one layout.

    Attributes:
        manifest: The joined manifest: its checkpoint is the job.
        space: Where its blocks lie.
        shards: Which shard each member is, by digest, in ascending order.
        block_counts: How many blocks each member has, by digest.
    """

    def __init__(self, job: CheckpointName, version: Version, members: Iterable[Member]) -> None:
        found = [(_shard_of(job, version, each), each) for each in members]
        found.sort(key=lambda each: each[0])
        self.shards = {member.digest: shard for shard, member in found}
        if len({shard.count for shard in self.shards.values()}) != 1:
            raise ValueError(f"no shards of one layout of {job}@{version}")
        if len(self.shards) != len(found) or len(set(self.shards.values())) != len(found):
            raise ValueError(f"a shard of {job}@{version} is given twice")
        self._digests = tuple(self.shards)
        manifests = [member.manifest for _, member in found]
        joining = _Joining(job, version, list(self.shards.values()), manifests)
        self.manifest = joining.manifest
        self.space = AddressSpace(self.manifest)
        firsts = [_first_blocks(manifest) for manifest in manifests]
        block_counts = (blocks[-1] for blocks in firsts)
        self.block_counts = dict(zip(self._digests, block_counts, strict=True))
        units = _units_of_members(joining.owners, manifests)
        self._units = dict(zip(self._digests, units, strict=True))
        self._starts = array("I")  # of pieces, and where the last one ends
        self._holders: list[tuple[tuple[int, int], ...]] = []
        self._find_pieces(joining.owners, firsts)
        self._inward, self._outward = self._mappings(len(found))

    @property
    def piece_ends(self) -> Sequence[int]:
        """Where pieces end: the block behind each. No range crosses one."""
        return self._starts[1:]

    def piece_end(self, block: int) -> int:
        """Return where the piece ends that a block belongs to."""
        return self._starts[bisect_right(self._starts, block)]

    def from_member(self, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return which blocks here some blocks of a member are.

        Args:
            digest: Which member.
            blocks: Its blocks; what it does not have is nothing here.

        Raises:
            KeyError: No such member.
        """
        return self._inward[digest].image(blocks)

    def to_member(self, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return which blocks of a member some blocks are; of those it has.

        Args:
            digest: Which member.
            blocks: Blocks of the joined manifest.

        Raises:
            KeyError: No such member.
        """
        return self._outward[digest].image(blocks)

    def to_members(self, run: tuple[int, int]) -> list[tuple[Digest, BlockRun]]:
        """Return where a run stands in each member that has it, in order of the shards.

        Args:
            run: Some blocks of one piece.

        Raises:
            ValueError: They are of several pieces.
        """
        start, end = run
        if not 0 <= start < end <= self.piece_end(start):
            raise ValueError(f"no run within a piece: [{start}, {end})")
        index = bisect_right(self._starts, start) - 1
        inside = start - self._starts[index]
        return [
            (self._digests[member], BlockRun(first + inside, first + inside + end - start))
            for member, first in self._holders[index]
        ]

    def shared(self) -> Iterator[tuple[BlockRun, tuple[Digest, ...]]]:
        """Yield the pieces that stand in several members, with these, in order."""
        for (start, end), holders in zip(pairwise(self._starts), self._holders, strict=True):
            if len(holders) > 1:
                yield BlockRun(start, end), tuple(self._digests[member] for member, _ in holders)

    def blocks_of(self, digest: Digest) -> BlockSet:
        """Return all blocks that a member has, also those that others have, too.

        Raises:
            KeyError: No such member.
        """
        return self._inward[digest].everything

    def units_of(self, digest: Digest) -> Sequence[int]:
        """Return which unit here each unit of a member is, in the member's order.

        Raises:
            KeyError: No such member.
        """
        return self._units[digest]

    def _find_pieces(
        self, owners: Sequence[Sequence[tuple[int, int]]], firsts: Sequence[Sequence[int]]
    ) -> None:
        """Find the pieces: what follows each other in every member that has it.

        Args:
            owners: Of each unit, the members that have it, and which of their units it is.
            firsts: Of each member, the first block of each of its units.
        """
        expected: tuple[tuple[int, int], ...] = ()
        for unit, held in enumerate(owners):
            start, end = self.space.unit_run(unit)
            if start == end:
                continue
            holders = tuple((member, firsts[member][index]) for member, index in held)
            if holders != expected:
                self._starts.append(start)
                self._holders.append(holders)
            expected = tuple((member, first + end - start) for member, first in holders)
        self._starts.append(self.space.block_count)

    def _mappings(self, member_count: int) -> tuple[dict[Digest, _Mapping], dict[Digest, _Mapping]]:
        """Return the way from each member's blocks to those here, and the way back."""
        parts: list[list[tuple[int, int, int]]] = [[] for _ in range(member_count)]
        for (start, end), holders in zip(pairwise(self._starts), self._holders, strict=True):
            for member, first in holders:
                parts[member].append((first, start, end - start))
        inward = {
            digest: _Mapping(sorted(each))
            for digest, each in zip(self._digests, parts, strict=True)
        }
        outward = {
            digest: _Mapping((there, here, count) for here, there, count in each)
            for digest, each in zip(self._digests, parts, strict=True)
        }
        return inward, outward


class _Mapping:
    """Where runs of blocks lie elsewhere.

    Args:
        parts: Where each run begins, where it begins there, and how long it is, in order.

    Attributes:
        everything: All blocks there.
    """

    __slots__ = ("_counts", "_starts", "_targets", "everything")

    def __init__(self, parts: Iterable[tuple[int, int, int]]) -> None:
        self._starts, self._targets, self._counts = array("I"), array("I"), array("I")
        for start, target, count in parts:
            self._starts.append(start)
            self._targets.append(target)
            self._counts.append(count)
        self.everything = BlockSet(
            (target, target + count)
            for target, count in zip(self._targets, self._counts, strict=True)
        )

    def image(self, blocks: BlockSet) -> BlockSet:
        """Return where some blocks are there; those that are in no run are left out.

        Cost: O(runs of the set, and runs here that they meet).
        """
        starts, found = self._starts, []
        for start, end in blocks.runs():
            index = max(bisect_right(starts, start) - 1, 0)
            while index < len(starts) and starts[index] < end:
                low = max(start, starts[index]) - starts[index]
                high = min(end - starts[index], self._counts[index])
                if low < high:
                    found.append((self._targets[index] + low, self._targets[index] + high))
                index += 1
        return BlockSet(found)


class _Joining:
    """The names of all members, gone through in the order of their paths.

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


def _shard_of(job: CheckpointName, version: Version, member: Member) -> Shard:
    manifest = member.manifest
    split = split_shard(CheckpointName(manifest.checkpoint))
    if split is None or split[0] != job or manifest.version != version:
        raise ValueError(f"{manifest.checkpoint}@{manifest.version} is no shard of {job}@{version}")
    return split[1]


def _unit_names(manifest: Manifest, member: int, start: int, end: int) -> Iterator[_Name]:
    return ((manifest.units[at].path, member, _UNIT, at) for at in range(start, end))


def _first_blocks(manifest: Manifest) -> array[int]:
    """Return the first block of each unit, and how many blocks there are."""
    firsts, block = array("I"), 0
    for unit in manifest.units:
        firsts.append(block)
        block += unit.block_count
    firsts.append(block)
    return firsts


def _units_of_members(
    owners: Sequence[Sequence[tuple[int, int]]], manifests: Sequence[Manifest]
) -> list[array[int]]:
    """Return for each unit of each member which unit of the joined manifest it is."""
    found = [array("I", bytes(4 * len(manifest.units))) for manifest in manifests]
    for unit, held in enumerate(owners):
        for member, index in held:
            found[member][index] = unit
    return found


def _has_content_of(unit: Unit, other: Unit) -> bool:
    """Return whether two units are the same bytes in the same blocks."""
    return (
        unit.digest == other.digest
        and unit.size_bytes == other.size_bytes
        and unit.block_size_bytes == other.block_size_bytes
        and unit.block_digests == other.block_digests
    )
