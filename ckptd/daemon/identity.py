"""The identity that the configuration names, and its files while they change."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from ckptd.config import Config
from ckptd.net.identity import Files, Identity

_REFRESH_S: Final = 60.0
"""How often is looked whether files changed."""


def open_identity(config: Config) -> Identity | None:
    """Return who this node is to its peers; ``None`` if they talk in plaintext.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    tls = config.tls
    if tls is None:
        return None
    credentials = config.environment.get("CREDENTIALS_DIRECTORY", "").rstrip("/")
    files = Files(tls.ca, tls.certificate, tls.key, tls.revoked, credentials or None)
    return Identity(config.node.id, files, wall_clock=time.time)  # noqa: TID251  for warnings


async def keep_fresh(identity: Identity) -> None:
    """Notice new certificates, and those that will not be valid for long, until cancelled."""
    while True:
        await asyncio.sleep(_REFRESH_S)
        await asyncio.to_thread(identity.refresh)
