"""On what terms this node takes versions in: how long they may be, with which modes, and whose."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.errors import StorageError
from ckptd.model.quantities import format_size
from ckptd.store.trees.ownership import Owner


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of everything that is recovered.

    Attributes:
        version_bytes_max: The longest version, holes included.
        mode_max: No file gets mode bits beyond these.
        owner: Whose it becomes; ``None``: it stays the daemon's.
    """

    version_bytes_max: int
    mode_max: int
    owner: Owner | None

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
