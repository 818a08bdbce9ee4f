"""Shards that are joined to one content, which peers have as far as they have its shards.

Peers are never asked for it by its digest: that is of this node alone. What they say of the shards
is mapped to it whenever they say something, and so all that holds for a content that peers have
holds for this one.
"""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import ChooseVersion, JoinManifests
from ckptd.core.events import JoinRefused, ManifestsJoined
from ckptd.core.explain.narration import report_choice
from ckptd.core.jobs.choosing import explain
from ckptd.core.peers.joined_holdings import join_holdings
from ckptd.core.stages.ending import fail, retry_or_fail
from ckptd.core.stages.restaging import order_staging
from ckptd.core.state.record.described import Described
from ckptd.core.state.record.joining import Attempt
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Version
from ckptd.model.words import FailureCause, LocalOrder, Stage


def order_joint(step: Step, recovery: Recovery, attempt: Attempt) -> None:
    """Order the manifests of the shards that are wanted to be joined; all are here."""
    assert recovery.request.job is not None, f"{recovery.id} is for no job"
    wanted = recovery.request.job.shards
    members = tuple(
        contents[0]
        for index, contents in sorted(attempt.contents.items())
        if wanted is None or index in wanted
    )
    _order(step, recovery, attempt.layout.version, members)


def order_joint_again(step: Step, recovery: Recovery) -> None:
    """Order to be joined again what an earlier life of this node had joined."""
    assert recovery.request.job is not None, f"{recovery.id} is for no job"
    assert recovery.version is not None, f"{recovery.id} goes on without its version"
    _order(step, recovery, recovery.version, recovery.request.job.members)


def _order(step: Step, recovery: Recovery, version: Version, members: tuple[Digest, ...]) -> None:
    recovery.local.pending_order = LocalOrder.JOINT
    step.order(JoinManifests(recovery.id, recovery.checkpoint, version, members))


def on_manifests_joined(step: Step, recovery: Recovery, event: ManifestsJoined) -> None:
    """Learn what the shards are together, and make room for it."""
    recovery.local.pending_order = None
    if recovery.stage is not Stage.DESCRIBING:
        return
    joining, joint = recovery.joining, event.joint
    if event.misfit:
        fail(step, recovery, FailureCause.UNKNOWN, event.misfit)
        return
    attempt, joining.attempt = joining.attempt, None
    joining.joint = joint
    step.state.joints[event.digest] = joint
    for peer in step.state.peers.values():
        join_holdings(peer, event.digest, joint)
    recovery.starved_since_ns = None
    recovery.local.worked()
    version = Version(joint.manifest.version)
    recovery.version, recovery.digest = version, event.digest
    recovery.described = Described.of(version, event.digest, joint.space, joint.piece_ends)
    joining.settles_ns = step.now + step.options.jobs.settle_ns
    if attempt is not None:
        choice = explain(step, recovery, attempt.layout, attempt.why)
        report_choice(step, recovery, version, choice)
        step.order(
            ChooseVersion(recovery.id, recovery.checkpoint, version, event.digest, attempt.why)
        )
    if event.chosen is not None:
        recovery.coverage.unchosen = BlockSet.full(joint.space.block_count) - event.chosen
    recovery.move(Stage.PREPARING)
    order_staging(step, recovery)


def on_join_refused(step: Step, recovery: Recovery, event: JoinRefused) -> None:
    """End a recovery whose shards cannot be one, unless it only went on with them."""
    recovery.local.pending_order = None
    if recovery.stage is not Stage.DESCRIBING:
        return
    if event.refusal.is_retryable or event.refusal.is_shortage:
        retry_or_fail(step, recovery, event.refusal)
    elif recovery.joining.attempt is None:  # what it had joined is not here any more
        recovery.version = recovery.digest = None
        recovery.joining.look_again_ns = step.now
        recovery.move(Stage.SEEKING)
    else:
        fail(step, recovery, FailureCause.CONFLICT, event.refusal.message)


def forget_unused(step: Step) -> None:
    """Forget what was joined for recoveries that are over, or for another version now."""
    if not step.state.joints:
        return
    wanted = {recovery.digest for recovery in step.state.recoveries.values()}
    for digest in [each for each in step.state.joints if each not in wanted]:
        del step.state.joints[digest]
        for peer in step.state.peers.values():
            if digest in peer.joined:
                peer.joined.discard(digest)
                peer.holdings.pop(digest, None)


HANDLERS: Final = (
    RecoveryHandler(ManifestsJoined, on_manifests_joined),
    RecoveryHandler(JoinRefused, on_join_refused),
)
"""What is taken in here."""
