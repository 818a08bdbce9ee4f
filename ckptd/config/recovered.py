"""The section ``[recovery]``: what a recovery may use, and whose it becomes, also by root."""

from __future__ import annotations

import msgspec

from ckptd.config.document import Document
from ckptd.config.sections import RecoverySection, RootRecovery
from ckptd.model.toml_text import kind_of


def read_recovery(document: Document) -> RecoverySection | None:
    """Read the section; ``None`` if it cannot be used, which is kept.

    Raises:
        ConfigurationError: It is no table.
    """
    section = document.section("recovery", RecoverySection)
    default = section or RecoverySection()
    roots = document.named_tables(
        "recovery.roots", "NAME", lambda root, values: _read_root(document, root, values, default)
    )
    return section and msgspec.structs.replace(section, roots=roots)


def _read_root(
    document: Document, root: str, values: object, default: RecoverySection
) -> RootRecovery:
    """Read what counts for one root; what it does not say counts as for all."""
    place = f"recovery.roots.{root[:64]}"
    known = document.table("roots")
    if root not in known:
        document.fail(place, "is no root", f"Known: {', '.join(known)}.")
    if not isinstance(values, dict):
        document.fail(place, f"is {kind_of(values)}, not a table", f"Begin it with [{place}].")
    return document.special(place, values, RootRecovery, default)
