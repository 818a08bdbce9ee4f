"""Sees the fleet: what is known of nodes, names and versions, as one value to decide on.

Everything that peers say is bounded here: only names that this node lists, of each node the newest
few versions of a name, of a version as many contents as anybody could have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from ckptd.config import Config
from ckptd.config.copies import zone_of
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, OwnCopy, Room
from ckptd.copies.ordering import ranked
from ckptd.copies.zones import Zone
from ckptd.daemon.copying.contents import Content, content_to_copy
from ckptd.daemon.copying.fleet_memory import FleetMemory, Keepers
from ckptd.daemon.copying.layouts import NamedContent, VersionLayouts, named
from ckptd.daemon.copying.room import room_bytes
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.settings.own_identity import known_zone
from ckptd.limits import PEERS_MAX
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import PeerState
from ckptd.net.connection.identity import Identity
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion

_NAMES_KNOWN_MAX: Final = 4096


class Proofs(Protocol):
    """Says which claims of peers are proven."""

    def is_proven(self, node: NodeId, digest: Digest, now: int) -> bool:
        """Return whether a node showed within a day that it has what it claims of a version."""


@dataclass(slots=True)
class _Claimed:
    """One content of a version, and who has any of it.

    What this node has of it stands at a place. What came of what it fetches are only bytes yet:
    who is done before it is placed must not be ended as somebody who has it.
    """

    facts: Holding
    by_node: dict[NodeId, Holding] = field(default_factory=dict)
    proven: set[NodeId] = field(default_factory=set)
    is_own: bool = False
    own_bytes: int = 0

    @property
    def named(self) -> NamedContent:
        """Which content it is, of what."""
        return named(self.facts)


class Viewing:
    """Makes views. Belongs to the event loop, and reads nothing from the disk.

    Args:
        config: What this node lists, and who is in which zone.
        catalog: What stands here.
        recovering: What peers say.
        layouts: Which blocks are how urgent.
        proofs: Which claims are proven.
        advertising: What this node says that it has, also of what it fetches.
        identity: Knows the zones of nodes by their certificates; ``None``: there are none.

    Attributes:
        memory: What nodes said last.
        conflicts: Versions of which it is not known which content is meant.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (what is seen, each named)
        self,
        config: Config,
        catalog: Catalog,
        recovering: Recovering,
        layouts: VersionLayouts,
        proofs: Proofs,
        advertising: Advertising,
        identity: Identity | None,
    ) -> None:
        self._config = config
        self._section = config.copies
        self._rule_of = lru_cache(_NAMES_KNOWN_MAX)(config.copies.rule_of)  # compares patterns
        self._own: NodeId = config.node.id
        self._catalog = catalog
        self._recovering = recovering
        self._layouts = layouts
        self._proofs = proofs
        self._advertising = advertising
        self._identity = identity
        self._configured: dict[NodeId, Zone] = {}
        self._since_ns = recovering.runtime.now()
        self.memory = FleetMemory(self._kept_of, self._section.grace_ns)
        self._keepers = self._find_keepers()
        self.conflicts: frozenset[tuple[CheckpointName, Version]] = frozenset()

    def look(self, room: Room, *, now: int) -> FleetView:
        """Return what is known now; the layouts that are missing for more of it are got.

        Args:
            room: What this node has for copies.
            now: The moment, in nanoseconds.
        """
        scheduler = self._recovering.scheduler
        trusted = dict(scheduler.said(now=now))
        self.memory.note(self._recovering.peering.said(), trusted, now=now)
        self._keepers = self._find_keepers()
        claimed = self._claimed(now)
        self._layouts.want(each.named for each in _newest_first(claimed.values()))
        return FleetView(
            own=self._own,
            rule_of=self._rule_of,
            nodes=self._nodes(),
            members={
                name: self._keepers.of(name)
                for name in {each.facts.checkpoint for each in claimed.values()}
            },
            versions=tuple(self._versions(claimed)),
            room=room,
            own_copies=tuple(self.own_copies()),
            grace_ns=self._section.grace_ns,
            pair=self._section.pair,
            all_asked=self._are_all_asked(now),
        )

    def own_copies(self) -> Iterable[OwnCopy]:
        """Yield what stands in the root for copies."""
        for held in self._catalog.versions():
            for place in held.places:
                if place.is_copy:
                    holding = held.holding
                    yield OwnCopy(
                        holding.digest,
                        holding.checkpoint,
                        holding.version,
                        room_bytes(held, place),
                        is_copy=held.is_copy,
                    )

    def saved_bytes(self) -> int:
        """Return how much less room copies take because units are kept compressed."""
        places = (place for held in self._catalog.versions() for place in held.places)
        return sum(place.saved_bytes for place in places if place.is_copy)

    def is_proven(self, node: NodeId, digest: Digest, now: int) -> bool:
        """Return whether a node showed that it has what it claims of a version."""
        return self._proofs.is_proven(node, digest, now)

    def is_near(self, name: CheckpointName) -> bool:
        """Tell whether copies of a name may fall to this node: it is one of the first in its order.

        One more than are asked, for one of them may be in the zone of who saves it.
        """
        rule = self._rule_of(name)
        if rule is None:
            return False
        return self._own in _firsts(name, self._keepers.of(name), rule.counts.critical + 1)

    def zone(self, node: NodeId) -> Zone:
        """Return the zone of a node: by this node's configuration, else by its certificate."""
        configured = self._configured.get(node)
        if configured is None:  # patterns of ids are compared once
            if len(self._configured) >= 2 * PEERS_MAX:
                self._configured.clear()
            configured = self._configured[node] = zone_of(self._config, node) or ()
        if configured or self._identity is None:
            return configured
        return known_zone(self._config, self._identity, node)

    def _kept_of(self, name: CheckpointName) -> int | None:
        rule = self._rule_of(name)
        return None if rule is None else rule.keep

    def _are_all_asked(self, now: int) -> bool:
        """Return whether everybody was heard; who was down at the start has a time of grace."""
        if not self._recovering.scheduler.is_settled:
            return False
        if now - self._since_ns >= self._section.grace_ns:
            return True
        answering = {PeerState.LIVE, PeerState.SELF}
        return all(
            peer.state in answering or peer.node in self.memory.nodes
            for peer in self._recovering.peering.peers()
        )

    def _claimed(self, now: int) -> dict[NamedContent, _Claimed]:
        """Return every content that anybody has something of, with this node's own."""
        found: dict[NamedContent, _Claimed] = {}
        for node, known in self.memory.nodes.items():
            if known.lost_since_ns is None:
                proven = {
                    each.digest
                    for each in known.held
                    if known.is_trusted and self._proofs.is_proven(node, each.digest, now)
                }
                known.proven = frozenset(proven)
            for holding in known.held if known.is_trusted else ():
                claimed = found.setdefault(named(holding), _Claimed(holding))
                claimed.by_node[node] = holding
                if holding.digest in known.proven:
                    claimed.proven.add(node)
        for held in self._own_versions():
            holding = held.holding
            claimed = found.setdefault(named(holding), _Claimed(holding))
            claimed.by_node[self._own] = holding
            claimed.proven.add(self._own)
            claimed.is_own = not held.is_copy
        for holding in self.memory.newest(self._advertising.holdings.holdings):
            claimed = found.setdefault(named(holding), _Claimed(holding))
            claimed.own_bytes = _bytes_of(holding)
        return found

    def _own_versions(self) -> Iterable[HeldVersion]:
        """Yield what this node has of listed names that counts, and all its copies."""
        versions = self._catalog.versions()
        counting = {each.digest for each in self.memory.newest(held.holding for held in versions)}
        for held in versions:
            if held.holding.digest in counting or any(place.is_copy for place in held.places):
                yield held

    def _nodes(self) -> dict[NodeId, FleetNode]:
        found = {
            node: FleetNode(
                node,
                self.zone(node),
                is_live=known.lost_since_ns is None,
                lost_since_ns=known.lost_since_ns,
                is_full=known.is_full,
                is_blamed=not known.is_trusted,
            )
            for node, known in self.memory.nodes.items()
        }
        found[self._own] = FleetNode(self._own, self.zone(self._own))
        return found

    def _find_keepers(self) -> Keepers:
        by_patterns: dict[tuple[str, ...], list[NodeId]] = {}
        for node, known in self.memory.nodes.items():
            if known.keeps:
                by_patterns.setdefault(known.keeps, []).append(node)
        by_patterns.setdefault(self._section.names, []).append(self._own)
        return Keepers(by_patterns)

    def _versions(self, claimed: Mapping[NamedContent, _Claimed]) -> Iterable[FleetVersion]:
        """Yield the versions whose layout is known, each with the content that is meant."""
        contents: dict[tuple[CheckpointName, Version], list[_Claimed]] = {}
        for each in claimed.values():
            contents.setdefault((each.facts.checkpoint, each.facts.version), []).append(each)
        conflicts: set[tuple[CheckpointName, Version]] = set()
        for key, rivals in contents.items():
            meant = content_to_copy(
                [self._content(each) for each in rivals], self._config.recovery.on_conflict
            )
            if meant is None:
                conflicts.add(key)
                continue
            version = self._version(claimed[NamedContent(meant, *key)])
            if version is not None:
                yield version
        self.conflicts = frozenset(conflicts)

    def _content(self, claimed: _Claimed) -> Content:
        digest = claimed.facts.digest
        layout = self._layouts.get(claimed.named)
        return Content(
            digest,
            claimed.is_own,
            is_trusted=layout is not None and layout.is_trusted,
            proven_count=len(claimed.proven),
        )

    def _version(self, claimed: _Claimed) -> FleetVersion | None:
        facts = claimed.facts
        layout = self._layouts.get(claimed.named)
        if layout is None:
            return None
        claims = [
            Claim(
                node,
                layout.least_of(holding.blocks),
                is_proven=node in claimed.proven,
                held_bytes=claimed.own_bytes if node == self._own else _bytes_of(holding),
            )
            for node, holding in sorted(claimed.by_node.items())
        ]
        if claimed.own_bytes and self._own not in claimed.by_node:
            claims.append(Claim(self._own, None, is_proven=True, held_bytes=claimed.own_bytes))
        return FleetVersion(
            facts.checkpoint,
            facts.version,
            facts.digest,
            layout.sizes_bytes,
            tuple(claims),
            layout.base,
        )


@lru_cache(_NAMES_KNOWN_MAX)
def _firsts(name: CheckpointName, members: tuple[NodeId, ...], count: int) -> frozenset[NodeId]:
    return frozenset(ranked(name, members)[:count])


def _newest_first(claimed: Iterable[_Claimed]) -> list[_Claimed]:
    return sorted(
        claimed, key=lambda each: (-len(each.by_node), -each.facts.version, each.facts.digest)
    )


def _bytes_of(holding: Holding) -> int:
    """Return about how many bytes a node has of a version."""
    if holding.is_complete:
        return holding.size_bytes
    return holding.size_bytes * len(holding.blocks) // max(holding.block_count, 1)
