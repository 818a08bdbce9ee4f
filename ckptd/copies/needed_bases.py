"""Which versions those that count are deltas on: no copy of one goes because it is too old.

A node knows what stands on what of the versions that it sees: the newest ones, and what it has
itself. Where it does not see a version that a chain goes through, anything earlier may be needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.copies.fleet import FleetVersion
from ckptd.copies.holders import Holders
from ckptd.model.ids import Digest, Version


class NeededBases:
    """What some versions of a checkpoint are deltas on, and so on down to full versions.

    Args:
        kept: The versions that count.
        older: All others that this node sees.

    Cost: O(versions).
    """

    def __init__(self, kept: Iterable[Holders], older: Iterable[Holders]) -> None:
        kept = list(kept)
        seen: dict[Version, list[FleetVersion]] = {}
        for each in (*kept, *older):
            seen.setdefault(each.version.version, []).append(each.version)
        self._digests: set[Digest] = set()
        self._unseen: Version | None = None
        waiting = [each.version for each in kept]
        while waiting:
            base = waiting.pop().base
            if base is None:
                continue
            found = [
                each for each in seen.get(base.version, ()) if base.digest in {None, each.digest}
            ]
            if not found:
                self._unseen = max(base.version, self._unseen or base.version)
            waiting += [each for each in found if each.digest not in self._digests]
            self._digests.update(each.digest for each in found)

    def __contains__(self, version: FleetVersion) -> bool:
        is_below_unseen = self._unseen is not None and version.version <= self._unseen
        return is_below_unseen or version.digest in self._digests
