"""What is said of a name, a version or blocks that nobody has, and how long it is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from ckptd.core.state.knowledge import State
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Version
from ckptd.model.nearest import NEAREST_SHOWN, nearest_names
from ckptd.model.quantities import format_size
from ckptd.model.shards import job_of, split_shard
from ckptd.model.words import FailureCause


def unknown_patience_ns(step: Step, recovery: Recovery) -> int | None:
    """Return how long a recovery waits at most for a name of which nobody has anything.

    Once somebody answers such a name is most likely a mistake. It is waited for a little while
    some address does not answer, which may be that of the only holder.

    Returns:
        The time since nobody has had it; ``None``: as long as patience lasts, for the name is
        known, or the request says so, or nobody answers at all.
    """
    state, request = step.state, recovery.request
    if request.is_name_awaited or not any(peer.is_live for peer in state.peers.values()):
        return None
    if request.not_below is not None or any(_holdings_of(state, recovery)):
        return None
    return 0 if state.is_everybody_heard else step.options.patience.unknown_ns


def explain_unknown(state: State, recovery: Recovery) -> tuple[FailureCause, str]:
    """Say why no version could be chosen for a recovery, and what could be asked for instead."""
    checkpoint, wanted = recovery.checkpoint, recovery.request.version
    selection = _selection_of(recovery)
    versions = {holding.version for holding in _holdings_of(state, recovery)}
    if not versions:
        said = {holding.checkpoint for holding in state.live_holdings()}
        said.update(recovery.request.own_names)
        # Of a job its own name is what can be recovered, but for who names a shard.
        names = said if split_shard(checkpoint) else {job_of(name) for name in said}
        known = nearest_names(checkpoint, names)
        return FailureCause.UNKNOWN, f"nobody has {checkpoint}{_known(known)}"
    if selection:
        named = checkpoint if wanted is None else f"{checkpoint}@{wanted}"
        return FailureCause.UNKNOWN, f"nobody has {named}{selection}"
    if wanted is None or wanted in versions:
        newest = _named(recovery, sorted(versions, reverse=True))
        return FailureCause.REQUIRED_MISSING, f"no version of {checkpoint} is whole{_known(newest)}"

    def distance(version: Version) -> tuple[int, int]:
        return abs(version - wanted), -version

    near = _named(recovery, sorted(versions, key=distance))
    return FailureCause.UNKNOWN, f"nobody has {checkpoint}@{wanted}{_known(near)}"


def why_not_without(recovery: Recovery, missing: BlockSet) -> tuple[FailureCause, str] | None:
    """Say why a recovery cannot end without some blocks; ``None`` if it can.

    Optional units may always be missing, and required ones if the request permits that and there
    is something to place; critical ones never.
    """
    content = recovery.content
    required = missing - content.optional
    if not required:
        return None
    if critical := required & content.critical:
        size = format_size(content.space.set_bytes(critical))
        return FailureCause.CRITICAL_MISSING, f"nobody has {size} of critical units"
    if not recovery.has_content:
        size = format_size(content.space.set_bytes(missing))
        return FailureCause.REQUIRED_MISSING, f"nobody has any of the {size}"
    message = f"nobody has {format_size(content.space.set_bytes(required))} of required units"
    if not content.space.whole_units(recovery.coverage.verified):
        return FailureCause.REQUIRED_MISSING, f"{message}, and no unit is whole"
    if recovery.request.allow_partial:
        return None
    hint = "to place the units that are whole, recover with --allow-partial"
    return FailureCause.REQUIRED_MISSING, f"{message}; {hint}"


def _selection_of(recovery: Recovery) -> str:
    """Say which content was asked for, if one was."""
    request = recovery.request
    prefix = f" with a digest that begins with {request.digest_prefix}"
    source = f" that {request.from_node} has"
    return (prefix if request.digest_prefix else "") + (source if request.from_node else "")


def _holdings_of(state: State, recovery: Recovery) -> Iterable[Holding]:
    """Yield what anybody has of the checkpoint of a recovery, or had when it was lost."""
    said = (holding for peer in state.peers.values() for holding in peer.said)
    return (each for each in chain(recovery.own, said) if each.checkpoint == recovery.checkpoint)


def _named(recovery: Recovery, versions: list[Version]) -> tuple[str, ...]:
    return tuple(f"{recovery.checkpoint}@{version}" for version in versions[:NEAREST_SHOWN])


def _known(names: tuple[str, ...]) -> str:
    return f"; known: {', '.join(names)}" if names else "; nothing is known of any checkpoint"
