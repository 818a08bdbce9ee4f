"""What a recovery of a job joins: which shards, and where each block of it stands in them.

The scheduler knows one version, the joined one; peers and the catalog know shards. What crosses
that border is translated here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import HoldingConfirmed
from ckptd.daemon.recover.manifests import VerifiedManifest
from ckptd.errors import InvalidManifest
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.encoded.decoding import encoding_of
from ckptd.model.ids import CheckpointName, Digest, PathId, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.space import AddressSpace
from ckptd.model.words import Confirmation
from ckptd.net.lane.lane import AskedRange
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.unit_files import UnitFiles


@dataclass(frozen=True)
class Joined:
    """A joined version, and the shards that it is made of.

    Attributes:
        digest: Identity of the joined manifest, on this node only.
        encoded: That manifest.
        joint: What it is, and where its blocks stand.
        members: The shards' manifests, by their identity, in ascending order of the shards.
    """

    digest: Digest
    encoded: bytes | memoryview
    joint: Joint
    members: Mapping[Digest, VerifiedManifest]

    @property
    def manifest(self) -> VerifiedManifest:
        """The joined manifest; it is signed by nobody, its members are."""
        return VerifiedManifest(memoryview(self.encoded), (), self.joint.space)

    @cached_property
    def spaces(self) -> dict[Digest, AddressSpace]:
        """Where the blocks of each member lie."""
        return {digest: member.space for digest, member in self.members.items()}

    def asked_for(self, blocks: BlockRun, holds: Callable[[Digest], bool]) -> AskedRange:
        """Return what a source is asked for to get some blocks.

        Args:
            blocks: Some blocks of one piece.
            holds: Whether the source says that it has a member.
        """
        first, *others = self.joint.to_members(blocks)
        digest, run = first
        if others and not holds(digest):
            digest, run = next((each for each in others if holds(each[0])), first)
        return AskedRange.of(digest, self.spaces[digest], run)

    def placed(self, directory: HashedDirectory) -> Iterator[HashedDirectory]:
        """Yield what stands of each member in the directory where all of them stand.

        Args:
            directory: Of the joined version.
        """
        files = directory.files
        for digest, member in self.members.items():
            yield HashedDirectory(
                directory.root,
                directory.directory,
                member.space.manifest,
                member.encoded,
                digest,
                UnitFiles(files[unit] for unit in self.joint.units_of(digest)),
            )

    def files(self, known: Iterable[tuple[Digest, UnitFiles]]) -> UnitFiles:
        """Return what is recorded of each unit, from what is recorded of members."""
        found = UnitFiles.of_none(len(self.joint.manifest.units))
        for digest, files in known:
            for unit, file in zip(self.joint.units_of(digest), files, strict=True):
                if file is not None:
                    found[unit] = file
        return found

    def units(self, digest: Digest, units: Iterable[int]) -> frozenset[int]:
        """Return which units some units of a member are."""
        of_member = self.joint.units_of(digest)
        return frozenset(of_member[unit] for unit in units)

    def questions(
        self, asked: ConfirmHolding, holds: Callable[[Digest], bool]
    ) -> list[ConfirmHolding]:
        """Return the questions about members that one about the joined version is.

        A block that several members have is asked about in the first that the source has.
        """
        left, found = asked.blocks, []
        for digest in self.members:
            if holds(digest):
                blocks = self.joint.to_member(digest, left)
                left -= self.joint.from_member(digest, blocks)
                if blocks:
                    found.append(ConfirmHolding(asked.source, digest, blocks))
        return found

    def answer(self, source: PathId, answers: Iterable[HoldingConfirmed]) -> HoldingConfirmed:
        """Return what answers about members say of the joined version; the worst counts."""
        worst, denied, is_any_denied = Confirmation.HELD, BlockSet(), False
        found = list(answers)
        for each in found:
            if each.denied is not None:
                is_any_denied = True
                denied |= self.joint.from_member(each.digest, each.denied)
            if each.confirmation is not Confirmation.HELD and worst is not Confirmation.NO_ANSWER:
                worst = each.confirmation
        if not found:
            worst = Confirmation.NO_ANSWER
        return HoldingConfirmed(source, self.digest, worst, denied if is_any_denied else None)


async def join(
    job: CheckpointName, version: Version, members: Mapping[Digest, VerifiedManifest]
) -> Joined:
    """Join the manifests of some shards.

    Args:
        job: The job whose shards they are.
        version: Of which version.
        members: The manifests, by identity, in ascending order of the shards.

    Raises:
        Conflict: A path is not the same in two of them.
        InvalidManifest: Together they are more than one manifest may hold, or they are not what
            they were claimed to be.
    """

    def work() -> Joined:
        parts = [Member(digest, member.space.manifest) for digest, member in members.items()]
        try:
            joint = Joint(job, version, parts)
        except ValueError as error:
            raise InvalidManifest(f"{job}@{version}", f"cannot be joined: {error}") from error
        encoded = encoding_of(joint.manifest)
        return Joined(Digest(hexdigest_of(encoded)), encoded, joint, members)

    return await asyncio.to_thread(work)
