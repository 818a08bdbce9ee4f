"""Makes full versions of chains, as somebody asks for it: one at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.chains.chain_links import copy_name
from ckptd.control.messages.materialising import (
    ChainRow,
    MaterialiseEvent,
    MaterialiseProgress,
    MaterialiseRequest,
    MaterialiseResult,
)
from ckptd.daemon.answer.held_chain import HeldChain, HeldChains
from ckptd.daemon.answer.published_copies import PublishedCopies
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import is_taken, new_recovery_id
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import CkptdError
from ckptd.limits import SECOND
from ckptd.model.ids import Digest, parse_checkpoint_name, parse_digest_prefix, parse_version
from ckptd.model.words import MaterialiseStage
from ckptd.observe.logs import get_logger
from ckptd.store.materialising.chain_files import ChainVersion, chain_files
from ckptd.store.materialising.made_note import MadeNote
from ckptd.store.materialising.making import CopyTarget, make_copy, standing_copy
from ckptd.store.materialising.verified_blocks import VerifiedBlocks
from ckptd.store.trees.finishing import Finishing

_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""

_log = get_logger()


@dataclass(slots=True)
class _Progress:
    """How far one is. Its thread writes it, the event loop reads it.

    Attributes:
        stage: What it does.
        done_bytes: How much of that is done.
        total_bytes: How much there is to do; 0: not known yet.
        is_stopped: Nobody wants it any more.
    """

    stage: MaterialiseStage = MaterialiseStage.WAITING
    done_bytes: int = 0
    total_bytes: int = 0
    is_stopped: bool = False

    def begin(self, stage: MaterialiseStage, total_bytes: int) -> None:
        self.stage, self.done_bytes, self.total_bytes = stage, 0, total_bytes

    def note(self, size_bytes: int) -> None:
        if self.is_stopped:
            raise CkptdError("materialising", "was cancelled")
        self.done_bytes += size_bytes

    def message(self) -> MaterialiseProgress:
        return MaterialiseProgress(
            stage=self.stage, bytes_done=self.done_bytes, bytes_total=self.total_bytes
        )


class _Made(NamedTuple):
    """A copy at its target.

    Attributes:
        size_bytes: Its length.
        files: How many files it has.
        left_out: What of the full version it does not have.
        note: What it consists of; ``None``: it was not made.
        is_standing: It stood there before.
    """

    size_bytes: int
    files: int
    left_out: tuple[str, ...]
    note: MadeNote | None = None
    is_standing: bool = False


class MaterialiseAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about materialising.

    Args:
        storage: Where versions are.
        recovering: All recoveries.
        leases: Keeps what is read.
        copies: Publishes what is made.
    """

    def __init__(
        self, storage: Storage, recovering: Recovering, leases: Leases, copies: PublishedCopies
    ) -> None:
        self._copies = copies
        self._roots = storage.roots
        self._chains = HeldChains(storage, leases)
        self._recovering = recovering
        self._now = recovering.runtime.now
        # One at a time: each keeps many blocks in memory, and all write to the same disks.
        self._threads = ThreadPoolExecutor(1, "materialise")

    async def materialise(
        self, request: MaterialiseRequest
    ) -> AsyncGenerator[MaterialiseEvent, None]:
        """Make a full version; yield progress once a second, and last one result."""
        began_ns = self._now()
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = parse_version(request.version)
        prefix = parse_digest_prefix(request.digest) if request.digest else ""
        root, directory = self._roots.locate(request.to)
        rival = self._recovering.book.overlapping(root, directory)
        if rival is not None:
            raise is_taken(root.absolute(directory), rival)
        chain = await self._chains.find(checkpoint, version, prefix)
        await self._chains.take(chain)
        owner = self._recovering.terms.by_root[root.name].owner
        target = CopyTarget(
            root, directory, new_recovery_id(), checkpoint, version, chain.digest, owner
        )
        if request.publish:
            self._copies.check(target)
        is_dry_run = request.is_dry_run
        found: list[_Made] = []
        with self._chains.reading(chain):
            making = self._make(chain, target, found, is_dry_run=is_dry_run)
            async with aclosing(making) as events:
                async for progress in events:
                    yield progress
        (made,) = found
        if not (is_dry_run or made.is_standing):
            _log.info(
                "version.materialised",
                checkpoint=checkpoint,
                version=version,
                digest=chain.digest,
                deltas=len(chain.versions) - 1,
                directory=root.absolute(directory),
            )
        published: list[Digest] = []
        if request.publish and made.note is not None and not is_dry_run:
            async with aclosing(self._copies.publish(target, made.note, published)) as hashing:
                async for each in hashing:
                    yield MaterialiseProgress(
                        stage=MaterialiseStage.PUBLISHING,
                        bytes_done=each.bytes_done,
                        bytes_total=each.bytes_total,
                    )
        yield MaterialiseResult(
            checkpoint=checkpoint,
            version=version,
            digest=chain.digest,
            directory=root.absolute(directory),
            chain=tuple(_rows(chain)),
            size_bytes=made.size_bytes,
            files=made.files,
            left_out=made.left_out,
            is_standing=made.is_standing,
            is_dry_run=is_dry_run,
            duration_s=round((self._now() - began_ns) / SECOND, 3),
            published=copy_name(checkpoint) if request.publish else "",
            published_digest=published[0] if published else "",
        )

    async def _make(
        self, chain: HeldChain, target: CopyTarget, made: list[_Made], *, is_dry_run: bool
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Make a copy, or find that it stands there; yield progress.

        Args:
            chain: Of what.
            target: Where.
            made: Takes what stands there then.
            is_dry_run: Only see what would.
        """
        versions = await self._chains.open(chain)
        finishings = await self._finishings(versions, target)
        progress = _Progress()

        def work() -> _Made:
            progress.begin(MaterialiseStage.COMPARING, 0)
            standing = standing_copy(target, progress.note)
            if standing is not None:
                return _made(standing, is_standing=True)
            files = chain_files(versions, VerifiedBlocks())
            self._recovering.terms.check_size(chain.name, files.size_bytes)
            if is_dry_run:
                return _Made(files.size_bytes, len(files.files), files.left_out)
            progress.begin(MaterialiseStage.APPLYING, files.size_bytes)
            return _made(make_copy(target, files, finishings, progress.note))

        running = self._threads.submit(work)
        working = asyncio.wrap_future(running)
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=_PROGRESS_S)
                yield progress.message()
        finally:
            progress.is_stopped = True
            if not running.cancel():  # else it had not begun
                await asyncio.wait({working})  # what it reads may be removed from then on
                working.exception()  # nobody may be left to hear of it
        made.append(working.result())

    async def _finishings(
        self, versions: list[ChainVersion], target: CopyTarget
    ) -> list[Finishing]:
        """Return what files of each version get last, as what is recovered does."""
        terms = self._recovering.terms.by_root[target.root.name]
        return [
            Finishing(
                each.served.space.manifest, await self._chains.attributes(each.served), *terms
            )
            for each in versions
        ]


def _made(note: MadeNote, *, is_standing: bool = False) -> _Made:
    return _Made(note.size_bytes, len(note.files), note.left_out, note, is_standing)


def _rows(chain: HeldChain) -> list[ChainRow]:
    return [
        ChainRow(
            version=held.holding.version,
            digest=held.holding.digest,
            size_bytes=held.holding.size_bytes,
            is_delta=number > 0,
        )
        for number, held in enumerate(chain.versions)
    ]
