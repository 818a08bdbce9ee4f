"""Which of several contents of one version is copied: the one that a recovery would take.

A recovery in the background that nobody waits for decides by the same words (``[recovery]
on_conflict``); see ``ckptd.core.stages.rival_choice``. A copy is no reason to choose a content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckptd.model.ids import Digest
from ckptd.model.words import OnConflict


@dataclass(frozen=True, slots=True)
class Content:
    """One content that goes by a version.

    Attributes:
        digest: Its identity.
        is_own: This node published it, or a job recovered it here.
        is_trusted: Somebody whose signatures count signed it.
        proven_count: How many nodes showed that they have it.
    """

    digest: Digest
    is_own: bool
    is_trusted: bool
    proven_count: int


def content_to_copy(contents: Sequence[Content], on_conflict: OnConflict) -> Digest | None:
    """Return which content is meant; ``None``: that is not known, and a person has to say it.

    Args:
        contents: All that go by the version, one or more.
        on_conflict: What counts where nothing else says which is meant.
    """
    if len(contents) == 1:
        return contents[0].digest
    seen = [each for each in contents if each.is_own or each.proven_count]
    seen = [each for each in seen if each.is_trusted] or seen
    seen = [each for each in seen if each.is_own] or seen
    if len(seen) == 1:
        return seen[0].digest
    if seen and on_conflict is OnConflict.MOST_HOLDERS:
        return min(seen, key=lambda each: (-each.proven_count, each.digest)).digest
    return None
