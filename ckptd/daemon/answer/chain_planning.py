"""Finds the chain of a delta version, here and at peers, and the ways to its full version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ckptd.chains.chain_links import copy_name, link_of, made_of
from ckptd.chains.delta_index import DELTA_INDEX
from ckptd.chains.ways import PlannedWay, Rates, Start, Step, Way, ways_to
from ckptd.daemon.answer.found_manifests import FoundManifests
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import Conflict, Missing, UsageError
from ckptd.model.ids import CheckpointName, Digest, Version, shortened

_CHAIN_MAX: Final = 1024
"""Versions of a chain. What applies it has memory for each delta."""
_SETTLE_S: Final = 10.0
"""So long peers are waited for that were not heard yet, if something is not here."""
_LOOK_S: Final = 8.0
"""So long manifests of all of a chain may take, of which none that is here takes any time. Looked
at twice, with the wait between, it is less than the 30 s of silence after which a client goes."""
_KNOWN_MAX: Final = 4096
"""Manifests of which the annotations are remembered."""


class Content(NamedTuple):
    """A content of a version, here or at peers.

    Attributes:
        checkpoint: Of which checkpoint.
        version: Which version.
        digest: Its identity.
        size_bytes: Its length.
        is_here: All of it stands on this node.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    size_bytes: int
    is_here: bool

    @property
    def name(self) -> str:
        """The version as a person writes it."""
        return f"{self.checkpoint}@{self.version}"


@dataclass(frozen=True, slots=True)
class ChosenWay:
    """A way to a full version, with the contents that it leads through.

    Attributes:
        planned: What it costs.
        start: The full version where it begins.
        deltas: What is applied to it, in turn.
    """

    planned: PlannedWay
    start: Content
    deltas: tuple[Content, ...]

    @property
    def contents(self) -> tuple[Content, ...]:
        """The start, and each delta in turn."""
        return (self.start, *self.deltas)

    @property
    def missing(self) -> tuple[Content, ...]:
        """Those that have to be fetched."""
        return tuple(each for each in self.contents if not each.is_here)

    @property
    def is_fetched_as_it_is(self) -> bool:
        """A peer has the full version itself."""
        return not self.deltas and not self.start.is_here


class ChainPlan(NamedTuple):
    """What a delta version stands on, and the ways to its full version.

    Attributes:
        wanted: The delta version.
        ways: The fastest first; at least one.
    """

    wanted: Content
    ways: tuple[ChosenWay, ...]


