"""Which versions a version needs, and which stand on it: the chains of one checkpoint name.

A base version is always an earlier one, so a chain ends, and nothing here can go round in circles.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from ckptd.chains.chain_links import ChainLink
from ckptd.model.ids import Digest, Version

_RUNS_SHOWN: Final = 4


class KnownVersion(NamedTuple):
    """A content of a version of which the manifest is known.

    Attributes:
        version: Which version.
        digest: Its identity.
        link: What it stands on; ``None``: it is a full version.
    """

    version: Version
    digest: Digest
    link: ChainLink | None = None


class Series:
    """All that is known of one checkpoint name.

    Args:
        known: The contents, in any order; several of a version are rivals.
    """

    def __init__(self, known: Iterable[KnownVersion]) -> None:
        self._contents: dict[Version, dict[Digest, KnownVersion]] = {}
        for each in known:
            self._contents.setdefault(each.version, {})[each.digest] = each

    def base(self, link: ChainLink) -> KnownVersion | None:
        """Return what a delta version stands on; ``None`` if that is not known."""
        bases = self._bases(link)
        return bases[0] if len(bases) == 1 else None

    def standing_on(self, digests: Container[Digest]) -> tuple[KnownVersion, ...]:
        """Return the delta versions that need any of some contents, the earliest first.

        Where nothing says which content of its base version one is a delta on, it needs all.

        Args:
            digests: The contents; what is among them does not count.

        Cost: O(contents).
        """
        needing: set[Digest] = set()
        found: list[KnownVersion] = []
        for version in sorted(self._contents):
            for each in self._contents[version].values():
                if each.digest in digests or each.link is None:
                    continue
                bases = self._bases(each.link)
                if any(base.digest in digests or base.digest in needing for base in bases):
                    needing.add(each.digest)
                    found.append(each)
        return tuple(found)

    def _bases(self, link: ChainLink) -> list[KnownVersion]:
        """Return the contents that a link may mean."""
        contents: Mapping[Digest, KnownVersion] = self._contents.get(link.base, {})
        if link.base_digest is None:
            return list(contents.values())
        found = contents.get(link.base_digest)
        return [] if found is None else [found]


def deltas_text(versions: Sequence[Version]) -> str:
    """Say which versions are deltas on another one; empty if none is."""
    if not versions:
        return ""
    are = "is a delta" if len(versions) == 1 else "are deltas"
    return f"{runs_text(versions)} {are} on it"


def runs_text(versions: Iterable[Version]) -> str:
    """Return version numbers for people: ``43 to 46, 50``; of many runs the first ones."""
    ordered = sorted(set(versions))
    runs = [
        [version for _, version in run]
        for _, run in groupby(enumerate(ordered), lambda each: each[1] - each[0])
    ]
    shown = [_run_text(run) for run in runs[:_RUNS_SHOWN]]
    left = sum(map(len, runs[_RUNS_SHOWN:]))
    return ", ".join([*shown, *([f"{left} more"] if left else [])])


def _run_text(run: list[Version]) -> str:
    if len(run) == 1:
        return str(run[0])
    return f"{run[0]} to {run[-1]}" if len(run) > len("ab") else f"{run[0]}, {run[-1]}"
