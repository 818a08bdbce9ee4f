"""Reads what a recovery is asked for: of what, which content, which units, to where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.core.report.rivals import Rival
from ckptd.daemon.answer.job_shards import JobShards
from ckptd.daemon.copying.wanted import CopyWanted
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recoveries import OpenRecovery, new_recovery_id, overlap
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, Missing, NotFound, UsageError
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
from ckptd.model.policy.configured import place_mode_for
from ckptd.model.unit_choice import Choice, format_choice
from ckptd.model.words import PlaceMode, Stage
from ckptd.store.files.layout import usual_target
from ckptd.store.files.roots import Root
from ckptd.store.records.journal import JournaledRecovery


class Selection(NamedTuple):
    """Which of several contents is asked for: see :class:`RecoverRequest`."""

    digest_prefix: str
    from_node: NodeId | None


class Terms(NamedTuple):
    """Which units are asked for, and whether the others come later."""

    choice: Choice | None
    rest_follows: bool


class AskedRecovery(NamedTuple):
    """What one request asks for.

    Attributes:
        request: As it came.
        checkpoint: Of which checkpoint.
        version: Which version; ``None``: the newest that can be had.
        selection: Which content.
        shards: Which shards of a job, as the journal keeps it; empty: it is no job.
        root: Where it will stand.
        target: Directory relative to the root; empty until the version is known.
        named: The same if somebody named it; else empty.
        terms: Which units.
    """

    request: RecoverRequest
    checkpoint: CheckpointName
    version: Version | None
    selection: Selection
    shards: str
    root: Root
    target: str
    named: str
    terms: Terms


class RecoverRequests:
    """Reads requests, and finds recoveries under way that are for the same.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
    """

    def __init__(self, parts: Parts, recovering: Recovering) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._book = recovering.book
        self._own = recovering.own
        self._activating = recovering.activating
        self._wall_clock = parts.wall_clock
        self._catalog = parts.storage.catalog
        self._roots = parts.storage.roots
        self._policies = parts.config.policy
        self._place = parts.config.recovery.place
        self._shards = JobShards(parts.storage.catalog, recovering)

    async def read(self, request: RecoverRequest, terms: Terms) -> AskedRecovery:
        """Return what a request asks for; nothing stands in its way that is ending.

        Raises:
            Conflict: Something has the name of the link that is to lead there.
        """
        checkpoint = parse_checkpoint_name(request.checkpoint)
        version = None if request.version is None else parse_version(request.version)
        selection = self._selection_of(request, checkpoint, version)
        shards = await self._shards.wanted(checkpoint, request.shards)
        root, target = self._roots.default(), ""
        named = ""  # what somebody named; where else it comes to is settled with the version
        if request.to is not None:
            root, target = self._roots.locate(request.to)
            named = target
        elif version is not None:
            root, target = self._own.target_of(checkpoint, version)
        if request.place:
            parse_place(request.place)
        if request.activate:
            await self._activating.check_free(root, checkpoint, target)
        await self._book.settle(checkpoint)
        await self._let_end(root, target)
        return AskedRecovery(
            request, checkpoint, version, selection, shards, root, target, named, terms
        )

    def read_copy(self, wanted: CopyWanted) -> AskedRecovery:
        """Return what is to be recovered as a copy: into the root for copies, to the usual place.

        Raises:
            NotFound: There is no such root.
        """
        target = usual_target(wanted.checkpoint, wanted.version)
        request = RecoverRequest(
            checkpoint=wanted.checkpoint,
            version=wanted.version,
            patience_s=wanted.patience_s,
            is_background=True,
            digest=wanted.digest,
            place=PlaceMode.ATOMIC.value,
        )
        return AskedRecovery(
            request,
            wanted.checkpoint,
            wanted.version,
            Selection(wanted.digest, None),
            "",
            self._roots[self._roots.for_copies],
            target,
            target,
            Terms(wanted.choice, rest_follows=False),
        )

    def record_of(self, asked: AskedRecovery) -> JournaledRecovery:
        """Return what the journal gets of a new recovery."""
        request, terms = asked.request, asked.terms
        return JournaledRecovery(
            recovery=new_recovery_id(),
            checkpoint=asked.checkpoint,
            version=asked.version,
            digest=None,
            root=asked.root.name,
            target=asked.named,
            patience_ns=None if request.patience_s is None else int(request.patience_s * SECOND),
            is_paused=False,
            started_at_s=self._wall_clock(),
            is_background=request.is_background,
            digest_prefix=asked.selection.digest_prefix,
            from_node=asked.selection.from_node,
            is_named=asked.version is not None,
            is_overwriting=request.overwrite,
            allow_partial=request.allow_partial,
            is_name_awaited=request.is_name_awaited,
            shards=asked.shards,
            choice=format_choice(terms.choice),
            rest_follows=terms.rest_follows,
            is_on_demand=request.is_on_demand,
            place=self._place_of(asked),
            is_activating=request.activate,
        )

    def _place_of(self, asked: AskedRecovery) -> PlaceMode:
        """Return how a recovery becomes visible: as asked, as a policy says, or as usual."""
        if asked.request.place:
            return parse_place(asked.request.place)
        return place_mode_for(self._policies, asked.checkpoint) or self._place

    def find_same(self, asked: AskedRecovery) -> OpenRecovery | None:
        """Return a recovery under way for what is asked for now, on its way to the same target.

        Raises:
            Conflict: It may not do what is wanted of it now.
        """
        for other in self._book:
            is_there = other.target == asked.target if asked.target else not other.record.target
            is_alike = other.root is asked.root and other.record.shards == asked.shards
            if is_there and is_alike and self._is_same(other, asked):
                if not self._is_of(other, asked.selection):
                    return None
                _check_allows(other.record, asked.request)
                return other
        return None

    def _is_same(self, other: OpenRecovery, asked: AskedRecovery) -> bool:
        """Return whether a recovery that is under way is for what is asked for now."""
        if other.record.checkpoint != asked.checkpoint:
            return False
        snapshot = self._scheduler.recovery(other.id, now=self._now())
        chosen = None if snapshot is None else snapshot.version
        if asked.version is not None:
            return asked.version in {other.record.version, chosen}
        if other.record.version is not None:
            return False
        if other.record.shards:
            return True
        newest = self._scheduler.explain_choice(
            asked.checkpoint,
            None,
            self._catalog.newest_ever(asked.checkpoint),
            unchosen=(
                None if asked.terms.choice is None else self._scheduler.seen_unchosen(other.id)
            ),
        ).chosen
        return chosen is None or (newest is not None and newest[0] == chosen)

    def _selection_of(
        self, request: RecoverRequest, checkpoint: CheckpointName, version: Version | None
    ) -> Selection:
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
        return Selection(prefix, node)

    def _is_of(self, other: OpenRecovery, wanted: Selection) -> bool:
        """Return whether a recovery under way is for a content that is asked for now."""
        if wanted == Selection(other.record.digest_prefix, other.record.from_node):
            return True
        view = self._scheduler.recovery(other.id, now=self._now())
        digest = "" if view is None or view.digest is None else view.digest
        is_begun = bool(wanted.digest_prefix) and digest.startswith(wanted.digest_prefix)
        return wanted == Selection("", None) or (is_begun and wanted.from_node is None)

    async def _let_end(self, root: Root, target: str) -> None:
        """Wait for a recovery on its way to a target that was given up and is being removed."""
        other = self._book.overlapping(root, target)
        if other is not None:
            view = self._scheduler.recovery(other.id, now=self._now())
            if view is not None and view.stage is Stage.DISCARDING:
                await other.ended.wait()


def terms_of(request: RecoverRequest) -> Terms:
    """Return which units are asked for.

    Raises:
        UsageError: There are no such ones.
    """
    if request.units and request.min_criticality is not None:
        raise UsageError("--units and --min", "are both given", "Give one of them.")
    if request.is_on_demand and (request.units or request.min_criticality is not None):
        raise UsageError("--on-demand", "is for all units", "Leave --units and --min away.")
    choice = Choice.parse(request.units, request.min_criticality)
    return Terms(choice, rest_follows=request.min_criticality is not None)


def parse_place(word: str) -> PlaceMode:
    """Return how a recovery becomes visible.

    Raises:
        UsageError: There is no such way.
    """
    if word not in list(PlaceMode):
        raise UsageError(f"--place {word[:40]!r}", f"is not one of {', '.join(PlaceMode)}")
    return PlaceMode(word)


def check_prefix(prefix: str, contents: Sequence[Rival]) -> None:
    """Check that the beginning of a digest means one of some contents, if any are known.

    Raises:
        NotFound: None begins so.
        Conflict: Several do.
    """
    found = {rival.digest for rival in contents if rival.digest.startswith(prefix)}
    some = ", ".join(sorted(shortened(rival.digest) for rival in contents)[:5])
    if contents and not found:
        raise Missing(f"content {shortened(prefix)}", f"is not known; there are {some}")
    if len(found) > 1:
        raise Conflict(f"content {prefix}", f"may be any of {len(found)}", "Give more digits.")


def check_apart(targets: Sequence[tuple[Root, str]]) -> None:
    """Check that several recoveries can begin beside each other, by where they go.

    Raises:
        Conflict: A directory is another's, or above or below it.
    """
    for at, (root, target) in enumerate(targets):
        for other_root, other in targets[:at]:
            if root is other_root and overlap(target, other):
                raise Conflict(
                    f"target {root.absolute(target)}",
                    f"is not apart from {root.absolute(other)}, where another of them goes",
                    "Recover them one after the other.",
                )


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
            (f"--place {request.place}", bool(request.place), record.place == request.place),
        )
        if is_wanted and not is_given
    ]
    if lacking:
        raise Conflict(
            f"recovery {record.recovery}",
            f"is under way without {' and '.join(lacking)}",
            f"Give it up first: ckptctl cancel {record.recovery}",
        )
