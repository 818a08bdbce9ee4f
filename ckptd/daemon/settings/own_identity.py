"""The identity that the configuration names, and its files while they change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final

from ckptd.config import Config
from ckptd.config.copies import zone_of
from ckptd.config.sections import TlsSection
from ckptd.copies.zones import Zone, parse_zone
from ckptd.core.events import IdentityJudged
from ckptd.daemon.host.off_loop import facts_of
from ckptd.daemon.settings.reloading import LivePart, Switch
from ckptd.errors import ConfigurationError
from ckptd.model.ids import NodeId
from ckptd.model.words import HandshakeFailure, HandshakeSide
from ckptd.net.connection.certificates import unreadable
from ckptd.net.connection.identity import Files, Identity
from ckptd.observe.logs import get_logger
from ckptd.observe.metrics import MetricGroup, MetricRow, counters, gauges
from ckptd.store.files.permission import user_name

_FILES_LOOK_S: Final = 60.0
"""How often is looked whether files changed."""
_VALIDITY_LOOK_S: Final = 2.0
"""How often is looked whether the certificate is valid: a comparison of two numbers."""

_log = get_logger()

HANDSHAKE_METRICS: Final[Sequence[MetricRow[Mapping[tuple[str, str], int]]]] = (
    counters(
        "handshake_failures",
        "TLS handshakes that failed, by what this node was in them and why.",
        ("side", "reason"),
        lambda failures: failures,
        product(
            (side.value for side in HandshakeSide), (failure.value for failure in HandshakeFailure)
        ),
    ),
)
CERTIFICATE_METRICS: Final[Sequence[MetricRow[Mapping[str, float]]]] = (
    gauges(
        "tls_certificate_not_after_timestamp_seconds",
        "When the certificate expires, in seconds since the epoch.",
        ("role",),
        lambda not_after_s: not_after_s,
        ("node", "ca"),
    ),
    gauges(
        "tls_certificate_not_after_seconds",
        "Old name of ckptd_tls_certificate_not_after_timestamp_seconds, for this release.",
        ("role",),
        lambda not_after_s: not_after_s,
        ("node", "ca"),
    ),
)


def open_identity(config: Config) -> Identity | None:
    """Return who this node is to its peers; ``None`` if they talk in plaintext.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if config.tls is None:
        return None
    files = _files(config, config.tls)
    if errors := list(unreadable(files, user_name())):
        raise ConfigurationError.of(errors)
    wall_clock = time.time  # noqa: TID251  for warnings
    zone = parse_zone(config.node.zone or "")
    return Identity(config.node.id, files, zone, wall_clock=wall_clock)


def known_zone(config: Config, identity: Identity | None, node: NodeId) -> Zone:
    """Return in which zone a node is, this one or another; ``()``: not known.

    That is what this node's configuration says, else what the node's certificate says, and never
    what the node says itself.
    """
    configured = zone_of(config, node)
    if configured or identity is None:
        return configured or ()
    return identity.zone if node == identity.node else identity.certified_zone(node) or ()


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


def identity_metrics(identity: Identity | None) -> tuple[MetricGroup[Any], ...]:
    """Return the rows of an identity; without certificates none of them expires."""
    if identity is None:
        return (MetricGroup(dict, HANDSHAKE_METRICS),)
    return (
        MetricGroup(lambda: identity.handshakes.failures, HANDSHAKE_METRICS),
        MetricGroup(lambda: identity.not_after_s, CERTIFICATE_METRICS),
    )


async def keep_fresh(identity: Identity) -> None:
    """Notice new certificates, and those that will not be valid for long, until cancelled."""
    while True:
        await asyncio.sleep(_FILES_LOOK_S)
        await look_again(identity)


async def look_again(identity: Identity) -> None:
    """Have an identity's files read again if they are not what they were, and warn of expiry."""
    try:
        facts = [await facts_of(path) for path in identity.paths]
    except OSError:
        facts = []  # what is wrong is said by who reads them
    if identity.is_of(facts):
        identity.warn_of_expiry()
    else:  # the library reads keys by their paths, and hands are shaken to try them
        await asyncio.to_thread(identity.refresh)


async def watch_validity(identity: Identity, report: Callable[[IdentityJudged], None]) -> None:
    """Report when this node's certificate begins or ceases to be valid, until cancelled.

    Either can happen at any moment: clocks are set.
    """
    known = ""
    while True:
        trouble = identity.trouble()
        if trouble != known:
            known = trouble
            if trouble:
                _log.warning("certificate.outside_its_time", why=trouble)
            else:
                _log.info("certificate.valid")
            report(IdentityJudged(trouble))
        await asyncio.sleep(_VALIDITY_LOOK_S)


def _files(config: Config, tls: TlsSection) -> Files:
    credentials = config.environment.get("CREDENTIALS_DIRECTORY", "").rstrip("/")
    return Files(tls.ca, tls.certificate, tls.key, tls.revoked, credentials or None)
