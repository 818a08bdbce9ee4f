"""The identity that the configuration names, and its files while they change."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from ckptd.config import Config
from ckptd.config.sections import Tls
from ckptd.daemon.settings.reloading import LivePart, Switch
from ckptd.errors import ConfigurationError
from ckptd.net.connection.identity import Files, Identity

_REFRESH_S: Final = 60.0
"""How often is looked whether files changed."""


def open_identity(config: Config) -> Identity | None:
    """Return who this node is to its peers; ``None`` if they talk in plaintext.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if config.tls is None:
        return None
    wall_clock = time.time  # noqa: TID251  for warnings
    return Identity(config.node.id, _files(config, config.tls), wall_clock=wall_clock)


def following(identity: Identity | None) -> tuple[LivePart, ...]:
    """Return what lets an identity follow the configuration; nothing without certificates."""
    if identity is None:
        return ()

    def prepare(_: Config, new: Config) -> Switch:
        if new.tls is None:
            raise ConfigurationError(
                "tls", "was taken out", "Restart the daemon to talk in plaintext from then on."
            )
        return identity.prepare(_files(new, new.tls))

    return (LivePart(("tls",), prepare),)


async def keep_fresh(identity: Identity) -> None:
    """Notice new certificates, and those that will not be valid for long, until cancelled."""
    while True:
        await asyncio.sleep(_REFRESH_S)
        await asyncio.to_thread(identity.refresh)


def _files(config: Config, tls: Tls) -> Files:
    credentials = config.environment.get("CREDENTIALS_DIRECTORY", "").rstrip("/")
    return Files(tls.ca, tls.certificate, tls.key, tls.revoked, credentials or None)
