"""Looks at everything that could be in the way of a recovery, and says what to do about it.

A check is an asynchronous generator of findings. Whoever knows one more thing to look at writes
one more and adds it to :meth:`Doctor.checks`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias

from ckptd.config import Address
from ckptd.control.messages.copies import CopiesView
from ckptd.control.messages.observation import CheckRow, Diagnosis, DoctorMessage
from ckptd.core.events import RateLearned
from ckptd.core.peers.addresses import PeerAddress
from ckptd.core.peers.conflicts import Conflicts
from ckptd.core.peers.listing import ListedPeer
from ckptd.core.report.views import RecoverySnapshot
from ckptd.daemon.audit.audits_seen import AuditsSeen
from ckptd.daemon.doctor.active_versions import judge_active
from ckptd.daemon.doctor.asked_copies import look_at_asked_copies
from ckptd.daemon.doctor.audited import look_at_audits
from ckptd.daemon.doctor.capacity import judge_catalog
from ckptd.daemon.doctor.clocks import Clock
from ckptd.daemon.doctor.confinement import look_at_confinement
from ckptd.daemon.doctor.conflicts import look_at_conflicts
from ckptd.daemon.doctor.congestion import look_at_congestion
from ckptd.daemon.doctor.copies import ScarceVersion, look_at_copies
from ckptd.daemon.doctor.disks import remedy_of
from ckptd.daemon.doctor.memory import look_at_memory
from ckptd.daemon.doctor.networks import look_at_networks
from ckptd.daemon.doctor.ownership import look_at_owners
from ckptd.daemon.doctor.phases import judge_held_phases, judge_phases
from ckptd.daemon.doctor.places import judge_places
from ckptd.daemon.doctor.readable import look_at_reading
from ckptd.daemon.doctor.remedies import remedied
from ckptd.daemon.doctor.retained import look_at_retention
from ckptd.daemon.doctor.rows import and_also, failed, passed, warned
from ckptd.daemon.doctor.unmet import look_at_unmet
from ckptd.daemon.doctor.watched import judge_appeared, judge_saves, judge_watching
from ckptd.daemon.doctor.workload import look_at_workload
from ckptd.daemon.host.descriptors import descriptors
from ckptd.daemon.keep.keeping import Keep
from ckptd.daemon.keep.taking_saves import WatchedDirectory
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.recover.sampling import Sample, take_sample, worth_sampling
from ckptd.daemon.retain.outcomes import RetentionSeen
from ckptd.errors import CkptdError, Conflict
from ckptd.limits import CONNECTIONS_MAX, DAY_S, MIB, SECOND
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.quantities import format_duration, format_rate, format_size
from ckptd.model.space import AddressSpace
from ckptd.model.words import CheckResult, PeerState, RangeOutcome, RateOrigin
from ckptd.model.workload_judgements import OutrunJudgement
from ckptd.net.connection.identity import Identity
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.source.congestion import Congestion, PacedSending
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.roots import Root
from ckptd.store.staging.probing import measure_write_rate

Check: TypeAlias = Callable[[], AsyncGenerator[CheckRow, None]]

_CERTIFICATE_DAYS_MIN: Final = 30
"""As the alert and the daemon's own warnings: time for whoever renews to be on holiday."""
_DESCRIPTORS_SPARE: Final = 512
"""For files that are served, lanes, the database, and what nobody thought of."""
_DISK_RATE_MIN: Final = 20 * MIB
_PEER_RATE_MIN: Final = 4 * MIB
"""Slower than any disk or network a cluster is built with."""
_FREE_SHARE_MIN: Final = 0.05
_ANSWER_S: Final = 3.0
_SAMPLED_PEERS_MAX: Final = 64
"""At 3 s each of the slowest, a look at all takes three minutes."""


class LooksForConflicts(Protocol):
    """Finds versions with several contents."""

    async def look(self) -> Conflicts:
        """Return them."""


class KnowsCopies(Protocol):
    """Finds versions with too few copies."""

    def scarce(self) -> Sequence[ScarceVersion]:
        """Return them."""


class Measured(Protocol):
    """What was measured of versions here and at peers."""

    @property
    def conflicts(self) -> LooksForConflicts:
        """What finds those with several contents."""

    @property
    def copies(self) -> KnowsCopies:
        """What finds those with too few copies."""

    def outrun(self) -> Sequence[OutrunJudgement]:
        """Return what jobs that save are faster than."""


