"""In which order nodes are asked to hold a checkpoint: the same wherever it is worked out.

Rendezvous hashing: every node has a score for every name, and the best ones hold it. One node more
or less changes nothing between the others, so only what the node itself held, or is to hold, moves.
Zones come first: next is the best of those that share the fewest levels with all before it.

A score is the product of two hashes, one of the name and one of the node, modulo a prime: that is
a family of universal hash functions (Carter and Wegman, 1979), and a thousand nodes are ordered in
half a millisecond, where a cryptographic hash of each pair would take three times as long. Nobody
gains by choosing an id that comes first: it is asked to store, and audited.

The key is the name of the checkpoint, not of the version: versions of one checkpoint are on the
same nodes as far as they can be, and share their blocks there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from ckptd.copies.zones import Zone, together
from ckptd.errors import UsageError
from ckptd.model.ids import NodeId

_PRIME: Final = 2**89 - 1
_NODES_KNOWN_MAX: Final = 16_384
_FIRST: Final = 64
"""So many nodes of an order are kept: the copies of a version, and who was passed over before."""
_STEP: Final = re.compile(r"\+(n/2|[1-9][0-9]{0,4})", re.ASCII)


def order(key: str, members: Mapping[NodeId, Zone]) -> tuple[NodeId, ...]:
    """Order nodes for one key, each the one that fails least together with those before it.

    Args:
        key: The name of a checkpoint.
        members: Who can hold it, and in which zones.

    Cost: O(n²) comparisons of zones; to find the first few, see :func:`ranked`.
    """
    left = list(ranked(key, tuple(members)))
    shared = dict.fromkeys(left, (0, 0))
    found: list[NodeId] = []
    while left:
        taken = min(left, key=shared.__getitem__)  # the first one of those that are equal
        left.remove(taken)
        found.append(taken)
        for node in left:
            most, times = shared[node]
            levels = together(members[node], members[taken])
            if levels > most:
                shared[node] = (levels, 1)
            elif levels == most:
                shared[node] = (most, times + 1)
    return tuple(found)


def score(key: str, node: NodeId) -> int:
    """Return the score of a node for a key; the lowest one comes first."""
    return _hashed(b"key", key) * _hash_of(node) % _PRIME


def ranked(key: str, nodes: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """Order nodes for one key by their scores alone, the best one first.

    Cost: O(n log n).
    """
    factor = _hashed(b"key", key)
    scores = [factor * _hash_of(node) % _PRIME for node in nodes]
    return tuple(node for _, node in sorted(zip(scores, nodes, strict=True)))


class Rankings:
    """The first nodes of many orders, kept from one decision to the next.

    To order a thousand nodes for a thousand names takes half a second, and almost always one of
    the first few is taken. What was not used in a decision is forgotten at the next one.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[NodeId, ...], tuple[NodeId, ...]]] = {}
        self._used: dict[str, tuple[tuple[NodeId, ...], tuple[NodeId, ...]]] = {}

    def begin(self) -> None:
        """Begin a decision."""
        self._known, self._used = self._used, {}

    def of(self, key: str, nodes: tuple[NodeId, ...]) -> Iterator[NodeId]:
        """Yield nodes in the order for a key, the best one first."""
        known = self._used.get(key) or self._known.get(key)
        if known is None or known[0] != nodes:
            known = (nodes, ranked(key, nodes)[:_FIRST])
        self._used[key] = known
        yield from known[1]
        if len(nodes) > _FIRST:
            yield from ranked(key, nodes)[_FIRST:]


def check_pair(step: str) -> str:
    """Check how a partner is found: ``+n/2``, or ``+3``.

    Raises:
        UsageError: It is neither.
    """
    if not _STEP.fullmatch(step):
        raise UsageError(f"pair {step[:40]!r}", "is no step", "Write +n/2, or +1.")
    return step


def partner(node: NodeId, members: Sequence[NodeId], step: str) -> NodeId | None:
    """Return the partner of a node: so many members further in the order of their ids, in a ring.

    Args:
        node: Whose partner; it need not be a member itself.
        members: Who can be one, in any order.
        step: As :func:`check_pair` takes it; ``+n/2`` is half way round.

    Returns:
        ``None`` if there is no other member.
    """
    ring = sorted({*members, node})
    others = len(ring)
    distance = others // 2 if step == "+n/2" else int(step[1:])
    found = ring[(ring.index(node) + distance) % others]
    return None if found == node else found


def _hashed(kind: bytes, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=11, person=kind).digest()
    return int.from_bytes(digest) % (_PRIME - 1) + 1


@lru_cache(_NODES_KNOWN_MAX)
def _hash_of(node: NodeId) -> int:
    return _hashed(b"node", node)
