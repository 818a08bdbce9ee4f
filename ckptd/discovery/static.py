"""The peers that the configuration lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Discovery(Protocol):
    """Somebody who knows where peers may be."""

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses known now, each as ``host:port``, in a stable order."""
        ...


@dataclass(frozen=True, slots=True)
class StaticDiscovery:
    """A list that never changes."""

    peers: tuple[str, ...]

    def addresses(self) -> tuple[str, ...]:
        """Return the list."""
        return self.peers
