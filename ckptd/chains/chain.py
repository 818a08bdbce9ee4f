"""Which versions a version needs, and which stand on it: the chains of one checkpoint name.

A base version is always an earlier one, so a chain ends, and nothing here can go round in circles.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
        is_here: All of it stands on this node.
    """

    version: Version
    digest: Digest
    link: ChainLink | None = None
    is_here: bool = True


@dataclass(frozen=True, slots=True)
class Chain:
    """A version and what it stands on, as far as that is known.

    Attributes:
        members: The version itself, then its base, and so on; at least one.
        lacking: The base version of the last member, which is not known, or of which several
            contents are and nothing says which is meant; ``None``: the last member is full.
        lacking_digest: Which content of it, if that is known.
    """

    members: tuple[KnownVersion, ...]
    lacking: Version | None = None
    lacking_digest: Digest | None = None

    @property
    def versions(self) -> tuple[Version, ...]:
        """Which versions are known of it, from the latest on."""
        return tuple(each.version for each in self.members)

    @property
    def deltas(self) -> tuple[KnownVersion, ...]:
        """What has to be applied, the first to apply first."""
        return tuple(each for each in reversed(self.members) if each.link)

    @property
    def full(self) -> KnownVersion | None:
        """The full version at its end; ``None``: that is not known."""
        return self.members[-1] if self.is_whole else None

    @property
    def is_whole(self) -> bool:
        """Every version of it is known, down to a full one."""
        return self.lacking is None

    @property
    def is_here(self) -> bool:
        """Every version of it stands on this node, down to a full one."""
        return self.is_whole and all(each.is_here for each in self.members)


class Series:
    """All that is known of one checkpoint name.

    Args:
        known: The contents, in any order; several of a version are rivals.
    """

    def __init__(self, known: Iterable[KnownVersion]) -> None:
        self._contents: dict[Version, dict[Digest, KnownVersion]] = {}
        for each in known:
            self._contents.setdefault(each.version, {})[each.digest] = each

    def chain(self, digest: Digest, version: Version) -> Chain | None:
        """Return the chain of a version; ``None`` if that is not known.

        Args:
            digest: Which content.
            version: Which version it is of.
        """
        member = self._contents.get(version, {}).get(digest)
        if member is None:
            return None
        members = [member]
        while member.link is not None:
            base = self.base(member.link)
            if base is None:
                return Chain(tuple(members), member.link.base, member.link.base_digest)
            member = base
            members.append(member)
        return Chain(tuple(members))

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
