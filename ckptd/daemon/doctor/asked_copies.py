"""Whether there are as many copies as ``[copies]`` asks for, and whether there can be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ckptd.config import Config
from ckptd.config.copy_values import CopiesSection
from ckptd.control.messages.copies import CopiedVersion, CopiesView
from ckptd.control.messages.observation import CheckRow
from ckptd.copies.fleet import FREE_SHARE
from ckptd.copies.zones import parse_zone, zone_text
from ckptd.daemon.doctor.rows import failed, passed, warned
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.model.quantities import format_size
from ckptd.model.words import CopiesState
from ckptd.store.files.roots import Roots

_NAMED_MAX: Final = 10
_CHECK: Final = "copies"
_LOOK: Final = "'ckptctl copies -o wide' says who holds what."


async def look_at_asked_copies(
    config: Config,
    roots: Roots,
    view: Callable[[], Awaitable[CopiesView]],
    known_names: Callable[[], Collection[CheckpointName]],
) -> AsyncGenerator[CheckRow, None]:
    """Yield what is short of the copies that are asked for, and what keeps it so.

    Args:
        config: What this node lists.
        roots: Where copies go.
        view: Returns which copies there are.
        known_names: Returns the checkpoints that this node or a peer has something of.
    """
    section = config.copies
    if not section.is_on:
        return
    found = await view()
    for row in _judge_room(section, roots, found):
        yield row
    for row in (
        *_judge_names(section, known_names()),
        *_judge_zones(config, found),
        *_judge_counts(section, found),
        *_judge_versions(found),
    ):
        yield row


def _judge_room(section: CopiesSection, roots: Roots, found: CopiesView) -> Iterator[CheckRow]:
    """Judge whether this node can take copies."""
    assert section.root is not None
    root, quota_bytes = roots[section.root], section.quota_bytes or 0
    subject = f"root {root.name}"
    obstacle = root.obstacle() or found.obstacle
    if obstacle:
        yield failed(
            _CHECK, subject, f"takes no copies: {obstacle}", "Put that right: see the check disk."
        )
        return
    used = f"{format_size(found.used_bytes)} of {format_size(quota_bytes)} are copies"
    try:
        size_bytes, free_bytes = root.size_bytes(), root.free_bytes()
    except CkptdError as error:
        yield failed(_CHECK, subject, error.problem, error.hint or "Mend the disk.")
        return
    usable_bytes = size_bytes * (FREE_SHARE - 1) // FREE_SHARE
    largest = max(found.versions, key=lambda each: each.size_bytes, default=None)
    if found.is_full or found.used_bytes > quota_bytes:
        is_disk = free_bytes * FREE_SHARE < size_bytes
        why = "less than a tenth of the disk is free" if is_disk else "the quota is used up"
        yield warned(
            _CHECK,
            subject,
            f"takes no more copies: {used}, and {why}",
            "Make room on that disk." if is_disk else "Raise [copies] quota, or list fewer names.",
        )
    elif largest is not None and largest.size_bytes > quota_bytes:
        yield warned(
            _CHECK,
            subject,
            f"{used}, and {largest.checkpoint}@{largest.version} with "
            f"{format_size(largest.size_bytes)} is larger than that: all of it is never kept here",
            "Raise [copies] quota, or list fewer names.",
        )
    elif quota_bytes > usable_bytes:
        yield warned(
            _CHECK,
            subject,
            f"{used}, but the disk has room for {format_size(usable_bytes)}: a tenth stays free",
            "Set [copies] quota to what there is.",
        )
    else:
        yield passed(_CHECK, subject, used)


def _judge_names(section: CopiesSection, known: Collection[CheckpointName]) -> Iterator[CheckRow]:
    """Name patterns that match nothing: copies of what was mistyped are kept nowhere."""
    for pattern in section.names:
        if not any(fnmatchcase(name, pattern) for name in known):
            yield warned(
                _CHECK,
                f"[copies] names {pattern}",
                "matches no checkpoint that is known here or at a peer that answers",
                "'ckptctl checkpoints' lists what is known.",
            )
    listed = [name for name in known if section.lists(name)]
    for pattern in section.checkpoints:
        if not any(fnmatchcase(name, pattern) for name in listed):
            yield warned(
                _CHECK,
                f"[copies.checkpoints] {pattern}",
                "matches no checkpoint that is known and listed in [copies] names",
                "'ckptctl checkpoints' lists what is known.",
            )


def _judge_zones(config: Config, found: CopiesView) -> Iterator[CheckRow]:
    """Judge whether it is known what fails together, where that matters."""
    section = config.copies
    listed = section.zone_of(config.node.id)
    if listed is not None and config.node.zone is not None:
        own = parse_zone(config.node.zone)
        if own != listed:
            yield warned(
                _CHECK,
                "this node",
                f"is in {zone_text(own)} by node.zone and in {zone_text(listed)} by [copies.zones]",
                "Nodes with the same [copies.zones] take it for the latter: make them one.",
            )
    if _most_asked(section) < 2:  # noqa: PLR2004  a single copy is in one zone
        return
    if not found.zone:
        yield warned(
            _CHECK,
            "this node",
            "is in no known zone, so copies may be where they fail together with it",
            "Set node.zone, or make its certificate with 'ckptctl tls issue --zone'.",
        )
    others = [each.node for each in found.members if not each.zone]
    unknown = [node for node in others if node != config.node.id]
    if unknown:
        yield warned(
            _CHECK,
            f"{len(unknown)} of {len(found.members)} nodes that keep copies",
            f"are in no known zone: {_named(unknown)}",
            "Make their certificates with 'ckptctl tls issue --zone', or list them in "
            "[copies.zones].",
        )
    zones = {each.zone for each in found.members}
    if len(found.members) > 1 and len(zones) == 1 and "" not in zones:
        yield warned(
            _CHECK,
            "zones",
            f"all nodes that keep copies are in {zones.pop()}: lose that, and all copies are lost",
            "Let nodes elsewhere list these names, too.",
        )


def _judge_counts(section: CopiesSection, found: CopiesView) -> Iterator[CheckRow]:
    """Judge whether so many copies can be."""
    most, members = _most_asked(section), len(found.members)
    if found.age_s is None or not found.is_settled or not members:
        return
    if most > members:
        keep = "1 node keeps" if members == 1 else f"{members} nodes keep"
        named = _named([each.node for each in found.members])
        yield warned(
            _CHECK,
            "[copies]",
            f"asks for {most} copies, and {keep} some: {named}",
            "Let more nodes list these names, or ask for fewer copies.",
        )
    zones = {each.zone for each in found.members if each.zone}
    if 1 < len(zones) < most <= members:
        yield passed(
            _CHECK,
            "zones",
            f"{most} copies are asked, and those who keep them are in {len(zones)} zones: "
            "some zone has two",
        )


def _judge_versions(found: CopiesView) -> Iterator[CheckRow]:
    """Judge the copies that there are."""
    if found.age_s is None or not found.is_settled:
        yield warned(
            _CHECK,
            "versions",
            "not every peer was heard yet since the start: how many copies there are is not known",
            "Look again in a minute; 'ckptctl peers' says who does not answer.",
        )
        return
    if not (found.versions or found.conflicts):
        yield passed(_CHECK, "versions", "none is known of which copies are asked")
        return
    short = [each for each in found.versions if each.state is CopiesState.UNDER_REPLICATED]
    close = [each for each in found.versions if each.state is CopiesState.TOO_CLOSE]
    for version in (*short, *close)[:_NAMED_MAX]:
        yield _judge_version(version)
    more = found.under_replicated + found.too_close - min(len(short) + len(close), _NAMED_MAX)
    if more > 0:
        yield warned(
            _CHECK, f"{more} more versions", "have fewer copies than asked", "Run 'ckptctl copies'."
        )
    if found.conflicts:
        yield warned(
            _CHECK,
            _named(found.conflicts),
            "have several contents, so no copies are made of them",
            "'ckptctl doctor' names them under conflict; one has to be the right one.",
        )
    if found.unproven:
        yield warned(
            _CHECK,
            f"{found.unproven} version{'s' * (found.unproven != 1)}",
            f"{'has' if found.unproven == 1 else 'have'} enough copies by what nodes say, and not "
            "all of that is proven yet",
            f"Audits take some seconds each: look again. {_LOOK}",
        )
    if not (short or close or found.conflicts or found.unproven or found.left_out):
        yield passed(
            _CHECK,
            f"{found.whole} version{'s' * (found.whole != 1)}",
            f"{'has' if found.whole == 1 else 'have'} all copies that are asked for, proven",
        )


def _judge_version(version: CopiedVersion) -> CheckRow:
    subject = f"{version.checkpoint}@{version.version}"
    counts = [each for each in version.counts if each.state is version.state]
    worst = min(counts, key=lambda each: each.proven - each.asked)
    said = "; ".join(dict.fromkeys(each.why for each in counts if each.why))
    trouble = f"; here: {version.trouble}" if version.trouble else ""
    why = f"{': ' + said if said else ''}{trouble}"
    if version.state is CopiesState.TOO_CLOSE:
        return warned(_CHECK, subject, f"is in too few zones{why}", _LOOK)
    finding = f"{worst.criticality} units have {worst.proven} of {worst.asked} copies{why}"
    if not worst.proven:
        return failed(_CHECK, subject, finding, f"Bring back a node that had them. {_LOOK}")
    return warned(_CHECK, subject, finding, f"That mends itself unless the reason stays. {_LOOK}")


def _most_asked(section: CopiesSection) -> int:
    return max((section.critical, *(each.critical for each in section.checkpoints.values())))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