class Doctor:
    """Looks at this node and its peers.

    Args:
        parts: What the daemon is made of.
        data: Where it listens for peers.
        peering: Knows the peers.
        pool: Buffers for samples.
        note_rate: Given how fast a peer was, for predictions.
        keep: Returns how what is on offer is kept.
        measured: What was measured of versions.
        paced: Returns with what congestion control is sent, and what it paced without need.
        retained: Returns what retention saw last.
        recoveries: Returns the recoveries under way.
        unmet: Returns why what the configuration asks for did not come, by checkpoint.
        copies: Returns which copies there are of what this node lists.
        audits: Returns what audits of peers came to.
        watched: Directories into which jobs save.
    """

    def __init__(  # noqa: PLR0913 (what it looks at)
        self,
        parts: Parts,
        data: Address,
        peering: Peering,
        pool: BufferPool,
        *,
        note_rate: Callable[[RateLearned], None],
        keep: Callable[[], Keep],
        measured: Measured,
        paced: Callable[[], tuple[Congestion, PacedSending]],
        retained: Callable[[], RetentionSeen],
        recoveries: Callable[[], Sequence[RecoverySnapshot]],
        unmet: Callable[[], Mapping[str, str]],
        copies: Callable[[], Awaitable[CopiesView]],
        audits: Callable[[], AuditsSeen],
        watched: Sequence[WatchedDirectory],
    ) -> None:
        self._config = parts.config
        self._confinement, self._owners = parts.confinement, parts.owners
        self._data = data
        self._roots = parts.storage.roots
        self._catalog = parts.storage.catalog
        self._peering = peering
        self._inquirer = parts.transport.inquirer
        self._identity = parts.transport.identity
        self._pool = pool
        self._note_rate = note_rate
        self._keep, self._measured, self._paced = keep, measured, paced
        self._retained, self._recoveries, self._unmet = retained, recoveries, unmet
        self._copies, self._audits, self._watched = copies, audits, watched
        self._throttles = parts.transport.throttles
        self._is_examining = False
        self._wall_clock = parts.wall_clock
        self._clock = Clock(parts.wall_clock)

    def checks(self) -> Sequence[Check]:
        """Return everything there is to look at, in the order in which it is shown."""
        return (
            self._clocks,
            self._certificates,
            partial(look_at_confinement, self._confinement),
            partial(look_at_owners, self._owners),
            self._descriptors,
            partial(look_at_conflicts, self._measured.conflicts.look),
            self._offer,
            partial(
                look_at_copies,
                self._measured.copies.scarce,
                are_some_listed=self._config.copies.is_on,
            ),
            partial(
                look_at_asked_copies, self._config, self._roots, self._copies, self._known_names
            ),
            partial(look_at_audits, self._audits),
            partial(look_at_workload, self._measured.outrun),
            self._phases,
            partial(look_at_retention, self._retained),
            partial(look_at_unmet, self._unmet),
            self._listeners,
            partial(look_at_congestion, self._paced),
            self._disks,
            self._memory,
            partial(look_at_networks, self._live_addresses, self._inquirer),
            self._peers,
        )

    async def examine(self) -> AsyncGenerator[DoctorMessage, None]:
        """Look at everything; yield each finding, and last the sum.

        Raises:
            Conflict: Somebody else is at it; two at once would measure each other.
        """
        if self._is_examining:
            raise Conflict("examination", "is under way already", "Wait until that one has ended.")
        self._is_examining = True
        counts: Counter[CheckResult] = Counter()
        try:
            for check in self.checks():
                async for row in check():
                    counts[row.verdict] += 1
                    yield row
        finally:
            self._is_examining = False
        yield Diagnosis(
            ok=counts[CheckResult.OK], warn=counts[CheckResult.WARN], fail=counts[CheckResult.FAIL]
        )

    async def _clocks(self) -> AsyncGenerator[CheckRow, None]:
        yield self._clock.judge()
        for peer in self._live_peers():
            row = await self._clock.compare(_name_of(peer), peer.address, self._inquirer)
            if row is not None:
                yield row

    async def _certificates(self) -> AsyncGenerator[CheckRow, None]:
        if self._identity is not None:
            begins = self._identity.not_before_s
            for role, not_after_s in self._identity.not_after_s.items():
                yield judge_certificate(role, not_after_s, begins[role], now_s=self._wall_clock())
        elif _is_loopback(self._data.host):
            yield passed("certificate", "this node", "needs none: it listens on this machine only")
        else:
            yield warned(
                "certificate",
                "this node",
                "has none: whoever reaches the port can read, and claim to be any node",
                "Make certificates with 'ckptctl tls' and name them in [tls].",
            )

    async def _descriptors(self) -> AsyncGenerator[CheckRow, None]:
        needed = CONNECTIONS_MAX + 2 * len(self._peering.peers()) + _DESCRIPTORS_SPARE
        used, limit = descriptors()
        finding = f"{used} of {limit} in use; {needed} may be needed"
        if limit != resource.RLIM_INFINITY and limit < needed:
            remedy = "Set LimitNOFILE=65536 in the unit, or 'ulimit -n 65536' before the start."
            verdict = CheckResult.FAIL if limit - used < CONNECTIONS_MAX // 4 else CheckResult.WARN
            yield CheckRow(
                check="descriptors",
                subject="this process",
                verdict=verdict,
                finding=finding,
                remedy=remedy,
            )
        else:
            yield passed("descriptors", "this process", finding)

    async def _offer(self) -> AsyncGenerator[CheckRow, None]:
        yield judge_catalog(len(self._catalog.versions()))
        yield judge_watching(self._keep())
        for row in judge_saves(self._watched):
            yield row
        for row in judge_places(self._catalog.versions(), self._roots):
            yield row
        for row in await asyncio.to_thread(judge_active, self._catalog.active.all(), self._roots):
            yield row
        async for row in look_at_reading(self._catalog, self._roots):
            yield row
        for row in judge_appeared(self._keep()):
            yield row

    async def _phases(self) -> AsyncGenerator[CheckRow, None]:
        for row in (*judge_phases(self._catalog), *judge_held_phases(self._recoveries())):
            yield row

    async def _listeners(self) -> AsyncGenerator[CheckRow, None]:
        if _is_loopback(self._data.host) and any(
            not _is_loopback(peer.address[0]) for peer in self._peering.peers()
        ):
            yield failed(
                "listen",
                f"data {self._data}",
                "is a loopback address, and peers are on other machines",
                'Set listen.data = "0.0.0.0:7421" or to this node\'s address.',
            )
        else:
            yield passed("listen", f"data {self._data}", "peers are answered")
        metrics = self._config.listen.metrics
        if metrics is None:
            yield warned(
                "listen",
                "metrics",
                "are switched off: nobody sees what this node does",
                'Set listen.metrics = "127.0.0.1:7422".',
            )
        else:
            yield passed("listen", f"metrics {metrics}", "Prometheus is answered")

    async def _disks(self) -> AsyncGenerator[CheckRow, None]:
        for root in self._roots:
            yield await asyncio.to_thread(_look_at_disk, root)

    async def _peers(self) -> AsyncGenerator[CheckRow, None]:
        sampled = 0
        for peer in self._peering.peers():
            match peer.state:
                case PeerState.SELF:
                    continue
                case PeerState.LIVE if sampled < _SAMPLED_PEERS_MAX:
                    sampled += 1
                    yield and_also(await self._sample(peer), peer.silent)
                case PeerState.LIVE:
                    yield and_also(passed("peer", _name_of(peer), "answers"), peer.silent)
                case PeerState.CONFLICT:
                    yield failed(
                        "peer",
                        _name_of(peer),
                        peer.last_error,
                        "Give each node a node.id of its own, and list each address once.",
                    )
                case _ if not peer.last_error:
                    yield warned("peer", _name_of(peer), "was not asked yet", "Look again.")
                case _:
                    found = remedied(peer.last_error, self._own_trouble())
                    yield failed(
                        "peer", _name_of(peer), f"cannot be asked: {found.why}", found.remedy
                    )

    async def _sample(self, peer: ListedPeer) -> CheckRow:
        holdings = peer.holdings.holdings if peer.holdings else ()
        sampled = worth_sampling(holdings)
        if sampled is None:
            return passed("peer", _name_of(peer), "answers; holds nothing to measure its rate with")
        try:
            async with asyncio.timeout(_ANSWER_S):
                received = await self._inquirer.manifest(peer.address, sampled.digest)
            space = await asyncio.to_thread(_open_manifest, received.manifest, sampled)
            sample = None
            if space is not None:
                sample = await take_sample(
                    peer.address,
                    sampled,
                    space,
                    self._pool,
                    peer=self._lane_peer(peer),
                    throttles=self._throttles,
                )
        except (CkptdError, OSError) as error:
            return _gives_nothing(peer, str(error) or "answers too slowly", self._own_trouble())
        self._learn(peer, sample)
        return _judge(peer, sample, self._own_trouble())

    def _own_trouble(self) -> str:
        """Say why no handshake of this node can succeed now; empty if one can."""
        return "" if self._identity is None else self._identity.trouble()

    def _learn(self, peer: ListedPeer, sample: Sample | None) -> None:
        """Let predictions know how fast a peer is."""
        if sample is None or peer.path is None:
            return
        rate = sample.rate_bytes_per_s
        if rate is not None:
            path, latency, by = peer.path, sample.latency_ns, RateOrigin.DOCTOR
            self._note_rate(RateLearned(path, rate, latency, 0, by, is_sound=sample.is_sound))

    def _lane_peer(self, peer: ListedPeer) -> tuple[Identity, NodeId] | None:
        """Return who must answer at the other end of a lane, and to whom."""
        if self._identity is None or peer.holdings is None:
            return None
        return self._identity, peer.holdings.node

    def _memory(self) -> AsyncGenerator[CheckRow, None]:
        buffers_bytes = self._config.recovery.buffers_bytes
        return look_at_memory(buffers_bytes, self._roots, self._known_holdings)

    def _known_holdings(self) -> Iterator[Holding]:
        """Yield what is here and at live peers."""
        yield from self._catalog.holdings()
        for peer in self._live_addresses():
            yield from peer.holdings.holdings if peer.holdings else ()

    def _known_names(self) -> set[CheckpointName]:
        """Return the checkpoints that this node or a live peer has something of."""
        here = {holding.checkpoint for holding in self._catalog.holdings()}
        return here | self._peering.names()

    def _live_addresses(self) -> list[PeerAddress]:
        live = (each for peer in self._live_peers() for each in peer.addresses)
        return [each for each in live if each.state is PeerState.LIVE]

    def _live_peers(self) -> list[ListedPeer]:
        live = [peer for peer in self._peering.peers() if peer.state is PeerState.LIVE]
        return live[:_SAMPLED_PEERS_MAX]


