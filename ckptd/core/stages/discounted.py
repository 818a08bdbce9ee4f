"""Why nothing that is claimed of a content counts for a recovery, for people."""

from __future__ import annotations

from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest


def why_discounted(step: Step, recovery: Recovery, digest: Digest) -> str:
    """Say why a content is not chosen though somebody claims to have it; empty if it counts."""
    refusal = step.state.refused_contents.get(digest)
    if refusal is not None:
        return f"refused: {refusal}"
    if digest in recovery.search.unsigned:
        return "no peer delivered it with signatures that suffice"
    if any(held.digest == digest for held in recovery.own):
        return ""
    reasons = {
        why_claim_discounted(step, recovery, peer, digest)
        for peer in step.state.peers.values()
        if peer.is_live and digest in peer.holdings
    }
    return "" if "" in reasons else "; ".join(sorted(reasons))


def why_claim_discounted(step: Step, recovery: Recovery, peer: Peer, digest: Digest) -> str:
    """Say why the claim of one peer does not count; empty if it does."""
    claimant = recovery.search.claimants.get(peer.origin)
    if peer.standing.quarantined_until_ns > step.now:
        return "only peers in quarantine have it"
    if claimant is None:
        return ""
    if digest in claimant.failed:
        return "its manifest was wrong or did not come"
    if digest in claimant.unsuited:
        return "its manifest was not signed as required, or is not there"
    if claimant.is_spent(step.options.manifests):
        return "only peers have it whose other manifests were wrong, or did not come"
    return ""
