"""The section ``[retention]``: which versions stay on this node, also by checkpoint."""

from __future__ import annotations

from typing import Final

import msgspec

from ckptd.config.document import Document
from ckptd.config.sections import CheckpointRetention, RetentionSection
from ckptd.config.values import patterns
from ckptd.model.toml_text import kind_of

RULES_MAX: Final = 256


def read_retention(document: Document) -> RetentionSection | None:
    """Read the section; ``None`` if it cannot be used, which is kept.

    Raises:
        ConfigurationError: It is no table.
    """
    section = document.section("retention", RetentionSection)
    default = section or RetentionSection()
    rules = document.named_tables(
        "retention.checkpoints",
        '"PATTERN"',
        lambda pattern, values: _read_rule(document, pattern, values, default),
        most=RULES_MAX,
    )
    return section and msgspec.structs.replace(section, checkpoints=rules)


def _read_rule(
    document: Document, pattern: str, values: object, default: RetentionSection
) -> CheckpointRetention:
    """Read what counts for some checkpoints; what it does not say counts as for all."""
    place = f"retention.checkpoints.{pattern[:64]}"
    document.parse(place, [pattern], patterns)
    if not isinstance(values, dict):
        document.fail(
            place, f"is {kind_of(values)}, not a table", 'Put quotes around the pattern: "llama/*".'
        )
    return document.special(place, values, CheckpointRetention, default)
