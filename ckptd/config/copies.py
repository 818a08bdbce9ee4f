"""The section ``[copies]``, also by checkpoint, and what must hold of it beside the others."""

from __future__ import annotations

from typing import Final

import msgspec

from ckptd.config.copy_values import CheckpointCopies, CopiesSection, copy_rule
from ckptd.config.document import Document
from ckptd.config.sections import Config
from ckptd.config.values import patterns
from ckptd.copies.zones import Zone, parse_zone
from ckptd.errors import UsageError
from ckptd.model.ids import NodeId
from ckptd.model.toml_text import kind_of, text

RULES_MAX: Final = 256
ZONES_MAX: Final = 4096


def zone_of(config: Config, node: NodeId) -> Zone | None:
    """Return the zone of any node by this node's configuration; ``None`` if it says nothing."""
    if node == config.node.id and config.node.zone is not None:
        return parse_zone(config.node.zone)
    return config.copies.zone_of(node)


def read_copies(document: Document) -> CopiesSection | None:
    """Read the section; ``None`` if it cannot be used, which is kept.

    Raises:
        ConfigurationError: It is no table.
    """
    section = document.section("copies", CopiesSection)
    default = section or CopiesSection()
    _check_counts(document, "copies", default)
    rules = document.named_tables(
        "copies.checkpoints",
        '"PATTERN"',
        lambda name, values: _read_rule(document, name, values, default),
        most=RULES_MAX,
    )
    zones = document.named_tables(
        "copies.zones",
        "ZONE",
        lambda zone, nodes: _read_zone(document, zone, nodes),
        most=ZONES_MAX,
    )
    return section and msgspec.structs.replace(section, checkpoints=rules, zones=zones)


def check_copies(document: Document, config: Config) -> None:
    """Refuse copies that have no room of their own.

    Raises:
        ConfigurationError: They have none.
    """
    section = config.copies
    if not section.is_on:
        return
    for key, value in (("root", section.root), ("quota", section.quota_bytes)):
        if value is None:
            with document.collecting():
                document.fail(f"copies.{key}", "is missing", "copies.names needs it.")
    if section.root is None:
        return
    if section.root not in config.roots:
        document.fail("copies.root", "is no root", f"Known: {', '.join(config.roots)}.")
    if section.root == next(iter(config.roots)):
        document.fail(
            "copies.root",
            f"{section.root} is the first root, into which recoveries of jobs go",
            "Give copies a root of their own, below the others in [roots].",
        )
    directory = config.roots[section.root]
    for rule in config.watch:
        if f"{rule.directory}/".startswith(f"{directory.rstrip('/')}/"):
            document.fail(
                "copies.root",
                f"{section.root} is watched: {rule.directory}",
                "Jobs save into another root than the one for copies.",
            )


def _check_counts(document: Document, place: str, values: CopiesSection | CheckpointCopies) -> None:
    """Keep that a class has more copies than a more urgent one."""
    with document.collecting():
        try:
            copy_rule(values)
        except UsageError as error:
            raise document.refusal(place, error) from error


def _read_rule(
    document: Document, name: str, values: object, default: CopiesSection
) -> CheckpointCopies:
    """Read what counts for some checkpoints; what it does not say counts as for all."""
    place = f"copies.checkpoints.{name[:64]}"
    document.parse(place, [name], patterns)
    if not isinstance(values, dict):
        document.fail(
            place, f"is {kind_of(values)}, not a table", 'Put quotes around the pattern: "llama/*".'
        )
    rule = document.special(place, values, CheckpointCopies, default)
    _check_counts(document, place, rule)
    return rule


def _read_zone(document: Document, zone: str, nodes: object) -> tuple[str, ...]:
    """Read who is in a zone."""
    place = f"copies.zones.{zone[:64]}"
    document.parse(place, zone, text(parse_zone))
    if not zone:
        document.fail(place, "has no name")
    return document.parse(place, nodes, patterns)