def judge_certificate(
    role: str, not_after_s: float, not_before_s: float = 0.0, *, now_s: float
) -> CheckRow:
    """Say whether a certificate is good, and for how long.

    Args:
        role: Whose: ``node`` or ``ca``.
        not_after_s: When it expires, in Unix time.
        not_before_s: From when on it is valid.
        now_s: The moment, in Unix time.
    """
    if now_s < not_before_s:
        return failed(
            "certificate",
            role,
            f"is not valid yet, for another {format_duration(not_before_s - now_s)}",
            "Is this node's clock right? Otherwise wait, or make one that is valid from now on.",
        )
    days = (not_after_s - now_s) / DAY_S
    if role == "node":
        remedy = "Make a new one with 'ckptctl tls renew NODE'; it counts within a minute."
    else:
        remedy = "Replace it without an interruption: see 'ckptctl tls --help'."
    if days <= 0:
        return failed("certificate", role, f"expired {abs(days):.1f} days ago", remedy)
    finding = f"expires in {days:.1f} days"
    if days <= _CERTIFICATE_DAYS_MIN:
        return warned("certificate", role, finding, remedy)
    return passed("certificate", role, finding)


def _gives_nothing(peer: ListedPeer, reason: str, own_trouble: str) -> CheckRow:
    found = remedied(reason, own_trouble)
    return failed("peer", _name_of(peer), f"answers, but gives no bytes: {found.why}", found.remedy)


