"""Publishes full versions that were made of chains: as versions of a name of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from ckptd.chains.chain_links import copy_name
from ckptd.daemon.answer.publish_answers import sign_version
from ckptd.daemon.answer.published_shards import PublishedShards
from ckptd.daemon.answer.version_hashing import VersionHashing
from ckptd.daemon.parts import Parts
from ckptd.errors import ContentChanged
from ckptd.model.ids import CheckpointName, Digest
from ckptd.model.policy.configured import policies_for
from ckptd.model.words import Result
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.materialising.made_note import MadeNote
from ckptd.store.materialising.making import CopyTarget
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.scanning import PublishOrder

_log = get_logger()


class PublishedCopies:
    """Publishes copies. Belongs to the event loop.

    Args:
        parts: What the daemon is made of.
        now: A monotonic clock.
        note: Given how each ended, and how many nanoseconds it took.
    """

    def __init__(
        self, parts: Parts, now: Callable[[], int], note: Callable[[Result, int], None]
    ) -> None:
        self._catalog = parts.storage.catalog
        self._storage = parts.storage
        self._policy = parts.policy
        self._section = parts.config.publish
        self._policies = parts.config.policy
        self._shards = PublishedShards(parts.storage.catalog)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._now = now
        self._note = note

    def check(self, target: CopyTarget) -> None:
        """Check that a copy can be published, as far as that is known before it is made.

        Raises:
            UsageError: The name is too long.
            Conflict: The name is that of a job.
            StorageError: The catalog is full.
        """
        name = copy_name(target.checkpoint)
        self._shards.check_name(name)
        self._catalog.check_room(name, target.version)

    async def publish(
        self, target: CopyTarget, note: MadeNote, published: list[Digest]
    ) -> AsyncGenerator[HashingProgress, None]:
        """Publish a copy that stands at its target; yield progress.

        The same chain makes the same bytes everywhere, and here they get the same words: so nodes
        that make a copy each can serve it together.

        Args:
            target: Where it stands.
            note: What was made.
            published: Takes the digest of its manifest.

        Raises:
            ContentChanged: It is not what was made any more.
            CkptdError: As the store raises it.
        """
        started_ns, result = self._now(), Result.CANCELLED
        how = VersionHashing(self._threads, os.cpu_count() or 1)
        order = self._order(target)
        try:
            async with aclosing(how.follow(target.root, target.directory, order)) as hashing:
                async for each in hashing:
                    yield each
            hashed = how.hashed
            _check_is_made(hashed, note, target)
            await self._add(hashed)
            published.append(hashed.digest)
            result = Result.COMPLETE
        except Exception:
            result = Result.FAILED
            raise
        finally:
            self._note(result, self._now() - started_ns)

    async def _add(self, hashed: HashedDirectory) -> None:
        is_new = self._catalog.held(hashed.digest) is None
        await self._shards.check_alike(hashed)
        signatures = await sign_version(self._policy, self._storage, hashed)
        name = CheckpointName(hashed.manifest.checkpoint)
        await self._catalog.add(hashed, is_newest_counted=self._policy.counts(signatures, name))
        _log.info(
            "version.published",
            checkpoint=name,
            version=hashed.manifest.version,
            digest=hashed.digest,
            is_new=is_new,
        )

    def _order(self, target: CopyTarget) -> PublishOrder:
        name = copy_name(target.checkpoint)
        return PublishOrder(
            directory=target.root.absolute(target.directory),
            checkpoint=name,
            version=target.version,
            file_max_bytes=self._section.file_max_bytes,
            keeps_logs=True,
            policies=policies_for(self._policies, name),
            reads_policy_inside=self._section.policy_inside,
            recognises=self._section.recognise,
            made_of=target.of,
        )


def _check_is_made(hashed: HashedDirectory, note: MadeNote, target: CopyTarget) -> None:
    """Check that what was hashed is what was made: nobody may say of anything else that it is.

    Raises:
        ContentChanged: It is not.
    """
    found = {unit.path: unit.digest.hex() for unit in hashed.manifest.units}
    if found != {file.path: file.digest for file in note.files}:
        raise ContentChanged(
            f"directory {target.root.absolute(target.directory)}",
            "changed since it was made",
            "Remove it and make it again.",
        )
