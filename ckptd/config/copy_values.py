"""Keys of ``[copies]``: of which checkpoints copies are kept, how many, who is in which zone."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Final

import msgspec

from ckptd.config.document import Key
from ckptd.config.values import patterns, root_name
from ckptd.copies.counts import COPY_COUNT_MAX, KEEP_MAX, CopyCounts, CopyRule
from ckptd.copies.ordering import check_pair
from ckptd.copies.zones import Zone, parse_zone
from ckptd.errors import UsageError
from ckptd.limits import DAY_S, KEEPS_CHARACTERS_MAX, KEEPS_MAX, SECOND
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.quantities import parse_duration, parse_size
from ckptd.model.toml_text import flag, text

GRACE_S_MAX: Final = 7 * DAY_S


def kept_names(value: object) -> tuple[str, ...]:
    """Read the patterns of the checkpoints of which copies are kept.

    Raises:
        UsageError: It is no list of patterns, or too long.
    """
    names = patterns(value)
    if len(names) > KEEPS_MAX or any(len(each) > KEEPS_CHARACTERS_MAX for each in names):
        raise UsageError(
            "",
            f"is more than {KEEPS_MAX} patterns of {KEEPS_CHARACTERS_MAX} characters",
            "Write wider ones; '*' matches '/' too.",
        )
    return names


def _root(name: str) -> str | None:
    return root_name(name) if name else None


def _quota(size: str) -> int | None:
    return parse_size(size) if size else None


def _grace(duration: str) -> float:
    """Read a time of grace, in seconds.

    Raises:
        UsageError: No duration, or out of bounds.
    """
    seconds = parse_duration(duration) / SECOND
    if not 1 <= seconds <= GRACE_S_MAX:
        raise UsageError(f"{duration[:40]!r}", f"is not 1 s to {GRACE_S_MAX // DAY_S} d")
    return seconds


def _pair(step: str) -> str | None:
    return check_pair(step) if step else None


def _count(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError("", f"is not {least} to {most}")
    return value


def _first_count(value: object) -> int:
    return _count(value, 1, COPY_COUNT_MAX)


def _further_count(value: object) -> int:
    return _count(value, 0, COPY_COUNT_MAX)


def _kept_newest(value: object) -> int:
    return _count(value, 1, KEEP_MAX)


def zone_or_none(zone: str) -> str | None:
    """Check a zone; nothing stands for one that is not known.

    Raises:
        UsageError: It is none.
    """
    return zone if parse_zone(zone) else None


class CheckpointCopies(msgspec.Struct, frozen=True, kw_only=True):
    """What counts for some checkpoints, in place of the same keys of ``[copies]``."""

    critical: int
    normal: int
    deferred: int
    keep: int
    compress: bool = False


class CopiesSection(msgspec.Struct, frozen=True, kw_only=True):
    """Of what this node keeps copies for the others; the default keeps none.

    Attributes:
        names: Patterns of the checkpoints that are listed; nothing else moves.
        root: The name of the root for copies; ``None``: there is none, as without names.
        quota_bytes: How much copies may take there; likewise.
        critical: How many nodes are to have the critical units of a version.
        normal: … the normal ones.
        deferred: … the deferred ones.
        keep: Of so many of the newest whole versions of each checkpoint.
        compress: Units of copies are kept compressed here where that makes them shorter.
        grace_s: So long a holder that is lost counts, and one that is chosen may do nothing.
        pair: How the first holder is found, ``+n/2``; ``None``: as the others.
        checkpoints: For what the counts are others, by pattern.
        zones: Which nodes are in which zone, by patterns of their ids.
    """

    names: Annotated[tuple[str, ...], Key(kept_names)] = ()
    root: Annotated[str | None, Key(text(_root))] = None
    quota_bytes: Annotated[int | None, Key(text(_quota))] = msgspec.field(
        default=None, name="quota"
    )
    critical: Annotated[int, Key(_first_count)] = 3
    normal: Annotated[int, Key(_further_count)] = 2
    deferred: Annotated[int, Key(_further_count)] = 1
    keep: Annotated[int, Key(_kept_newest)] = 2
    compress: Annotated[bool, Key(flag)] = False
    grace_s: Annotated[float, Key(text(_grace))] = msgspec.field(default=600.0, name="grace")
    pair: Annotated[str | None, Key(text(_pair))] = None
    checkpoints: Mapping[str, CheckpointCopies] = {}
    zones: Mapping[str, tuple[str, ...]] = {}

    @property
    def is_on(self) -> bool:
        """This node keeps copies of something."""
        return bool(self.names)

    @property
    def grace_ns(self) -> int:
        """The time of grace as a decision takes it."""
        return int(self.grace_s * SECOND)

    def lists(self, name: CheckpointName) -> bool:
        """Tell whether this node keeps copies of a checkpoint."""
        return any(fnmatchcase(name, each) for each in self.names)

    def rule_of(self, name: CheckpointName) -> CopyRule | None:
        """Return what is asked for of a checkpoint; ``None`` if this node does not list it."""
        values = self._values_of(name)
        return None if values is None else copy_rule(values)

    def compresses(self, name: CheckpointName) -> bool:
        """Tell whether copies of a checkpoint are kept compressed here."""
        values = self._values_of(name)
        return values is not None and values.compress

    def _values_of(self, name: CheckpointName) -> CopiesSection | CheckpointCopies | None:
        """Return what counts for a checkpoint; ``None`` if this node does not list it."""
        if not self.lists(name):
            return None
        for each, special in self.checkpoints.items():
            if fnmatchcase(name, each):
                return special
        return self

    def counts_of(self, name: CheckpointName) -> CopyCounts | None:
        """Return how many copies are asked for; ``None`` if this node does not list it."""
        rule = self.rule_of(name)
        return None if rule is None else rule.counts

    def zone_of(self, node: NodeId) -> Zone | None:
        """Return the zone of another node; ``None`` if nothing is said of it here."""
        for zone, nodes in self.zones.items():
            if any(fnmatchcase(node, each) for each in nodes):
                return parse_zone(zone)
        return None


def copy_rule(values: CopiesSection | CheckpointCopies) -> CopyRule:
    """Return what is asked for by a section, or by what counts for some checkpoints.

    Raises:
        UsageError: A class has more copies than a more urgent one.
    """
    return CopyRule(CopyCounts(values.critical, values.normal, values.deferred), values.keep)
