"""Makes full versions of chains, as somebody asks for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptd.chains.chain_links import copy_name
from ckptd.control.messages.materialising import (
    ChainRow,
    MaterialiseEvent,
    MaterialiseProgress,
    MaterialiseRequest,
    MaterialiseResult,
    WayRow,
)
from ckptd.daemon.answer.chain_fetching import ChainFetching, Wanted
from ckptd.daemon.answer.chain_planning import ChainPlan, ChainPlans, ChosenWay, Content
from ckptd.daemon.answer.copy_making import CopyMaking, Made
from ckptd.daemon.answer.held_chain import HeldChains
from ckptd.daemon.answer.published_copies import PublishedCopies
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import is_taken, new_recovery_id
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.leases import Leases
from ckptd.limits import SECOND
from ckptd.model.ids import Digest, parse_checkpoint_name, parse_digest_prefix, parse_version
from ckptd.model.words import MaterialiseStage
from ckptd.observe.logs import get_logger
from ckptd.store.materialising.chain_files import ChainFiles
from ckptd.store.materialising.made_note import MadeNote
from ckptd.store.materialising.making import CopyTarget

_log = get_logger()


class _Amounts(NamedTuple):
    """What a copy consists of.

    Attributes:
        size_bytes: Its length.
        files: How many files it has; 0: not known yet.
        left_out: What of the full version it does not have.
    """

    size_bytes: int
    files: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class _Answer:
    """What came of one request so far.

    Attributes:
        target: Where the copy belongs.
        plan: The ways to it.
        is_dry_run: Nothing is done.
        began_ns: When it was asked for.
        amounts: What it consists of.
        note: What was made, or stood there; ``None``: nothing, or it was fetched as it is.
        fetched: What was fetched for it.
        is_standing: It stood there before.
        published_digest: Of its manifest; empty: it is not published.
    """

    target: CopyTarget
    plan: ChainPlan
    is_dry_run: bool
    began_ns: int
    amounts: _Amounts = field(default_factory=lambda: _Amounts(0))
    note: MadeNote | None = None
    fetched: tuple[Content, ...] = ()
    is_standing: bool = False
    published_digest: str = ""

    @property
    def way(self) -> ChosenWay:
        """The fastest way."""
        return self.plan.ways[0]


class MaterialiseAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about materialising.

    Args:
        storage: Where versions are.
        recovering: All recoveries.
        recoveries: Begins those that bring what is missing.
        leases: Keeps what is read.
        copies: Publishes what is made.
    """

    def __init__(
        self,
        storage: Storage,
        recovering: Recovering,
        recoveries: RecoveryAnswers,
        leases: Leases,
        copies: PublishedCopies,
    ) -> None:
        self._catalog = storage.catalog
        self._roots = storage.roots
        self._recovering = recovering
        self._now = recovering.runtime.now
        self._plans = ChainPlans(storage, recovering)
        self._fetching = ChainFetching(recovering, recoveries)
        self._chains = HeldChains(storage, leases)
        self._making = CopyMaking()
        self._copies = copies

    async def materialise(
        self, request: MaterialiseRequest
    ) -> AsyncGenerator[MaterialiseEvent, None]:
        """Make a full version; yield progress once a second, and last one result."""
        answer = await self._begin(request)
        if request.publish:
            self._copies.check(answer.target)
        async with aclosing(self._steps(answer)) as steps:
            async for progress in steps:
                yield progress
        if request.publish and answer.note is not None and not answer.is_dry_run:
            async with aclosing(self._publish(answer, answer.note)) as publishing:
                async for progress in publishing:
                    yield progress
        published = copy_name(answer.target.checkpoint) if request.publish else ""
        yield MaterialiseResult(
            checkpoint=answer.target.checkpoint,
            version=answer.target.version,
            digest=answer.target.of,
            directory=answer.target.root.absolute(answer.target.directory),
            chain=tuple(_rows(answer)),
            ways=tuple(_way_rows(answer.plan)),
            size_bytes=answer.amounts.size_bytes,
            files=answer.amounts.files,
            left_out=answer.amounts.left_out,
            is_standing=answer.is_standing,
            is_dry_run=answer.is_dry_run,
            duration_s=round((self._now() - answer.began_ns) / SECOND, 3),
            published=published,
            published_digest=answer.published_digest,
        )

    async def _begin(self, request: MaterialiseRequest) -> _Answer:
        """Return what is asked for.

        Raises:
            Conflict: A recovery is on its way to the target.
            CkptdError: There is no way to it; see :meth:`ChainPlans.plan`.
        """
        began_ns = self._now()
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = parse_version(request.version)
        prefix = parse_digest_prefix(request.digest) if request.digest else ""
        root, directory = self._roots.locate(request.to)
        rival = self._recovering.book.overlapping(root, directory)
        if rival is not None:
            raise is_taken(root.absolute(directory), rival)
        plan = await self._plans.plan(checkpoint, version, prefix)
        owner = self._recovering.terms.by_root[root.name].owner
        staging, digest = new_recovery_id(), plan.wanted.digest
        target = CopyTarget(root, directory, staging, checkpoint, version, digest, owner)
        return _Answer(target, plan, request.is_dry_run, began_ns)

    async def _steps(self, answer: _Answer) -> AsyncGenerator[MaterialiseProgress, None]:
        """Do what has to be done for a copy to stand at its target; yield progress."""
        copy = await self._recovered_copy(answer.target)
        if copy is not None:  # its recovery looks whether it is still right
            answer.is_standing = True
            async with aclosing(self._fetch_copy(answer, copy)) as events:
                async for progress in events:
                    yield progress
            return
        standing = Made[MadeNote | None]()
        async with aclosing(self._making.standing(answer.target, standing)) as events:
            async for progress in events:
                yield progress
        if standing.result is not None:
            answer.is_standing = True
            _take(answer, standing.result)
            return
        way = answer.way
        answer.amounts = _Amounts(way.start.size_bytes)
        if answer.is_dry_run and way.missing:
            return
        if way.is_fetched_as_it_is:
            async with aclosing(self._fetch_copy(answer, way.start)) as events:
                async for progress in events:
                    yield progress
            return
        await self._chains.take(way.contents)
        with self._chains.reading(way.contents):
            async with aclosing(
                self._fetch(answer, [Wanted(each) for each in way.missing])
            ) as events:
                async for progress in events:
                    yield progress
        await self._chains.take(way.contents)
        with self._chains.reading(way.contents):
            async with aclosing(self._make(answer)) as events:
                async for progress in events:
                    yield progress

    async def _recovered_copy(self, target: CopyTarget) -> Content | None:
        """Return the copy that a recovery placed at a target; ``None``: none did."""
        found = self._catalog.at(target.root.name, target.directory)
        if found is None or found[1].is_published:
            return None
        holding = found[0].holding
        content = Content(
            holding.checkpoint, holding.version, holding.digest, holding.size_bytes, is_here=True
        )
        is_it = await self._plans.is_copy_of(content, target.checkpoint, target.version, target.of)
        return content if is_it else None

    async def _fetch_copy(
        self, answer: _Answer, copy: Content
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Bring a copy that a peer made to the target itself."""
        answer.amounts = _Amounts(copy.size_bytes)
        if answer.is_dry_run:
            return
        to = answer.target.root.absolute(answer.target.directory)
        async with aclosing(self._fetch(answer, [Wanted(copy, to)])) as events:
            async for progress in events:
                yield progress
        manifest = await self._catalog.manifest(copy.digest)
        answer.amounts = _Amounts(copy.size_bytes, len(manifest.units))
        answer.published_digest = copy.digest

    async def _fetch(
        self, answer: _Answer, wanted: list[Wanted]
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        """Bring versions."""
        if not wanted:
            return
        began_ns, total_bytes = self._now(), 0
        async with aclosing(self._fetching.fetch(wanted)) as fetching:
            async for done_bytes, total_bytes in fetching:
                yield MaterialiseProgress(
                    stage=MaterialiseStage.FETCHING, bytes_done=done_bytes, bytes_total=total_bytes
                )
        if not answer.is_standing:
            took_s = (self._now() - began_ns) / SECOND
            self._plans.note_fetched(total_bytes, len(wanted), took_s)
            answer.fetched = tuple(each.content for each in wanted)

    async def _make(self, answer: _Answer) -> AsyncGenerator[MaterialiseProgress, None]:
        """Apply what stands here now."""
        target, contents = answer.target, answer.way.contents
        versions = await self._chains.open(contents)
        files = Made[ChainFiles]()
        async with aclosing(self._making.files(versions, files)) as events:
            async for progress in events:
                yield progress
        size_bytes = files.result.size_bytes
        self._recovering.terms.check_size(answer.plan.wanted.name, size_bytes)
        if answer.is_dry_run:
            answer.amounts = _Amounts(size_bytes, len(files.result.files), files.result.left_out)
            return
        terms = self._recovering.terms.by_root[target.root.name]
        finishings = await self._chains.finishings(versions, terms)
        made, began_ns = Made[MadeNote](), self._now()
        async with aclosing(self._making.make(target, files.result, finishings, made)) as events:
            async for progress in events:
                yield progress
        _take(answer, made.result)
        took_s = (self._now() - began_ns) / SECOND
        deltas = len(contents) - 1
        self._plans.note_made(size_bytes, files.result.apply_bytes, deltas, took_s)
        _log.info(
            "version.materialised",
            checkpoint=target.checkpoint,
            version=target.version,
            digest=target.of,
            deltas=deltas,
            directory=target.root.absolute(target.directory),
        )

    async def _publish(
        self, answer: _Answer, note: MadeNote
    ) -> AsyncGenerator[MaterialiseProgress, None]:
        published: list[Digest] = []
        async with aclosing(self._copies.publish(answer.target, note, published)) as hashing:
            async for each in hashing:
                yield MaterialiseProgress(
                    stage=MaterialiseStage.PUBLISHING,
                    bytes_done=each.bytes_done,
                    bytes_total=each.bytes_total,
                )
        answer.published_digest = published[0]


def _take(answer: _Answer, note: MadeNote) -> None:
    answer.note = note
    answer.amounts = _Amounts(note.size_bytes, len(note.files), note.left_out)


def _rows(answer: _Answer) -> list[ChainRow]:
    fetched = answer.way.missing if answer.is_dry_run else answer.fetched
    return [
        ChainRow(
            checkpoint=content.checkpoint,
            version=content.version,
            digest=content.digest,
            size_bytes=content.size_bytes,
            is_delta=number > 0,
            is_fetched=content in fetched,
        )
        for number, content in enumerate(answer.way.contents)
    ]


def _way_rows(plan: ChainPlan) -> list[WayRow]:
    return [
        WayRow(
            text=way.planned.text,
            predicted_s=round(way.planned.predicted_s, 3),
            fetch_bytes=way.planned.fetch_bytes,
            apply_bytes=way.planned.apply_bytes,
        )
        for way in plan.ways
    ]
