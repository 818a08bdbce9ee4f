"""Audits: each claim of a listed name is proven by one block, soon and then again and again."""

from __future__ import annotations

from collections import deque
from typing import Final

from ckptd.limits import SECOND
from ckptd.model.ids import Digest, NodeId
from ckptd.sim.fleet.ground import Ground
from ckptd.sim.fleet.member import Member, Proof
from ckptd.sim.fleet.plan import MINUTE

_TURNED_AWAY_NS: Final = 10 * SECOND
_FALSE_NS: Final = 5 * MINUTE
"""A claim that was false is looked at again after so long."""


class Audits:
    """Audits what others claim, for every node.

    Args:
        ground: What it happens on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._rng = ground.world.stream("audits")
        self._queues: dict[NodeId, deque[tuple[NodeId, Digest]]] = {}
        self._waiting: dict[tuple[NodeId, NodeId, Digest], int] = {}

    def heard(self, member: Member, other: Member) -> None:
        """Audit what another claims for the first time."""
        for digest, least in member.heard[other.node].said.claims.items():
            if least is None:
                continue
            if member.lists(self._ground.known[digest].checkpoint):
                self._plan(member, other.node, digest, self._pause_ns(member, other.node, digest))

    def prove(self, member: Member, other: Member, digest: Digest) -> bool | None:
        """Fetch a block and verify it; ``None``: no answer, or it is claimed no more."""
        ground = self._ground
        heard = member.heard.get(other.node)
        if heard is None or not ground.reaches(member, other):
            return None
        claimed = heard.said.claims.get(digest)
        if claimed is None or other.said(ground.known.values()).claims.get(digest) is None:
            return None
        is_right = other.has(digest, claimed)
        before = self.is_proven(member, other.node, digest)
        held_bytes = heard.said.held_bytes(ground.known[digest])
        member.proofs[other.node, digest] = Proof(ground.now, is_right, held_bytes)
        if before != is_right:
            ground.stir(member)
        return is_right

    def is_proven(self, member: Member, node: NodeId, digest: Digest) -> bool:
        """Return whether a claim was audited lately, and rightly."""
        proof = member.proofs.get((node, digest))
        heard = member.heard.get(node)
        if proof is None or not proof.is_right or heard is None:
            return False
        if heard.said.held_bytes(self._ground.known[digest]) > proof.held_bytes:
            return False
        return self._ground.now - proof.at_ns < self._ground.paces.proven_ns

    def _pause_ns(self, member: Member, node: NodeId, digest: Digest) -> int:
        """Return how long a claim that was heard need not be audited."""
        proof, now = member.proofs.get((node, digest)), self._ground.now
        if proof is not None and self.is_proven(member, node, digest):
            return max(proof.at_ns + self._ground.paces.audited_again_ns * 3 // 4 - now, 0)
        if proof is not None and not proof.is_right:
            return max(proof.at_ns + _FALSE_NS - now, 0)
        return 0

    def resume(self, member: Member) -> None:
        """Go on after a daemon was started: what is due is found again as holdings are heard."""
        self._queues.pop(member.node, None)
        for key in [each for each in self._waiting if each[0] == member.node]:
            del self._waiting[key]
        for node, digest in member.proofs:
            self._plan(member, node, digest, self._ground.paces.audited_again_ns // 2)

    def _plan(self, member: Member, node: NodeId, digest: Digest, after_ns: int) -> None:
        """Audit a claim after a while, unless that is planned for earlier."""
        key, due_ns = (member.node, node, digest), self._ground.now + after_ns
        if self._waiting.get(key, due_ns + 1) > due_ns:
            self._waiting[key] = due_ns
            self._ground.world.at(due_ns, self._due, member, node, digest, member.life)

    def _due(self, member: Member, node: NodeId, digest: Digest, life: int) -> None:
        is_due = self._waiting.get((member.node, node, digest)) == self._ground.now
        if life != member.life or not member.is_up or not is_due:
            return
        queue = self._queues.get(member.node)
        if queue is None:
            queue = self._queues[member.node] = deque()
            self._ground.world.after(self._rng.randint(0, SECOND), self._next, member, life)
        queue.append((node, digest))

    def _next(self, member: Member, life: int) -> None:
        """Audit one claim, and the next one a second later."""
        queue = self._queues.get(member.node)
        if life != member.life or not member.is_up or not queue:
            if life == member.life:
                self._queues.pop(member.node, None)
            return
        node, digest = queue.popleft()
        self._waiting.pop((member.node, node, digest), None)
        heard = member.heard.get(node)
        if heard is not None and heard.said.claims.get(digest) is not None:
            other = self._ground.members[node]
            paces = self._ground.paces
            if self.prove(member, other, digest) is None:
                self._plan(member, node, digest, _TURNED_AWAY_NS)
            else:
                spread_ns = paces.audited_again_ns // 4
                again_ns = paces.audited_again_ns - self._rng.randint(0, spread_ns)
                self._plan(member, node, digest, again_ns)
        self._ground.world.after(self._ground.paces.audit_ns, self._next, member, life)
