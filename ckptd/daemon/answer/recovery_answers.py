"""Answers what is asked about recoveries, and does to them what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from ckptd.control.messages.explanations import ExplanationView
from ckptd.control.messages.recovery_results import RecoveryProgress, WatchEvent
from ckptd.control.messages.running_recoveries import RecoverRequest, RecoveryView
from ckptd.core.events import (
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryPromoted,
    RecoveryResumed,
    RestWanted,
)
from ckptd.core.report.rivals import Rival
from ckptd.daemon.answer import explaining
from ckptd.daemon.answer.job_shards import JobShards
from ckptd.daemon.answer.recovery_views import RecoveryViews, result_of, view_of_ended
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook, is_taken, new_recovery_id
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, NotFound, UsageError
from ckptd.limits import SECOND
from ckptd.model.ids import (
    CheckpointName,
    NodeId,
    Version,
    parse_checkpoint_name,
    parse_digest_prefix,
    parse_node_id,
    parse_version,
    shortened,
)
from ckptd.model.unit_choice import Choice, format_choice
from ckptd.model.words import Stage
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root
from ckptd.store.records.journal import JournaledRecovery

_RECOVERY_PROGRESS_S: Final = 1.0
"""How often a stream reports progress."""

_log = get_logger()


class _Selection(NamedTuple):
    """Which of several contents is asked for: see :class:`RecoverRequest`."""

    digest_prefix: str
    from_node: NodeId | None


class _Terms(NamedTuple):
    """Which units are asked for, and whether the others come later."""

    choice: Choice | None
    rest_follows: bool


class RecoveryAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about recoveries.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        views: Shows those that have not ended.
    """

    def __init__(self, parts: Parts, recovering: Recovering, views: RecoveryViews) -> None:
        self._recovering = recovering
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._report = recovering.runtime.report
        self._book = recovering.book
        self._wall_clock = parts.wall_clock
        self._views = views
        self._journal = parts.storage.journal
        self._catalog = parts.storage.catalog
        self._roots = parts.storage.roots
        self._shards = JobShards(parts.storage.catalog, recovering)
        self._beginning = asyncio.Lock()
        self._widening = recovering.widening

    def recoveries(self) -> list[RecoveryView]:
        """Return those that have not ended and those that have, newest first."""
        active = [self._views.of(recovery) for recovery in self._book]
        ended = [view_of_ended(record) for record in self._book.ended()]
        return [*reversed(active), *ended]

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        found = self._book.get(recovery)
        return self._views.of(found) if found else view_of_ended(self._book.result(recovery))

    def explain(self, recovery: str) -> ExplanationView:
        """Say why a recovery goes as it does, or went."""
        found = self._book.get(recovery)
        if found is None:
            ended, story = self._book.result(recovery), self._book.story(recovery)
            if story is None:
                return explaining.forgotten(ended)
            return explaining.explanation(
                view_of_ended(ended),
                story.explanation,
                taken_at_s=story.taken_at_s,
                message=ended.message,
            )
        known = self._scheduler.explain(found.id, now=self._now())
        assert known is not None, f"{found.id} is in the book and not in the scheduler"
        return explaining.explanation(self._views.of(found), known, taken_at_s=self._wall_clock())

    async def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery; one for the same version and target that is under way is joined.

        One that is for other units is for these as well from now on. If it is being placed
        already, another one begins when it has ended.

        Raises:
            Conflict: Another one is on its way to that target, or above or below it.
            StorageError: The disk refused; nothing was begun.
        """
        wanted = _terms_of(request)
        while True:
            view = await self._begin_or_join(request, wanted)
            if isinstance(view, RecoveryView):
                return view
            await view.ended.wait()

    async def _begin_or_join(
        self, request: RecoverRequest, terms: _Terms
    ) -> RecoveryView | OpenRecovery:
        """Begin a recovery or join one.

        Returns:
            It; or one that has to end first.
        """
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        wanted = self._selection_of(request, checkpoint, version)
        shards = await self._shards.wanted(checkpoint, request.shards)
        root, target = self._roots.default(), ""
        named = ""  # what somebody named; where else it comes to is settled with the version
        if request.to is not None:
            root, target = self._roots.locate(request.to)
            named = target
        elif version is not None:
            root, target = self._recovering.own.target_of(checkpoint, version)
        await self._book.settle(checkpoint)
        await self._let_end(root, target)
        async with self._beginning:  # of two requests for the same, one begins
            same = self._find_same(checkpoint, version, root, target, shards, terms.choice)
            if same is not None and self._is_of(same, wanted):
                _check_allows(same.record, request)
                is_widened: bool | None = False
                if not request.is_on_demand:  # else nothing is wanted but what will be read
                    is_widened = await self._widening.widen(
                        same, terms.choice, rest_follows=terms.rest_follows
                    )
                if is_widened is None:
                    return same
                return await self._join(same, request, is_widened=is_widened)
            if version is not None:
                self._catalog.check_room(checkpoint, version)
            rival = self._book.overlapping(root, target)
            if rival is not None:
                raise is_taken(root.absolute(target), rival)
            record = JournaledRecovery(
                recovery=new_recovery_id(),
                checkpoint=checkpoint,
                version=version,
                digest=None,
                root=root.name,
                target=named,
                patience_ns=(
                    None if request.patience_s is None else int(request.patience_s * SECOND)
                ),
                is_paused=False,
                started_at_s=self._wall_clock(),
                is_background=request.is_background,
                digest_prefix=wanted.digest_prefix,
                from_node=wanted.from_node,
                is_named=version is not None,
                is_overwriting=request.overwrite,
                allow_partial=request.allow_partial,
                is_name_awaited=request.is_name_awaited,
                shards=shards,
                choice=format_choice(terms.choice),
                rest_follows=terms.rest_follows,
                is_on_demand=request.is_on_demand,
            )
            await self._journal.begin(record)
            recovery = self._book.new(record, root, target)
            self._recovering.begin(recovery)
        return self._views.of(recovery)

    def _selection_of(
        self, request: RecoverRequest, checkpoint: CheckpointName, version: Version | None
    ) -> _Selection:
        """Return which content is asked for.

        Raises:
            UsageError: What was written is none.
            NotFound: Once every peer was heard: no such content, or no such node.
            Conflict: Several are meant.
        """
        prefix = parse_digest_prefix(request.digest) if request.digest else ""
        node = None if request.from_node is None else parse_node_id(request.from_node)
        if self._scheduler.is_settled:
            now = self._now()
            if prefix:
                check_prefix(prefix, self._scheduler.contents(checkpoint, version, now=now))
            if node is not None and not self._scheduler.paths_to(node):
                raise NotFound(f"node {node}", "was never heard of", "See 'ckptctl peers'.")
        return _Selection(prefix, node)

    def _is_of(self, other: OpenRecovery, wanted: _Selection) -> bool:
        """Return whether a recovery under way is for a content that is asked for now."""
        if wanted == _Selection(other.record.digest_prefix, other.record.from_node):
            return True
        view = self._scheduler.recovery(other.id, now=self._now())
        digest = "" if view is None or view.digest is None else view.digest
        is_begun = bool(wanted.digest_prefix) and digest.startswith(wanted.digest_prefix)
        return wanted == _Selection("", None) or (is_begun and wanted.from_node is None)

    async def _let_end(self, root: Root, target: str) -> None:
        """Wait for a recovery on its way to a target that was given up and is being removed."""
        other = self._book.overlapping(root, target)
        if other is not None:
            view = self._scheduler.recovery(other.id, now=self._now())
            if view is not None and view.stage is Stage.DISCARDING:
                await other.ended.wait()

    def _find_same(
        self,
        checkpoint: CheckpointName,
        version: Version | None,
        root: Root,
        target: str,
        shards: str,
        choice: Choice | None,
    ) -> OpenRecovery | None:
        """Return a recovery under way for what is asked for now, on its way to the same target."""
        for other in self._book:
            is_there = other.target == target if target else not other.record.target
            is_alike = other.root is root and is_there and other.record.shards == shards
            if is_alike and self._is_same(other, checkpoint, version, choice):
                return other
        return None

    def _is_same(
        self,
        other: OpenRecovery,
        checkpoint: CheckpointName,
        version: Version | None,
        choice: Choice | None,
    ) -> bool:
        """Return whether a recovery that is under way is for what is asked for now."""
        if other.record.checkpoint != checkpoint:
            return False
        snapshot = self._scheduler.recovery(other.id, now=self._now())
        chosen = None if snapshot is None else snapshot.version
        if version is not None:
            return version in {other.record.version, chosen}
        if other.record.version is not None:
            return False
        if other.record.shards:
            return True
        newest = self._scheduler.explain_choice(
            checkpoint,
            None,
            self._catalog.newest_ever(checkpoint),
            unchosen=None if choice is None else self._scheduler.seen_unchosen(other.id),
        ).chosen
        return chosen is None or (newest is not None and newest[0] == chosen)

    async def _join(
        self, other: OpenRecovery, request: RecoverRequest, *, is_widened: bool
    ) -> RecoveryView:
        """Return a recovery that is under way; it leaves the background if somebody waits now.

        One on demand brings all of it if that is wanted now.
        """
        rest_is_wanted = other.record.is_on_demand and not request.is_on_demand
        if rest_is_wanted:
            await self._want_rest(other, is_background=request.is_background)
        is_promoted = other.record.is_background and not request.is_background
        if is_promoted:
            await self._journal.promote(other.id)
            other.record = replace(other.record, is_background=False)
            self._report(RecoveryPromoted(other.id))
            _log.info("recovery.promoted", recovery=other.id, checkpoint=other.record.checkpoint)
        view = self.recovery(other.id)  # it may have ended while the journal was written
        return msgspec.structs.replace(
            view,
            is_joined=True,
            is_promoted=is_promoted,
            is_widened=is_widened,
            rest_is_wanted=rest_is_wanted,
        )

    async def _want_rest(self, other: OpenRecovery, *, is_background: bool) -> None:
        """Let a recovery on demand bring all of it; durable."""
        is_background = is_background or other.record.is_background
        await self._journal.want_rest(other.id, is_background=is_background)
        other.record = replace(other.record, is_on_demand=False, is_background=is_background)
        self._report(RestWanted(other.id, is_background))
        _log.info("recovery.rest_wanted", recovery=other.id, is_background=is_background)

    async def pause(self, recovery: str) -> RecoveryView:
        """Let a recovery stand still until it is resumed."""
        return await self._set_paused(recovery, is_paused=True)

    async def resume(self, recovery: str) -> RecoveryView:
        """Let a paused recovery go on."""
        return await self._set_paused(recovery, is_paused=False)

    async def cancel(self, recovery: str) -> RecoveryView:
        """Give a recovery up and remove what it has staged."""
        found = running(self._book, recovery)
        self._report(RecoveryCancelled(found.id))
        await found.ended.wait()
        return self.recovery(recovery)

    async def watch(self, recovery: str) -> AsyncGenerator[WatchEvent, None]:
        """Yield progress once a second, the first at once, and last exactly one result."""
        async for found in self._book.follow(recovery, _RECOVERY_PROGRESS_S):
            yield RecoveryProgress(view=self._views.of(found))
        yield result_of(self._book.result(recovery))

    async def _set_paused(self, recovery: str, *, is_paused: bool) -> RecoveryView:
        found = running(self._book, recovery)
        await self._journal.set_paused(found.id, is_paused=is_paused)
        found.record = replace(found.record, is_paused=is_paused)
        self._report(RecoveryPaused(found.id) if is_paused else RecoveryResumed(found.id))
        return self.recovery(recovery)


def _terms_of(request: RecoverRequest) -> _Terms:
    """Return which units are asked for.

    Raises:
        UsageError: There are no such ones.
    """
    if request.units and request.min_criticality is not None:
        raise UsageError("--units and --min", "are both given", "Give one of them.")
    if request.is_on_demand and (request.units or request.min_criticality is not None):
        raise UsageError("--on-demand", "is for all units", "Leave --units and --min away.")
    choice = Choice.parse(request.units, request.min_criticality)
    return _Terms(choice, rest_follows=request.min_criticality is not None)


def check_prefix(prefix: str, contents: Sequence[Rival]) -> None:
    """Check that the beginning of a digest means one of some contents, if any are known.

    Raises:
        NotFound: None begins so.
        Conflict: Several do.
    """
    found = {rival.digest for rival in contents if rival.digest.startswith(prefix)}
    some = ", ".join(sorted(shortened(rival.digest) for rival in contents)[:5])
    if contents and not found:
        raise NotFound(f"content {shortened(prefix)}", f"is not known; there are {some}")
    if len(found) > 1:
        raise Conflict(f"content {prefix}", f"may be any of {len(found)}", "Give more digits.")


def running(book: RecoveryBook, recovery: str) -> OpenRecovery:
    """Return a recovery that has not ended.

    Raises:
        NotFound: It has, or it is not known.
    """
    found = book.get(recovery)
    if found is None:
        how = book.result(recovery).result
        raise NotFound(f"recovery {recovery}", f"has ended already: {how.value}")
    return found


def _check_allows(record: JournaledRecovery, request: RecoverRequest) -> None:
    """Check that a recovery under way may do what somebody who joins it wants it to do.

    Raises:
        Conflict: It may not.
    """
    lacking = [
        option
        for option, is_wanted, is_given in (
            ("--overwrite", request.overwrite, record.is_overwriting),
            ("--allow-partial", request.allow_partial, record.allow_partial),
        )
        if is_wanted and not is_given
    ]
    if lacking:
        raise Conflict(
            f"recovery {record.recovery}",
            f"is under way without {' and '.join(lacking)}",
            f"Give it up first: ckptctl cancel {record.recovery}",
        )
