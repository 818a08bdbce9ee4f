"""Where something listens: a host and a port."""

from __future__ import annotations

from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
"""Host and port."""


def format_address(host: str, port: int) -> str:
    """Write an address as people do: ``node-a:7421``, ``[::1]:7421``.

    Args:
        host: A name or an IP address, without brackets.
        port: The port.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
