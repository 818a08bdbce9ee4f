"""Links that lead to the active version of a checkpoint."""

from __future__ import annotations

import msgspec


class ActivateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let the link of a checkpoint, or of a job, lead to a version; or take it away.

    Attributes:
        checkpoint: Whose link.
        version: Which version; ``None`` with ``takes_away``, and only then.
        place: Absolute path of the directory that is meant if it stands in several; ``None``: it
            is clear.
        allow_partial: Also to a version that lacks required units.
        takes_away: Take the link away, in each root; versions stay.
    """

    checkpoint: str
    version: int | None = None
    place: str | None = None
    allow_partial: bool = False
    takes_away: bool = False


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """The link of a checkpoint in one root.

    Attributes:
        checkpoint: Whose it is.
        link: Its absolute path.
        version: Which version it leads to; ``None``: it was taken away.
        digest: Digest of its manifest; ``None`` also of shards of a job.
        directory: Where it leads to; ``None``: nowhere.
        version_before: Which version it led to before; ``None``: there was none.
        is_new: It changed; else it led there already.
        swap_s: How long it took from the first change of the link until that was durable.
        left: What else has its name and was left there when it was to be taken away; empty if
            nothing has.
    """

    checkpoint: str
    link: str
    version: int | None
    digest: str | None
    directory: str | None
    version_before: int | None
    is_new: bool
    swap_s: float = 0.0
    left: str = ""


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of links.

    Attributes:
        links: One if a version became active; of links that were taken away, each.
    """

    links: tuple[LinkRow, ...]
