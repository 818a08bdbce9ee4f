"""Makes shards of a job of versions that stand here under names of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import msgspec

from ckptd.control.messages.jobs import Adopted, AdoptedRow, AdoptRequest
from ckptd.daemon.answer.publish_answers import sign_version
from ckptd.daemon.answer.published_shards import PublishedShards
from ckptd.daemon.parts import Storage
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import NotFound, UsageError
from ckptd.limits import SHARDS_MAX
from ckptd.model.attributes import decode_attributes, encode_attributes
from ckptd.model.ids import CheckpointName, Digest, Version, parse_checkpoint_name
from ckptd.model.joint import Member
from ckptd.model.manifest import encode_manifest
from ckptd.model.shards import Shard, shard_name
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.published.places import HeldVersion, Place

_log = get_logger()


class _Candidate(NamedTuple):
    held: HeldVersion
    place: Place
    shard: Shard


class JobAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about adopting.

    Args:
        storage: Where versions are.
        policy: Signs them.
        names_at_peers: Returns the checkpoints of which peers hold something.
    """

    def __init__(
        self,
        storage: Storage,
        policy: SignaturePolicy,
        names_at_peers: Callable[[], Iterable[CheckpointName]],
    ) -> None:
        self._catalog = storage.catalog
        self._storage = storage
        self._roots = storage.roots
        self._policy = policy
        self._names_at_peers = names_at_peers
        self._shards = PublishedShards(storage.catalog)

    async def adopt(self, request: AdoptRequest) -> Adopted:
        """Publish versions that are here as shards of a job; their old names are forgotten.

        The bytes were hashed when they were published, and their manifests say the same of them
        under another name. What is suspect, changed or withdrawn stays as it is.

        Raises:
            UsageError: The pattern has no single ``*``, or there are more numbers than shards.
            NotFound: Nothing here has such a name.
            Conflict: A name of the job is taken, or shards contradict each other.
            StorageError: The disk refused; what was adopted before that stays adopted.
        """
        job = parse_checkpoint_name(request.job)
        numbers = _Numbers(request.pattern)
        own = {held.holding.checkpoint for held in self._catalog.versions()}
        count = request.count or _count(numbers, own | set(self._names_at_peers()))
        chosen = list(self._chosen(numbers, count))
        if not chosen:
            raise NotFound(
                f"adopt {request.pattern}",
                "finds no version here that is whole and on offer",
                "See 'ckptctl checkpoints'.",
            )
        adopted = {each.held.holding.checkpoint for each in chosen}
        for each in chosen:
            self._shards.check_name(shard_name(job, each.shard), but=adopted)
        await self._check_alike(chosen, job)
        rows = [await self._adopt(each, job, request) for each in chosen]
        return Adopted(job=job, count=count, versions=tuple(rows), is_dry_run=request.is_dry_run)

    def _chosen(self, numbers: _Numbers, count: int) -> Iterator[_Candidate]:
        for held in self._catalog.versions():
            number = numbers.of(held.holding.checkpoint)
            if number is None:
                continue
            if number >= count:
                raise UsageError(
                    f"adopt as {count} shards",
                    f"does not fit {held.holding.checkpoint}: shards are counted from 0",
                    f"Say how many there are: --count {number + 1}.",
                )
            for place in held.places:
                if place.is_whole and not place.is_withdrawn:
                    yield _Candidate(held, place, Shard(number, count))

    async def _check_alike(self, chosen: Iterable[_Candidate], job: CheckpointName) -> None:
        """Check each version before anything of it is done.

        Raises:
            Conflict: The same path has other content in another shard.
        """
        of_version: dict[Version, dict[Shard, _Candidate]] = {}
        for each in chosen:
            of_version.setdefault(each.held.holding.version, {})[each.shard] = each
        for version, candidates in of_version.items():
            shards = {}
            for shard, each in candidates.items():
                before = await self._catalog.hashed(each.place.number)
                name = shard_name(job, shard)
                manifest = msgspec.structs.replace(before.manifest, checkpoint=name)
                shards[shard] = Member(before.digest, manifest)
            await self._shards.check_together(job, version, shards)

    async def _adopt(
        self, chosen: _Candidate, job: CheckpointName, request: AdoptRequest
    ) -> AdoptedRow:
        holding, name = chosen.held.holding, shard_name(job, chosen.shard)
        digest = ""
        if not request.is_dry_run:
            digest = await self._publish(chosen, name)
            _log.info(
                "version.adopted",
                checkpoint=holding.checkpoint,
                version=holding.version,
                shard=name,
                digest=digest,
            )
        return AdoptedRow(
            checkpoint=holding.checkpoint,
            version=holding.version,
            shard=name,
            digest=digest,
            size_bytes=holding.size_bytes,
            directory=self._roots[chosen.place.root].absolute(chosen.place.directory),
        )

    async def _publish(self, chosen: _Candidate, name: CheckpointName) -> Digest:
        """Publish one place of a version under the name of a shard, and forget the old name."""
        before = await self._catalog.hashed(chosen.place.number)
        kept = await self._storage.attributes.find(before.digest)
        document = b"" if kept is None else kept[0]
        renamed = await asyncio.to_thread(_renamed, before, name, document)
        await self._shards.check_alike(renamed)
        signatures = await sign_version(self._policy, self._storage, renamed)
        await self._catalog.add(
            renamed,
            is_published=chosen.place.is_published,
            is_newest_counted=self._policy.counts(signatures, name),
        )
        await self._catalog.forget(chosen.place.number)
        return renamed.digest


class _Numbers:
    """Reads the numbers of shards in names.

    Args:
        pattern: A name with one ``*``.

    Raises:
        UsageError: It has none, or several.
    """

    def __init__(self, pattern: str) -> None:
        before, star, behind = pattern.partition("*")
        if not star or "*" in behind:
            raise UsageError(
                f"pattern {pattern[:80]!r}",
                "does not have one '*' where the number of the shard stands",
                "Write it so: 'llama/rank-*'.",
            )
        self._form = re.compile(f"{re.escape(before)}([0-9]{{1,5}}){re.escape(behind)}", re.ASCII)

    def of(self, name: CheckpointName) -> int | None:
        """Return the number in a name; ``None``: it is none of them."""
        found = self._form.fullmatch(name)
        return None if found is None else int(found[1])


def _count(numbers: _Numbers, names: Iterable[CheckpointName]) -> int:
    """Return how many shards there are if the highest number that is known is the last one."""
    found = [number for name in names if (number := numbers.of(name)) is not None]
    return min(max(found, default=0) + 1, SHARDS_MAX)


def _renamed(before: HashedDirectory, name: CheckpointName, attributes: bytes) -> HashedDirectory:
    """Return a version under another name.

    Args:
        before: The version.
        name: The other name.
        attributes: Its attribute document; empty: nothing is known.
    """
    manifest = msgspec.structs.replace(before.manifest, checkpoint=name)
    encoded = encode_manifest(manifest)
    digest = Digest(hexdigest_of(encoded))
    document = _of_renamed(attributes, before, digest) if attributes else b""
    return replace(before, manifest=manifest, encoded=encoded, digest=digest, attributes=document)


def _of_renamed(document: bytes, before: HashedDirectory, renamed: Digest) -> bytes:
    """Return the attribute document of a version under another name."""
    found = decode_attributes(document, before.digest, before.manifest)
    entries = range(found.unit_count + len(found.directories))
    return encode_attributes(
        renamed,
        [found.mode(entry) for entry in entries],
        [found.mtime_ns(entry) for entry in entries],
    )
