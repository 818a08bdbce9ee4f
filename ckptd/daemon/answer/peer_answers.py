"""Answers what versions there are, here and at peers, and what is known of peers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ckptd.config import Address
from ckptd.control.messages.checkpoints import CheckpointRow, PlaceRow
from ckptd.control.messages.peers import BadBlockRow, PathRow, PeerRow, PeerView
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.core.report.views import PeerSnapshot
from ckptd.daemon.answer.chain_views import ChainViews
from ckptd.daemon.answer.minimal_sets import MinimalSets
from ckptd.daemon.audit.proofs import Proofs
from ckptd.daemon.keep.place_moments import PlaceMoments
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import NotFound
from ckptd.limits import EPOCH_BITS, NODE_ID_BYTES_MAX, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, PathId, Version
from ckptd.model.shards import split_shard
from ckptd.model.words import Location, PeerState, PlaceState, SourceState
from ckptd.store.files.roots import Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.places import HeldVersion, Place

_PEERS_NAMED_MAX: Final = 20
"""How many peers an error names."""


class PeerAnswers:
    """Answers the rows of :class:`ckptd.control.routes.Api` about versions and peers.

    Args:
        parts: What the daemon is made of.
        recovering: Follows peers.
        moments: Knows when places were recorded and checked.
        minimal_sets: Knows what is needed first of what is here.
        proofs: Knows which claims of peers are proven.
    """

    def __init__(
        self,
        parts: Parts,
        recovering: Recovering,
        moments: PlaceMoments,
        minimal_sets: MinimalSets,
        proofs: Proofs,
    ) -> None:
        self._minimal_sets = minimal_sets
        self._proofs = proofs
        self._moments = moments
        self._node = parts.config.node.id
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._wall_clock = parts.wall_clock
        self._catalog = parts.storage.catalog
        self._peering = recovering.peering
        self._placed = recovering.placed
        self._roots = parts.storage.roots

    def checkpoints(self) -> list[CheckpointRow]:
        """Return what this node and its peers hold, by name, newest version first."""
        places = _Places(self._roots, self._catalog, self._moments)
        rows = _checkpoint_rows(self._node, self._catalog, self._peering, places)
        rows = list(_with_placing(rows, self._placed()))
        chains = ChainViews(self._catalog)
        first = self._minimal_sets.of_each(Digest(row.digest) for row in rows)
        return [
            replace(
                row,
                minimal_set=first.get(Digest(row.digest)),
                critical_bytes=self._minimal_sets.critical_bytes(Digest(row.digest)),
                proven_at_s=self._proven_at_s(row),
                chain=chains.held(CheckpointName(row.checkpoint), Digest(row.digest)),
            )
            for row in rows
        ]

    def _proven_at_s(self, row: CheckpointRow) -> dict[str, float]:
        digest = Digest(row.digest)
        moments = ((node, self._proofs.proven_at_s(NodeId(node), digest)) for node in row.nodes)
        return {node: at_s for node, at_s in moments if at_s is not None}

    def peers(self) -> list[PeerRow]:
        """Return the known peers, by address."""
        now = self._now()
        troubles = {source.path: source.trouble for source in self._scheduler.sources(now=now)}
        rates = self._scheduler.learned_rates(now=now)
        return _peer_rows(self._peering, rates, troubles, now=now)

    def peer(self, node: str) -> PeerView:
        """Return one peer.

        Raises:
            NotFound: It is not known; the error names those that are.
        """
        paths = self._scheduler.paths_to(NodeId(node))
        known_paths = (self._scheduler.peer(path, now=self._now()) for path in paths)
        snapshots = [snapshot for snapshot in known_paths if snapshot is not None]
        if not snapshots:
            known = sorted({source.node for source in self._scheduler.sources(now=self._now())})
            more = (
                f" and {len(known) - _PEERS_NAMED_MAX} more"
                if len(known) > _PEERS_NAMED_MAX
                else ""
            )
            raise NotFound(
                f"peer {node[:NODE_ID_BYTES_MAX]!r}",
                "is not known",
                f"Known: {', '.join(known[:_PEERS_NAMED_MAX])}{more}." if known else "None is yet.",
            )
        rows = [self._path_row(snapshot) for snapshot in snapshots]
        best, row = max(zip(snapshots, rows, strict=True), key=_usefulness)
        view = _peer_view(best, row, now=self._now(), now_s=self._wall_clock())
        return replace(view, paths=tuple(sorted(rows, key=lambda each: each.path)))

    def _path_row(self, snapshot: PeerSnapshot) -> PathRow:
        source, rate, latency_ns = snapshot.source, snapshot.learned, snapshot.latency_ns
        if latency_ns is None and rate is not None:
            latency_ns = rate.latency_ns
        end = self._peering.end_of(source.path)
        return PathRow(
            path=source.path,
            address=None if end is None else str(Address(*end.address)),
            state=source.state,
            rate_bytes_per_s=None if rate is None else int(rate.bytes_per_s),
            latency_s=None if latency_ns is None else latency_ns / SECOND,
        )


class _Places:
    """Shows places as they are at one moment."""

    def __init__(self, roots: Roots, catalog: Catalog, moments: PlaceMoments) -> None:
        self._roots = roots
        self._active = catalog.active
        self._moments = moments
        self._known = moments.look(place for held in catalog.versions() for place in held.places)

    def path(self, place: Place) -> str:
        """Return the absolute path of a place."""
        return self._roots.absolute(place.root, place.directory)

    def row(self, place: Place) -> PlaceRow:
        """Return a place."""
        moment = self._known[place.number]
        active = self._active.at(place.root, place.directory)
        return PlaceRow(
            root=place.root,
            directory=self.path(place),
            state=place.state,
            reason=place.reason,
            units=place.unit_count - len(place.absent),
            suspect_units=len(place.suspect),
            changed_units=len(place.changed),
            wrong_names=len(place.wrong_names),
            is_published=place.is_published,
            is_copy=place.is_copy,
            added_at_s=place.added_at_s,
            checked_at_s=place.checked_at_s,
            age_s=self._age_s(moment.added_s),
            checked_age_s=self._age_s(moment.checked_s),
            active_link="" if active is None else self._roots.absolute(active.root, active.link),
        )

    def _age_s(self, moment_s: float | None) -> float | None:
        age_s = self._moments.age_s(moment_s)
        return None if age_s is None else round(age_s, 3)


def _checkpoint_rows(
    node: NodeId, catalog: Catalog, peering: Peering, places: _Places
) -> list[CheckpointRow]:
    offers: dict[tuple[CheckpointName, Version, Digest], list[tuple[NodeId, Holding]]] = (
        defaultdict(list)
    )
    here: dict[Digest, HeldVersion] = {}
    for held in catalog.versions():
        here[held.holding.digest] = held
        offers[_key(held.holding)] += [(node, held.holding)] if held.is_offered else []
    for peer, said in peering.said().items():
        for holding in said.holdings:
            offers[_key(holding)].append((peer, holding))
    return [
        _checkpoint_row(key, offers[key], here.get(key[2]), node, places)
        for key in sorted(offers, key=lambda key: (key[0], -key[1], key[2]))
    ]


def _with_placing(
    rows: Iterable[CheckpointRow], placed: Mapping[CheckpointName, Mapping[NodeId, Version]]
) -> Iterator[CheckpointRow]:
    """Say of shards which nodes placed that version of the job last."""
    nodes: dict[tuple[CheckpointName, int], list[NodeId]] = defaultdict(list)
    for job, by_node in placed.items():
        for node, version in sorted(by_node.items()):
            nodes[job, version].append(node)
    versions = {version for _, version in nodes}
    for row in rows:
        if row.version in versions:  # else its name need not be read
            split = split_shard(CheckpointName(row.checkpoint))
            placed_by = () if split is None else tuple(nodes.get((split[0], row.version), ()))
            yield replace(row, placed_by=placed_by)
        else:
            yield row


def _key(holding: Holding) -> tuple[CheckpointName, Version, Digest]:
    return (holding.checkpoint, holding.version, holding.digest)


def _checkpoint_row(
    key: tuple[CheckpointName, Version, Digest],
    offers: Sequence[tuple[NodeId, Holding]],
    held: HeldVersion | None,
    node: NodeId,
    places: _Places,
) -> CheckpointRow:
    whole = sorted(owner for owner, holding in offers if holding.is_whole)
    facts = held.holding if held else offers[0][1]
    return CheckpointRow(
        checkpoint=key[0],
        version=key[1],
        digest=key[2],
        size_bytes=facts.size_bytes,
        held=Location.HERE if node in whole else Location.PEERS,
        is_complete=bool(whole) or _is_covered(offers, facts.block_count),
        is_stale=held is not None and held.main.state is PlaceState.STALE,
        nodes=tuple(whole),
        directory=places.path(held.main) if held else None,
        units=(held.main.unit_count or None) if held else None,
        places=tuple(map(places.row, held.places)) if held else (),
        links=held.main.links if held else None,
        empty_directories=held.main.empty_directories if held else None,
    )


def _is_covered(offers: Sequence[tuple[NodeId, Holding]], block_count: int) -> bool:
    """Return whether all together have every block of required units; nobody has them alone."""
    reachable = BlockSet()  # or optional
    for _, holding in offers:
        reachable |= holding.blocks | holding.optional
    return len(reachable) == block_count


def _peer_rows(
    peering: Peering,
    rates: Mapping[PathId, LearnedRate],
    troubles: Mapping[PathId, str],
    *,
    now: int,
) -> list[PeerRow]:
    rows = []
    for peer in peering.peers():
        holdings = peer.holdings
        paths = [each.path for each in peer.addresses if each.path is not None]
        rate = rates.get(paths[0]) if paths else None
        rows.append(
            PeerRow(
                node=peer.node,
                address=peer.name,
                state=PeerState.UNREACHABLE if peer.state is PeerState.UNKNOWN else peer.state,
                epoch=_shown(holdings.epoch) if holdings else None,
                versions=len(holdings.holdings) if holdings else 0,
                rate_bytes_per_s=0 if rate is None else int(rate.bytes_per_s),
                last_error=peer.last_error,
                silent=peer.silent,
                rate_age_s=None if rate is None else round(rate.age_ns(now=now) / SECOND, 3),
                rate_from=None if rate is None else rate.origin,
                trouble=next(filter(None, (troubles.get(path) for path in paths)), ""),
            )
        )
    return rows


def _shown(epoch: int) -> int:
    """Return an epoch as JSON has it: that of a peer may be too long for readers of JSON."""
    return epoch & ((1 << EPOCH_BITS) - 1)


def _usefulness(path: tuple[PeerSnapshot, PathRow]) -> tuple[bool, float, bool]:
    """Rank paths to one peer: a live one first, then the fastest, then the first one."""
    source, row = path[0].source, path[1]
    is_live = source.state is not SourceState.LOST
    return is_live, row.rate_bytes_per_s or 0, source.path == source.node


def _peer_view(snapshot: PeerSnapshot, path: PathRow, *, now: int, now_s: float) -> PeerView:
    """Return everything that is known of a peer but the other paths to it.

    Args:
        snapshot: What the scheduler knows of it on one path …
        path: … and what is shown of that.
        now: The moment on the scheduler's clock …
        now_s: … and in Unix time.
    """
    source, until_ns = snapshot.source, snapshot.quarantined_until_ns
    rate = snapshot.learned

    def unix_s(at_ns: int) -> float:
        return round((at_ns - now) / SECOND + now_s, 3)

    return PeerView(
        node=source.node,
        address=path.address,
        state=source.state,
        epoch=_shown(source.epoch),
        versions=len(snapshot.holdings),
        versions_complete=sum(holding.is_whole for holding in snapshot.holdings),
        rate_bytes_per_s=path.rate_bytes_per_s,
        latency_s=path.latency_s,
        rate_age_s=None if rate is None else round(rate.age_ns(now=now) / SECOND, 3),
        rate_from=None if rate is None else rate.origin,
        trouble=source.trouble,
        trust=source.trust,
        failures=snapshot.failures,
        quarantines=snapshot.quarantines,
        quarantined_until_s=None if until_ns is None else unix_s(until_ns),
        bad_blocks=snapshot.bad_block_count,
        evidence=tuple(
            BadBlockRow(
                at_s=unix_s(bad.at_ns),
                checkpoint=bad.checkpoint,
                version=bad.version,
                unit=bad.unit,
                block=bad.block,
                recovery=bad.recovery,
                answer=bad.answer,
            )
            for bad in reversed(snapshot.bad_blocks)
        ),
    )