class ChainPlans:
    """Plans how delta versions become full ones. Belongs to the event loop.

    Attributes:
        rates: How fast this node was, as far as it is known.

    Args:
        storage: Where versions are.
        recovering: Knows what peers have.
    """

    def __init__(self, storage: Storage, recovering: Recovering) -> None:
        self.rates = Rates()
        self._catalog = storage.catalog
        self._recovering = recovering
        self._found = FoundManifests(recovering.manifests, storage.catalog)
        self._known: dict[Digest, Mapping[str, str]] = {}

    async def plan(self, checkpoint: CheckpointName, version: Version, prefix: str) -> ChainPlan:
        """Find the chain of a delta version.

        Args:
            checkpoint: Of which checkpoint.
            version: Which version.
            prefix: The beginning of its digest; empty: there is only one of that number.

        Raises:
            Missing: Nobody has it, or something that it stands on.
            Conflict: Several contents may be meant.
            UsageError: It is a full version.
        """
        await self._catalog.see_family(checkpoint)
        with suppress(Missing):
            plan = await self._look(checkpoint, version, prefix)
            if not plan.ways[0].missing or self._recovering.scheduler.is_settled:
                return plan
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                scheduler = self._recovering.scheduler
                await self._recovering.runtime.wait_until(lambda: scheduler.is_settled)
        return await self._look(checkpoint, version, prefix)

    async def _look(self, checkpoint: CheckpointName, version: Version, prefix: str) -> ChainPlan:
        """Plan by what is known at this moment."""
        try:
            async with asyncio.timeout(_LOOK_S):
                return await self._plan(checkpoint, version, prefix)
        except TimeoutError as error:
            raise Missing(
                f"{checkpoint}@{version}",
                f"stands on versions whose manifests did not come within {_LOOK_S:.0f}s",
                "Try again: those that came are known now.",
            ) from error

    async def _plan(self, checkpoint: CheckpointName, version: Version, prefix: str) -> ChainPlan:
        contents = self._contents(checkpoint)
        copies = self._contents(copy_name(checkpoint))
        wanted = _named(contents.get(version, ()), f"{checkpoint}@{version}", prefix)
        line: dict[Version, Content] = {}
        bases: dict[Version, Version] = {}
        starts: dict[Start, Content] = {}
        lacking = ""
        at: Content | None = wanted
        while at is not None and len(line) < _CHAIN_MAX:
            annotations = await self._annotations(at)
            link = None if annotations is None else link_of(annotations, at.version)
            if annotations is None:
                lacking = f"nobody delivers the manifest of {at.name}"
                break
            if link is None:
                if at is wanted:
                    self._refuse_full(at)
                way = Way.CHAIN if at.is_here else Way.FULL
                starts[_start(way, at)] = at
                break
            line[at.version], bases[at.version] = at, link.base
            copy = await self._copy_of(at, copies.get(at.version, ()))
            if copy is not None:
                starts[_start(Way.CHAIN if copy.is_here else Way.COPY, copy)] = copy
            found = [
                each
                for each in contents.get(link.base, ())
                if link.base_digest in {None, each.digest}
            ]
            at = found[0] if len(found) == 1 else None
            if at is None:
                which = f"{checkpoint}@{link.base}"
                lacking = (
                    f"of {which}, on which it stands, there are several contents"
                    if found
                    else f"stands on {which}, which neither this node nor a peer has in full"
                )
        ways = self._ways(wanted, line, bases, starts)
        if not ways:
            hint = "Publish what is missing, or a full version." if lacking else ""
            raise Missing(wanted.name, lacking or "stands on too many versions", hint)
        return ChainPlan(wanted, ways)

    async def is_copy_of(
        self, content: Content, checkpoint: CheckpointName, version: Version, digest: Digest
    ) -> bool:
        """Return whether a content is the copy of a delta version.

        Args:
            content: That may be it.
            checkpoint: Of which checkpoint the delta version is.
            version: Which version.
            digest: Its identity.
        """
        if (content.checkpoint, content.version) != (copy_name(checkpoint), version):
            return False
        annotations = await self._annotations(content)
        return annotations is not None and made_of(annotations) == digest

    def note_fetched(self, size_bytes: int, versions: int, took_s: float) -> None:
        """Learn from how long it took to fetch some versions."""
        self.rates = self.rates.with_fetched(size_bytes, versions, took_s)

    def note_made(self, size_bytes: int, apply_bytes: int, deltas: int, took_s: float) -> None:
        """Learn from how long it took to make a full version.

        Args:
            size_bytes: Its length.
            apply_bytes: Bytes of tensors to which differences were applied.
            deltas: How many.
            took_s: How long it took: what is predicted of it is shorter or longer alike.
        """
        making_s = size_bytes / self.rates.make_bytes_per_s
        applying_s = self.rates.apply_s(apply_bytes, deltas)
        share = took_s / max(making_s + applying_s, 1e-9)
        self.rates = self.rates.with_made(size_bytes, making_s * share).with_applied(
            apply_bytes, deltas, applying_s * share
        )

    def _ways(
        self,
        wanted: Content,
        line: Mapping[Version, Content],
        bases: Mapping[Version, Version],
        starts: Mapping[Start, Content],
    ) -> tuple[ChosenWay, ...]:
        full_bytes = max((start.size_bytes for start in starts), default=0)
        steps = [
            Step(version, bases[version], full_bytes, 0 if each.is_here else each.size_bytes)
            for version, each in line.items()
        ]
        return tuple(
            ChosenWay(
                planned,
                starts[planned.start],
                tuple(line[step.version] for step in planned.steps),
            )
            for planned in ways_to(wanted.version, starts, steps, self._rates())
        )

    def _rates(self) -> Rates:
        """Return the rates; peers that nothing was fetched of yet are as fast as they ever were."""
        learned = self._recovering.scheduler.learned_rates(now=self._recovering.runtime.now())
        total = sum(each.bytes_per_s for each in learned.values())
        if total and self.rates.fetch_bytes_per_s == Rates().fetch_bytes_per_s:
            return replace(self.rates, fetch_bytes_per_s=total)
        return self.rates

    def _contents(self, checkpoint: CheckpointName) -> dict[Version, list[Content]]:
        """Return what stands here of a checkpoint, and what peers have, by version."""
        found: dict[Digest, Content] = {}
        now = self._recovering.runtime.now()
        for _, said in self._recovering.scheduler.said(now=now):
            for each in said:
                if each.checkpoint == checkpoint and each.is_whole:
                    found[each.digest] = Content(
                        checkpoint, each.version, each.digest, each.size_bytes, is_here=False
                    )
        for held in self._catalog.versions():
            holding = held.holding
            if holding.checkpoint == checkpoint and any(
                place.is_whole and not place.is_withdrawn for place in held.places
            ):
                found[holding.digest] = Content(
                    checkpoint, holding.version, holding.digest, holding.size_bytes, is_here=True
                )
        by_version: dict[Version, list[Content]] = {}
        for content in found.values():
            by_version.setdefault(content.version, []).append(content)
        return by_version

    async def _copy_of(self, delta: Content, copies: Sequence[Content]) -> Content | None:
        """Return the copy that was made of a delta version; none if several say so of themselves.

        Everybody who makes one makes the same: at least one of those would not be it.
        """
        found = [
            copy
            for copy in copies
            if (said := await self._annotations(copy)) is not None and made_of(said) == delta.digest
        ]
        return found[0] if len(found) == 1 else None

    async def _annotations(self, content: Content) -> Mapping[str, str] | None:
        """Return what the manifest of a content says beside its units; ``None``: none comes."""
        if content.digest not in self._known:
            now = self._recovering.runtime.now()
            holders = self._recovering.scheduler.holders(content.digest, now=now)
            expected = (content.checkpoint, content.version, content.digest)
            space, _ = await self._found.find(expected, holders)
            if space is None:
                return None
            self._known[content.digest] = space.manifest.annotations
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return self._known[content.digest]

    def _refuse_full(self, content: Content) -> None:
        """Say why there is nothing to apply.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            content.name,
            "is a full version by its manifest: nothing has to be applied",
            f"Use it as it is. If its {DELTA_INDEX} says otherwise, publish it again.",
        )


def _start(way: Way, content: Content) -> Start:
    return Start(
        way, content.version, content.size_bytes, 0 if content.is_here else content.size_bytes
    )


def _named(contents: Sequence[Content], name: str, prefix: str) -> Content:
    """Return the content that is meant.

    Raises:
        Missing: Nobody has it.
        Conflict: Several are meant.
    """
    found = [each for each in contents if each.digest.startswith(prefix)]
    if not found:
        which = f"{name} with digest {prefix}" if prefix else name
        raise Missing(which, "neither this node nor a peer has all of it")
    if len(found) > 1:
        some = ", ".join(sorted(shortened(each.digest) for each in found))
        raise Conflict(name, f"has several contents: {some}", "Say which with --digest.")
    return found[0]