def _judge(peer: ListedPeer, sample: Sample | None, own_trouble: str) -> CheckRow:
    name = _name_of(peer)
    if sample is None or sample.bad_blocks:
        return failed(
            "peer",
            name,
            "sent bytes that are not what it says they are",
            "Check its disk and memory; 'ckptctl peers show NODE' counts its bad blocks.",
        )
    if sample.outcome not in {RangeOutcome.DELIVERED, RangeOutcome.CLOSED}:
        return _gives_nothing(peer, sample.trouble or sample.outcome.value, own_trouble)
    rate = sample.size_bytes / max(sample.duration_s, 1 / SECOND)
    finding = f"gave {format_size(sample.size_bytes)} at {format_rate(rate)}"
    if rate < _PEER_RATE_MIN and sample.outcome is RangeOutcome.CLOSED:
        return warned("peer", name, finding, "Look at the network between them with 'iperf3'.")
    return passed("peer", name, finding)


def _look_at_disk(root: Root) -> CheckRow:
    subject = f"root {root.name}"
    obstacle = root.obstacle()
    if obstacle:
        return failed("disk", subject, obstacle, remedy_of(root, obstacle))
    try:
        rate = measure_write_rate(root)
        free, size = root.free_bytes(), root.size_bytes()
    except CkptdError as error:
        return failed("disk", subject, error.problem, error.hint or "Make room, or mend the disk.")
    finding = f"writes {format_rate(rate)} durably, {format_size(free)} free"
    if free < size * _FREE_SHARE_MIN:
        return warned("disk", subject, finding, "Remove versions that nobody needs.")
    if rate < _DISK_RATE_MIN:
        return warned("disk", subject, finding, "A recovery is no faster; look with 'iostat -x 1'.")
    return passed("disk", subject, finding)


def _open_manifest(encoded: memoryview, holding: Holding) -> AddressSpace | None:
    if hexdigest_of(encoded) != holding.digest:
        return None
    return AddressSpace(decode_manifest(encoded))


def _name_of(peer: ListedPeer) -> str:
    return f"{peer.node} at {peer.name}" if peer.node else peer.name


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
