"""Puts together what answers on the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ckptd.control.messages.daemon_status import ReloadResult
from ckptd.daemon.answer.activate_answers import ActivateAnswers
from ckptd.daemon.answer.beginning import Beginning
from ckptd.daemon.answer.collect_answers import CollectAnswers
from ckptd.daemon.answer.configured_recoveries import ConfiguredRecoveries
from ckptd.daemon.answer.copies_answers import CopiesAnswers, CopiesSeen, KnownCopies
from ckptd.daemon.answer.daemon_answers import DaemonAnswers, DaemonFacts
from ckptd.daemon.answer.job_answers import JobAnswers
from ckptd.daemon.answer.life_cycle_answers import LifeCycleAnswers
from ckptd.daemon.answer.manifest_answers import ManifestAnswers
from ckptd.daemon.answer.materialise_answers import MaterialiseAnswers
from ckptd.daemon.answer.minimal_sets import MinimalSets
from ckptd.daemon.answer.newest_answers import NewestAnswers
from ckptd.daemon.answer.peer_answers import PeerAnswers
from ckptd.daemon.answer.plan_answers import PlanAnswers
from ckptd.daemon.answer.prioritize_answers import PrioritizeAnswers
from ckptd.daemon.answer.proven_versions import ProvenVersions
from ckptd.daemon.answer.publish_answers import PublishAnswers
from ckptd.daemon.answer.published_copies import PublishedCopies
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.answer.recovery_views import RecoveryViews
from ckptd.daemon.answer.remove_answers import RemoveAnswers
from ckptd.daemon.answer.verify_answers import VerifyAnswers
from ckptd.daemon.answer.wait_answers import WaitAnswers
from ckptd.daemon.answer.watched_answers import WatchedAnswers
from ckptd.daemon.answer.workload_answers import Measures, WorkloadAnswers
from ckptd.daemon.audit.proofs import Proofs
from ckptd.daemon.copying.copying import Copying
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.host.root_watch import RootWatch
from ckptd.daemon.keep.keeping import Keeping
from ckptd.daemon.keep.passed_keeping import PassedKeeping
from ckptd.daemon.keep.taking_saves import TakingSaves
from ckptd.daemon.limit.limiting import Limiting
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.retention import Retention
from ckptd.daemon.serve.advertising import Advertising
from ckptd.daemon.settings.own_identity import known_zone


class Answers(NamedTuple):
    """What answers on the control socket, but for what is about watching the daemon.

    Attributes:
        rows: All of it.
        configured: Asks for what the configuration names.
        copies: What is known of copies.
        copying: Keeps copies for others.
    """

    rows: tuple[object, ...]
    configured: ConfiguredRecoveries
    copies: KnownCopies
    copying: Copying


def open_answers(  # noqa: PLR0913 (what it works with, each named)
    parts: Parts,
    recovering: Recovering,
    keeping: Keeping,
    limiting: Limiting,
    root_watch: RootWatch,
    passed: PassedKeeping,
    *,
    retention: Retention,
    taking: TakingSaves,
    advertising: Advertising,
    proofs: Proofs,
    facts: Callable[[], DaemonFacts],
    reload: Callable[[], Awaitable[ReloadResult]],
    measuring: Measures,
) -> Answers:
    """Return what answers all rows of the control API but those about watching the daemon.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries.
        keeping: Reads what is on offer again.
        limiting: All limits.
        root_watch: Whether the roots can be used.
        passed: Keeps files that publishers passed.
        retention: By what versions go.
        taking: Publishes what jobs save into watched directories, by what answers people.
        advertising: Says what this node keeps copies of.
        proofs: Which claims of peers are proven.
        facts: What the daemon says of itself.
        reload: Reads the configuration again and applies it.
        measuring: Measures what is published.
    """
    views = RecoveryViews(
        recovering,
        limiting,
        loop_lag_s=lambda: facts().event_loop_lag_s,
        is_configured=parts.storage.configured.is_configured,
        is_for_copies=parts.storage.roots.is_for_copies,
    )
    now = recovering.runtime.now
    proven = ProvenVersions(recovering, parts.storage.catalog)
    minimal_sets = MinimalSets(
        parts.storage.catalog.minimal_set,
        lambda: recovering.scheduler.learned_rates(now=now()),
        limiting.effective,
        now,
    )
    publishing = PublishAnswers(
        parts,
        now,
        measuring.note_publish,
        lambda checkpoint, version: recovering.scheduler.contents(checkpoint, version, now=now()),
        passed=passed,
        minimal_sets=minimal_sets,
        taking=taking,
        workloads=measuring.workloads,
    )
    beginning = Beginning(parts, recovering)
    recoveries = RecoveryAnswers(parts, recovering, views, beginning)
    configured = ConfiguredRecoveries(parts, recovering, recoveries)
    config, identity = parts.config, parts.transport.identity
    copies = KnownCopies(config.copies, lambda: known_zone(config, identity, config.node.id), now)
    rows = (
        recoveries,
        PrioritizeAnswers(recovering, parts.storage, retention.leases),
        PlanAnswers(recovering, parts.storage, parts.policy, proven, proofs.proven_at_s),
        ManifestAnswers(recovering, parts.storage),
        publishing,
        WatchedAnswers(taking),
        CopiesAnswers(copies),
        WorkloadAnswers(measuring, recovering, parts),
        LifeCycleAnswers(parts.storage, retention.standings),
        NewestAnswers(recovering, proven),
        WaitAnswers(parts.storage, recovering, proven),
        JobAnswers(parts.storage, parts.policy, recovering.peering.names),
        CollectAnswers(retention),
        MaterialiseAnswers(
            parts.storage,
            recovering,
            recoveries,
            retention.leases,
            PublishedCopies(parts, now, measuring.note_publish),
        ),
        RemoveAnswers(parts.storage.catalog, retention.removing, retention.standings),
        ActivateAnswers(parts.storage, retention.standings, recovering.activating),
        VerifyAnswers(parts, keeping.reads, recovering.repairing, now),
        PeerAnswers(parts, recovering, keeping.moments, minimal_sets, proofs),
        DaemonAnswers(
            facts=facts,
            recovering=recovering,
            views=views,
            catalog=parts.storage.catalog,
            root_watch=root_watch,
            limiting=limiting,
            reload=reload,
            unmet=configured.unmet,
        ),
    )
    copying = Copying(parts, recovering, beginning.begin_copy, retention, advertising, proofs)
    copies.seen = lambda: _seen(copying.seen)
    copies.obstacle = lambda: copying.seen.problem
    return Answers(rows, configured, copies, copying)


def _seen(seen: CopyingSeen) -> CopiesSeen | None:
    """Return what was seen of copies last, for answers; ``None``: nothing was looked at yet."""
    if seen.view is None:
        return None
    return CopiesSeen(
        seen.view,
        seen.decided,
        seen.decided_at_ns,
        seen.conflicts,
        seen.problems,
        saved_bytes=seen.saved_bytes,
    )
