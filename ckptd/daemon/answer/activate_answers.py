"""Lets links lead to versions that somebody names, and takes them away."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ckptd.control.messages.current_links import Activated, ActivateRequest, LinkRow
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.activating import Activating
from ckptd.daemon.recover.activations import Activation
from ckptd.daemon.retain.named_places import NamedPlace, NamedPlaces
from ckptd.errors import NotFound, UsageError
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Version, parse_checkpoint_name, parse_version
from ckptd.model.words import PlaceState
from ckptd.store.records.active_records import ActiveVersion


class ActivateAnswers:
    """Answers the row of :class:`ckptd.control.routes.Api` about active versions.

    Args:
        storage: Where versions are.
        standings: Finds them.
        activating: Swaps links.
    """

    def __init__(self, storage: Storage, standings: NamedPlaces, activating: Activating) -> None:
        self._records = storage.catalog.active
        self._roots = storage.roots
        self._standings = standings
        self._activating = activating

    async def activate(self, request: ActivateRequest) -> Activated:
        """Let the link of a checkpoint lead to a version, or take it away.

        Raises:
            UsageError: What is meant is not clear.
            NotFound: No such version stands here, or no link is to be taken away.
            Conflict: It is not right by what is known of it, a recovery is on its way there, or
                something else has the name of the link. Nothing was changed.
            StorageError: The disk refused.
        """
        checkpoint = parse_checkpoint_name(request.checkpoint)
        if request.takes_away:
            return await self._take_away(checkpoint, request)
        if request.version is None:
            raise UsageError(
                f"activate {checkpoint}",
                "needs a version",
                f"Say which: {checkpoint}@VERSION; or take the link away: --none {checkpoint}",
            )
        version = parse_version(request.version)
        chosen = self._standings.chosen(checkpoint, version, request.place)
        self._standings.check_one_content(chosen)
        wanted = self._wanted(checkpoint, version, chosen)
        done = await self._activating.activate(wanted, allow_partial=request.allow_partial)
        row = self._row(done.row, done.before)
        return Activated(
            links=(
                msgspec.structs.replace(
                    row, is_new=done.is_new, swap_s=round(done.swap_ns / SECOND, 6)
                ),
            )
        )

    def _wanted(
        self, checkpoint: CheckpointName, version: Version, chosen: Sequence[NamedPlace]
    ) -> Activation:
        """Return the one directory that is meant.

        Raises:
            UsageError: It may be several.
        """
        directories: dict[tuple[str, str], list[NamedPlace]] = {}
        for standing in chosen:
            place = standing.place
            directories.setdefault((place.root, place.directory), []).append(standing)
        found = set(directories)
        right = {
            each
            for each, standings in directories.items()
            if all(standing.place.state is PlaceState.HERE for standing in standings)
        }
        linked = {row.root for row in self._records.of(checkpoint)}
        for_readers = {
            each
            for each, standings in directories.items()
            if not any(standing.place.is_copy for standing in standings)
        }
        for better in (for_readers, right, {each for each in directories if each[0] in linked}):
            found = found & better or found
        if len(found) > 1:
            paths = ", ".join(sorted(self._roots.absolute(*each) for each in found))
            raise UsageError(
                f"{checkpoint}@{version}",
                f"stands in several directories: {paths}",
                "Say which with --place; of a job, name one shard.",
            )
        return Activation(checkpoint, version, *found.pop())

    async def _take_away(self, checkpoint: CheckpointName, request: ActivateRequest) -> Activated:
        if request.version is not None or request.place is not None or request.allow_partial:
            raise UsageError(
                f"activate --none {checkpoint}", "is for the link alone", "Name the checkpoint."
            )
        rows = self._records.of(checkpoint)
        if not rows:
            raise NotFound(
                f"checkpoint {checkpoint}",
                "has no active version on this node",
                "'ckptctl checkpoints' shows which have.",
            )
        links = []
        for row in rows:
            done = await self._activating.deactivate(row)
            away = done.row._replace(directory=None, version=None, digest=None)
            shown = self._row(away, done.row)
            links.append(msgspec.structs.replace(shown, is_new=not done.left, left=done.left))
        return Activated(links=tuple(links))

    def _row(self, row: ActiveVersion, before: ActiveVersion | None) -> LinkRow:
        return LinkRow(
            checkpoint=row.checkpoint,
            link=self._roots.absolute(row.root, row.link),
            version=row.version,
            digest=row.digest,
            directory=(
                None if row.directory is None else self._roots.absolute(row.root, row.directory)
            ),
            version_before=None if before is None else before.version,
            is_new=True,
        )
