"""What a node remembers from one decision about copies to the next.

All of it is about time: since when somebody makes no progress, since when a copy is too much, when
there last was no room. What is not looked at in a decision is forgotten, so it is as much as there
is to decide; a restart forgets all, and everybody is given the grace time again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import Criticality


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a node was with a version when it last came further.

    Attributes:
        held_bytes: How much it had.
        since_ns: When that was first seen.
        chosen: What it was chosen to have; ``None``: it was not, it came by itself.
    """

    held_bytes: int
    since_ns: int
    chosen: Criticality | None = None


@dataclass(frozen=True, slots=True)
class Surplus:
    """A copy of this node that others make needless.

    Attributes:
        holders: Who they are, and what each has.
        since_ns: Since when it is just them.
    """

    holders: frozenset[tuple[NodeId, Criticality]]
    since_ns: int


@dataclass(slots=True)
class Memory:
    """What a node remembers.

    Attributes:
        full_since_ns: When a copy last found no room; ``None``: never.
    """

    full_since_ns: int | None = None
    _progress: dict[Digest, dict[NodeId, Progress]] = field(default_factory=dict)
    _surplus: dict[Digest, Surplus] = field(default_factory=dict)
    _progress_now: dict[Digest, dict[NodeId, Progress]] = field(default_factory=dict)
    _surplus_now: dict[Digest, Surplus] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin a decision: forget what the last one did not look at."""
        self._progress, self._progress_now = self._progress_now, {}
        self._surplus, self._surplus_now = self._surplus_now, {}

    def asked(self, digest: Digest) -> Mapping[NodeId, Progress]:
        """Return who was chosen for a version, or came by itself, when it was last decided on."""
        return self._progress.get(digest, {})

    def look_at(self, digest: Digest, node: NodeId) -> Progress | None:
        """Return how far a node is, and go on remembering it; ``None``: nobody asked it yet."""
        found = self._progress_now.get(digest, {}).get(node) or self.asked(digest).get(node)
        if found is not None:
            self._progress_now.setdefault(digest, {})[node] = found
        return found

    def came(self, digest: Digest, node: NodeId, held_bytes: int, now: int) -> Progress:
        """Note how much a node has by now; patience with it begins again where that is more."""
        found = self.look_at(digest, node)
        if found is None or held_bytes > found.held_bytes:
            found = Progress(held_bytes, now, None if found is None else found.chosen)
            self._progress_now.setdefault(digest, {})[node] = found
        return found

    def choose(
        self, digest: Digest, node: NodeId, least: Criticality, held_bytes: int, now: int
    ) -> None:
        """Note that a node is chosen; patience with it begins again where it is for something else.

        Args:
            digest: For which version.
            node: Which one.
            least: What it is to have.
            held_bytes: How much it has.
            now: The moment.
        """
        found = self.came(digest, node, held_bytes, now)
        if found.chosen is not None and found.chosen != least:
            found = Progress(held_bytes, now)
        self._progress_now[digest][node] = replace(found, chosen=least)

    def surplus_of(
        self, digest: Digest, holders: frozenset[tuple[NodeId, Criticality]], now: int
    ) -> int:
        """Return since when it is just these others that make this node's copy needless."""
        known = self._surplus.get(digest)
        if known is None or known.holders != holders:
            known = Surplus(holders, now)
        self._surplus_now[digest] = known
        return known.since_ns
