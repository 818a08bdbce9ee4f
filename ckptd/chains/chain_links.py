"""What the manifest of a delta version says of the version that it stands on.

Three annotations, and nothing that a reader must know: who does not know them keeps and serves the
version like any other. ``chain.base-digest`` is there if the publisher had exactly one content of
the base version when it published. A publisher may write anything there: it is a claim, and what
is made of a chain is checked by the sums of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import VERSION_MAX
from ckptd.model.ids import CheckpointName, Digest, Version, parse_checkpoint_name, parse_digest

BASE: Final = "chain.base"
BASE_DIGEST: Final = "chain.base-digest"
ENCODING: Final = "chain.encoding"
MADE_OF: Final = "chain.of"
"""Of a materialised copy: the digest of the delta version that it was made of."""

_COPY_SUFFIX: Final = ".full"
_NUMBER: Final = re.compile(rf"[0-9]{{1,{len(str(VERSION_MAX))}}}", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChainLink:
    """What a delta version stands on.

    Attributes:
        base: The base version, of the same name.
        base_digest: Which content of it; ``None``: the publisher did not have it.
        encoding: How it is encoded, a word for people.
    """

    base: Version
    base_digest: Digest | None = None
    encoding: str = ""


def link_of(annotations: Mapping[str, str], version: int) -> ChainLink | None:
    """Return what a version stands on by its manifest.

    Args:
        annotations: Of the manifest.
        version: Which version it is.

    Returns:
        ``None`` if it is no delta version, or says what cannot be: a base that is no earlier
        version of the same name.
    """
    number = annotations.get(BASE, "")
    if not _NUMBER.fullmatch(number) or not int(number) < version:
        return None
    encoding = annotations.get(ENCODING, "")
    return ChainLink(
        Version(int(number)),
        _digest(annotations.get(BASE_DIGEST)),
        encoding if _WORD.fullmatch(encoding) else "",
    )


def annotations_of(link: ChainLink) -> dict[str, str]:
    """Return the annotations that say what a version stands on."""
    said = {BASE: str(link.base), BASE_DIGEST: link.base_digest or "", ENCODING: link.encoding}
    return {key: value for key, value in said.items() if value}


def copy_name(checkpoint: CheckpointName) -> CheckpointName:
    """Return the name under which materialised copies of a checkpoint's versions are published.

    Raises:
        UsageError: It is too long for a name.
    """
    return parse_checkpoint_name(f"{checkpoint}{_COPY_SUFFIX}")


def made_of(annotations: Mapping[str, str]) -> Digest | None:
    """Return the delta version that a materialised copy was made of; ``None``: it is none."""
    return _digest(annotations.get(MADE_OF))


def _digest(text: str | None) -> Digest | None:
    try:
        return None if text is None else parse_digest(text)
    except UsageError:
        return None
