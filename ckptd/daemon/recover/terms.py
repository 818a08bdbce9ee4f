"""On what terms this node takes versions in: how long they may be, with which modes, and whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ckptd.config.sections import RecoverySection
from ckptd.daemon.settings.recovered_owner import said_of
from ckptd.errors import StorageError
from ckptd.model.quantities import format_size
from ckptd.store.trees.ownership import Owner


class RootTerms(NamedTuple):
    """What the configuration says of everything that is recovered into one root.

    Attributes:
        mode_max: No file gets mode bits beyond these.
        owner: Whose it becomes; ``None``: it stays the daemon's.
    """

    mode_max: int
    owner: Owner | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of everything that is recovered.

    Attributes:
        version_bytes_max: The longest version, holes included.
        by_root: What counts in each root.
    """

    version_bytes_max: int
    by_root: Mapping[str, RootTerms]

    @classmethod
    def of(cls, recovery: RecoverySection, owners: Mapping[str, Owner | None]) -> Terms:
        """Take from the configuration what counts.

        Args:
            recovery: Its section.
            owners: Whose what it says becomes, for each root.
        """
        return cls(
            recovery.version_max_bytes,
            {
                root: RootTerms(int(said_of(recovery, root)[1].mode, 8), owner)
                for root, owner in owners.items()
            },
        )

    def size_problem(self, size_bytes: int) -> str:
        """Return why a version of so many bytes is not recovered; empty if it is."""
        if size_bytes <= self.version_bytes_max:
            return ""
        size, most = format_size(size_bytes), format_size(self.version_bytes_max)
        return f"has {size}, holes included, more than recovery.version_max = {most}"

    def check_size(self, subject: str, size_bytes: int) -> None:
        """Refuse a version that is too long, before anything is made for it.

        Raises:
            StorageError: It is.
        """
        problem = self.size_problem(size_bytes)
        if problem:
            remedy = "Raise recovery.version_max and start the daemon again if that is right."
            raise StorageError(subject, problem, remedy)
