"""Publishes directories."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

from ckptd.config.values import SETTLE_S_MAX
from ckptd.control.messages.checkpoints import (
    PublishEvent,
    PublishProgress,
    PublishRequest,
    PublishResult,
)
from ckptd.control.messages.rivals import RivalRow
from ckptd.control.roles import Caller
from ckptd.control.server.handing import Handing
from ckptd.core.report.rivals import Rival
from ckptd.daemon.answer.minimal_sets import MinimalSets
from ckptd.daemon.answer.passed_answers import Passing
from ckptd.daemon.answer.published_shards import PublishedShards
from ckptd.daemon.answer.said_rows import said_of, unit_pages
from ckptd.daemon.answer.version_hashing import VersionHashing
from ckptd.daemon.answer.workload_answers import Workloads
from ckptd.daemon.host.systemd import keeps_descriptors
from ckptd.daemon.keep.passed_keeping import PassedKeeping
from ckptd.daemon.keep.save_pace import SavePace
from ckptd.daemon.keep.taking_saves import TakingSaves
from ckptd.daemon.parts import Parts, Storage
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import UsageError
from ckptd.limits import SECOND
from ckptd.model.formats.element_types import parse_dtype
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name, parse_version
from ckptd.model.policy.configured import policies_for
from ckptd.model.signatures import Signature
from ckptd.model.words import Result
from ckptd.observe.logs import get_logger
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.kernel import read_idle
from ckptd.store.files.permission import reading_remedy
from ckptd.store.published.finding import outlook_of
from ckptd.store.published.hash_runs import HashingProgress
from ckptd.store.published.held_chains import bases_for
from ckptd.store.published.places import HeldVersion
from ckptd.store.published.scanning import PublishOrder, names_beside

_log = get_logger()


class PublishAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about publishing.

    Args:
        parts: What the daemon is made of.
        now: A monotonic clock.
        note: Given how each ended, and how many nanoseconds it took.
        contents: Returns what peers have under a checkpoint and version.
        passed: Keeps files that publishers passed.
        minimal_sets: Knows what is needed first of what is here.
        taking: Publishes by this what jobs save into watched directories.
        workloads: Measures how long that takes.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        parts: Parts,
        now: Callable[[], int],
        note: Callable[[Result, int], None],
        contents: Callable[[CheckpointName, Version], Iterable[Rival]],
        *,
        passed: PassedKeeping,
        minimal_sets: MinimalSets,
        taking: TakingSaves,
        workloads: Workloads,
    ) -> None:
        self._workloads = workloads
        self._minimal_sets = minimal_sets
        self._node = parts.config.node.id
        self._contents = contents
        self._now = now
        self._note = note
        self._catalog = parts.storage.catalog
        self._storage = parts.storage
        self._policy = parts.policy
        self._roots = parts.storage.roots
        self._passed = passed
        self._keeps_descriptors = keeps_descriptors(parts.config.environment)
        self._section = parts.config.publish
        self._policies = parts.config.policy
        self._settle_ns = int(parts.config.publish.settle_s * SECOND)
        self._jobs = PublishedShards(parts.storage.catalog)
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="publish")
        # Of its own: nobody who waits for a publishing waits for what nobody waits for.
        # Threads that it starts are in its class as well.
        self._unattended = ThreadPoolExecutor(
            1, thread_name_prefix="watch", initializer=lambda: taking.note_idle(read_idle())
        )
        taking.publish, taking.note_seen = self._publish_unattended, workloads.note_seen

    async def publish(
        self, request: PublishRequest, caller: Caller, handing: Handing
    ) -> AsyncGenerator[PublishEvent, None]:
        """Hash a directory and hold it; yield progress once a second, and last one result."""
        if request.is_dry_run:
            async with aclosing(self._outlook(request)) as events:
                async for event in events:
                    yield event
            return
        started_ns, result = self._now(), Result.CANCELLED  # unless it goes on to its end
        passing = Passing(handing, caller.uid)
        try:
            hashing = VersionHashing(self._hashing, os.cpu_count() or 1)
            async with aclosing(self._publish(request, started_ns, hashing, passing)) as events:
                async for event in events:
                    if isinstance(event, PublishResult):
                        result = Result.COMPLETE
                    yield event
        except Exception:
            result = Result.FAILED
            raise
        finally:
            passing.settle()
            self._note(result, self._now() - started_ns)

    async def _publish_unattended(self, request: PublishRequest, pace: SavePace) -> PublishResult:
        """Publish what nobody asked for in a request, in one thread.

        Args:
            request: What; nothing can be passed.
            pace: Keeps that thread.

        Raises:
            CkptdError: As the store raises it.
        """
        assert not request.passes_files, "there is nobody to pass them"
        started_ns, result = self._now(), Result.CANCELLED
        hashing = VersionHashing(self._unattended, 1, pace)
        try:
            async with aclosing(self._publish(request, started_ns, hashing)) as events:
                async for event in events:
                    if isinstance(event, PublishResult):
                        result = Result.COMPLETE
                        return event
        except Exception:
            result = Result.FAILED
            raise
        finally:
            self._note(result, self._now() - started_ns)
        raise AssertionError("a publishing ends with a result or an error")

    async def _publish(
        self,
        request: PublishRequest,
        started_ns: int,
        how: VersionHashing,
        passing: Passing | None = None,
    ) -> AsyncGenerator[PublishEvent, None]:
        order = self._order(request)
        self._jobs.check_name(order.checkpoint)
        self._catalog.check_room(order.checkpoint, order.version)
        root, relative = self._roots.locate(request.directory)
        if request.passes_files and passing is not None:
            async with aclosing(passing.ask(root, relative, order)) as wanted:
                async for each in wanted:
                    yield each
        order_with_bases = await self._with_bases(order)
        async with aclosing(how.follow(root, relative, order_with_bases)) as hashing:
            async for progress in hashing:
                yield _progress_of(progress)
        hashed = how.hashed
        await self._jobs.check_alike(hashed)
        beside = await asyncio.to_thread(names_beside, root, relative, order)
        known = self._catalog.held(hashed.digest)
        # First, so that nobody finds the version before.
        signatures = await sign_version(self._policy, self._storage, hashed)
        held = await self._catalog.add(
            hashed,
            replace=order.replace,
            is_newest_counted=self._policy.counts(signatures, order.checkpoint),
        )
        place = held.at(root.name, hashed.directory)
        if place is not None:
            await self._passed.note(place.number, hashed)
        if order.replace:
            await self._supersede(held)
        is_new = known is None
        if is_new:
            self._workloads.note_published(
                hashed, held.holding.size_bytes, took_s=how.took_s, paced_s=how.paced_s
            )
        before = None if known is None else known.at(root.name, hashed.directory)
        _log.info(
            "version.published",
            checkpoint=order.checkpoint,
            version=order.version,
            digest=held.holding.digest,
            is_new=is_new,
            **({"skipped": ",".join(beside.skipped)} if beside.skipped else {}),
            **({"excluded": ",".join(beside.excluded)} if beside.excluded else {}),
        )
        rivals = self._rivals_of(held)
        if rivals:
            _log.warning(
                "version.conflict",
                checkpoint=order.checkpoint,
                version=order.version,
                contents="; ".join(f"{row.digest} at {', '.join(row.nodes)}" for row in rivals),
            )
        yield PublishResult(
            checkpoint=order.checkpoint,
            version=order.version,
            digest=held.holding.digest,
            size_bytes=held.holding.size_bytes,
            units=len(hashed.manifest.units),
            is_new=is_new,
            directory=root.absolute(hashed.directory),
            duration_s=round((self._now() - started_ns) / SECOND, 3),
            rivals=rivals,
            skipped=beside.skipped,
            excluded=beside.excluded,
            excluded_files=beside.excluded_files,
            is_back=before is not None and before.is_withdrawn,
            links=len(hashed.manifest.links),
            empty_directories=len(hashed.manifest.directories),
            passed_files=hashed.passed,
            passed_note=self._passed_note(root.absolute(hashed.directory), hashed.passed),
            minimal_set=self._minimal_sets.of(held.holding.digest),
            unresolved=hashed.unresolved,
        )

    def _passed_note(self, directory: str, count: int) -> str:
        """Say for how long files can be read that were passed; empty if there are none."""
        if not count:
            return ""
        until = "until ckptd restarts"
        if self._keeps_descriptors:
            until = "over restarts of ckptd as well, until the machine starts again"
        parent = directory.rpartition("/")[0]
        return f"on offer {until}; for good: {reading_remedy(directory, parent)}"

    def _order(self, request: PublishRequest) -> PublishOrder:
        """Return what is to be published, as the store understands it.

        Raises:
            UsageError: A name, version, time or type that there cannot be.
        """
        if not 0.0 <= request.settled_s <= SETTLE_S_MAX:
            raise UsageError(
                f"settled {request.settled_s}", f"is not between 0 and {SETTLE_S_MAX} seconds"
            )
        checkpoint = parse_checkpoint_name(request.checkpoint)
        return PublishOrder(
            directory=request.directory,
            checkpoint=checkpoint,
            version=parse_version(request.version),
            critical=request.critical,
            deferred=request.deferred,
            optional=request.optional,
            file_max_bytes=self._section.file_max_bytes,
            settle_ns=max(self._settle_ns, int(request.settled_s * SECOND)),
            replace=request.replace,
            exclude=request.exclude,
            keeps_logs=request.keeps_logs,
            require=request.require,
            allows_incomplete=request.allow_incomplete,
            keeps_links=request.keeps_links,
            phases=request.phases,
            after=request.after,
            policies=policies_for(self._policies, checkpoint),
            reads_policy_inside=self._section.policy_inside,
            recognises=request.recognises or self._section.recognise,
            dtypes=(
                *((pattern, parse_dtype(dtype)) for pattern, dtype in request.dtypes),
                ("*", self._section.dtype),
            ),
        )

    async def _with_bases(self, order: PublishOrder) -> PublishOrder:
        """Return an order that knows what a delta version would stand on."""
        for held in self._catalog.find(order.checkpoint, order.version):
            await self._catalog.see(held.holding.digest)
        bases, links = bases_for(self._catalog, order.checkpoint, order.version)
        return replace(order, bases=bases, links=links)

    async def _outlook(self, request: PublishRequest) -> AsyncGenerator[PublishEvent, None]:
        """Say what would be published, and what would be said of it."""
        started_ns, order = self._now(), self._order(request)
        self._jobs.check_name(order.checkpoint)
        root, relative = self._roots.locate(request.directory)
        outlook = await asyncio.to_thread(
            outlook_of, root, relative, order, passes_files=request.passes_files
        )
        said = await asyncio.to_thread(said_of, outlook)
        if request.lists_units:
            pages = unit_pages(outlook.files)
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                yield page
        yield PublishResult(
            checkpoint=order.checkpoint,
            version=order.version,
            digest="",
            size_bytes=outlook.size_bytes,
            units=outlook.units,
            is_new=False,
            directory=root.absolute(outlook.directory),
            duration_s=round((self._now() - started_ns) / SECOND, 3),
            skipped=outlook.beside.skipped,
            excluded=outlook.beside.excluded,
            excluded_files=outlook.beside.excluded_files,
            is_dry_run=True,
            links=outlook.links,
            empty_directories=outlook.empty_directories,
            passed_files=outlook.closed,
            passed_note=self._passed_note(root.absolute(outlook.directory), outlook.closed),
            minimal_set=self._minimal_sets.first_of(said.phases),
            unresolved=outlook.files.assignment.unresolved,
            said=said,
        )

    async def _supersede(self, held: HeldVersion) -> None:
        """Take other content under the same name off offer that a recovery brought here."""
        published = held.holding
        for other in self._catalog.find(published.checkpoint, published.version):
            if other.holding.digest != published.digest:
                await self._catalog.withdraw(other.holding.digest)

    def _rivals_of(self, held: HeldVersion) -> tuple[RivalRow, ...]:
        """Return other content that goes by the same name and version, here or at peers."""
        published = held.holding
        own = {
            other.holding.digest: other.holding.size_bytes
            for other in self._catalog.find(published.checkpoint, published.version)
            if other.holding.blocks
        }
        nodes = {digest: [self._node] for digest in own}
        for rival in self._contents(published.checkpoint, published.version):
            nodes.setdefault(rival.digest, []).extend(rival.nodes)
            own.setdefault(rival.digest, rival.size_bytes)
        return tuple(
            RivalRow(
                digest=digest,
                size_bytes=own[digest],
                nodes=tuple(sorted(names)),
                is_own=self._node in names,
            )
            for digest, names in sorted(nodes.items())
            if digest != published.digest
        )


async def sign_version(
    policy: SignaturePolicy, storage: Storage, hashed: HashedDirectory
) -> tuple[Signature, ...]:
    """Sign a version and what stands beside it, and keep that; return the version's signatures.

    Args:
        policy: Signs, if this node has a key.
        storage: Where signatures and attributes are kept.
        hashed: The version.

    Raises:
        StorageError: The disk refused.
    """
    signatures = await asyncio.to_thread(policy.sign, hashed.encoded)
    await storage.shelf.add(hashed.digest, signatures)
    if hashed.attributes:
        signed = await asyncio.to_thread(policy.sign_attributes, hashed.attributes)
        await storage.attributes.put(hashed.digest, hashed.attributes, signed)
    return signatures


def _progress_of(progress: HashingProgress) -> PublishProgress:
    return PublishProgress(
        files_done=progress.files_done,
        files_total=progress.files_total,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_total,
    )
