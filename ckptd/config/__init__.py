"""The configuration of the daemon, and the only reader of the environment.

:func:`load_config` is a pure check: it opens the file, those of ``conf.d`` beside it, and nothing
else. A directory that does not exist is a matter for whoever opens it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ckptd.config.addresses import Address, is_loopback, parse_address, parse_peer
from ckptd.config.copies import check_copies, read_copies
from ckptd.config.document import Document
from ckptd.config.jobs import read_jobs
from ckptd.config.launcher import shard_of_launcher
from ckptd.config.layers import read_layers
from ckptd.config.policies import read_policies
from ckptd.config.rates import read_limits
from ckptd.config.recover_tables import read_recover_tables
from ckptd.config.recovered import read_recovery
from ckptd.config.retained import read_retention
from ckptd.config.sections import DEFAULT_SOCKET, ENVIRONMENT, Config, TlsSection
from ckptd.config.values import Advertised, absolute_path, root_name
from ckptd.config.watched import read_watches
from ckptd.model.shards import Shard
from ckptd.model.toml_text import text

__all__ = [
    "Address",
    "Advertised",
    "Config",
    "default_socket_path",
    "is_within",
    "launched_shard",
    "load_config",
    "load_stated",
    "parse_address",
    "parse_peer",
]


def load_config(path: str, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check the configuration.

    Args:
        path: The TOML file.
        environ: Where the variables of :data:`ENVIRONMENT`, and those that set a key, come from;
            the environment of the process if ``None``.

    Raises:
        ConfigurationError: It cannot be used; the subject names file and key.
    """
    return load_stated(path, environ)[0]


def load_stated(
    path: str, environ: Mapping[str, str] | None = None
) -> tuple[Config, Mapping[str, str]]:
    """Read and check the configuration, and say where each key stands that is not a default.

    Args:
        path: The TOML file.
        environ: See :func:`load_config`.

    Raises:
        ConfigurationError: It cannot be used; the subject names file and key.
    """
    environ = os.environ if environ is None else environ
    layers = read_layers(path, environ)
    document = Document(path, layers.values, layers.stated, environ)
    sections = [field for field in msgspec.structs.fields(Config) if field.name != "environment"]
    document.check_keys("", document.values, [section.name for section in sections])
    read: dict[str, Any] = {}
    for section in sections:
        with document.collecting():
            read[section.name] = _section(document, section)
    document.check()
    config = Config(
        **read, environment={name: environ[name] for name in ENVIRONMENT if name in environ}
    )
    for check in (
        _check_transport,
        _check_signatures,
        _check_overlaps,
        _check_watches,
        _check_ports,
        check_copies,
    ):
        with document.collecting():
            check(document, config)
    document.check()
    return config, layers.stated


def default_socket_path(environ: Mapping[str, str] | None = None) -> str:
    """Return where ``ckptctl`` looks for the daemon: ``$CKPTD_SOCKET``, or the default path."""
    environ = os.environ if environ is None else environ
    return environ.get("CKPTD_SOCKET") or DEFAULT_SOCKET


def launched_shard(environ: Mapping[str, str] | None = None, *, option: str = "--shard") -> Shard:
    """Return which shard of a job this process saves, by what its launcher says.

    Args:
        environ: Where launchers say it; the environment of the process if ``None``.
        option: With what a person says it.

    Raises:
        UsageError: No launcher says so, or what it says cannot be.
    """
    return shard_of_launcher(os.environ if environ is None else environ, option)


def _roots(document: Document) -> dict[str, str]:
    table = document.table("roots")
    if not table:
        document.fail("roots", "names no directory", 'Write NAME = "/path" below [roots].')
    roots: dict[str, str] = {}
    for name, value in table.items():
        with document.collecting():
            document.parse(f"roots.{name[:64]!r}", name, text(root_name))
            roots[name] = document.parse(f"roots.{name}", value, text(absolute_path))
    return roots


def _section(document: Document, section: msgspec.structs.FieldInfo) -> object:
    """Read a section: most of them key by key, as their fields say."""
    if section.name in _READERS:
        return _READERS[section.name](document)
    if section.name == "tls":
        return document.section("tls", TlsSection) if "tls" in document.values else None
    return document.section(section.name, section.type)


_READERS: Final[Mapping[str, Callable[[Document], object]]] = {
    "roots": _roots,
    "limits": read_limits,
    "policy": read_policies,
    "watch": read_watches,
    "recover": read_recover_tables,
    "recovery": read_recovery,
    "jobs": read_jobs,
    "retention": read_retention,
    "copies": read_copies,
}
"""Of sections that are more than their keys."""


def _check_transport(document: Document, config: Config) -> None:
    """Refuse plaintext that nobody asked for, and two answers to one question."""
    if config.transport.insecure and config.tls is not None:
        document.fail("transport.insecure", "contradicts [tls]", "Remove one of them.")
    is_secure = config.tls is not None or is_loopback(config.listen.data.host)
    if not is_secure and not config.transport.insecure:
        document.fail(
            "transport.insecure",
            f"must be written out as true: {config.listen.data} can be reached from elsewhere, "
            "and there is no [tls]",
            "'ckptctl tls' makes certificates. Or write insecure = true if only machines you "
            "trust can reach listen.data.",
        )


def _check_signatures(document: Document, config: Config) -> None:
    """Refuse a demand that nothing can meet."""
    if config.signatures.require and config.signatures.trusted is None:
        document.fail(
            "signatures.require",
            "can never be met: there are no trusted keys",
            "Name their file in signatures.trusted.",
        )


def _check_ports(document: Document, config: Config) -> None:
    """Refuse one port for two listeners."""
    if config.listen.metrics == config.listen.data and config.listen.data.port:
        document.fail(
            "listen.metrics", f"is {config.listen.data}, as listen.data", "Use another port."
        )


def _check_overlaps(document: Document, config: Config) -> None:
    """Refuse a directory within another one: each has one owner."""
    places = {"node.state_dir": config.node.state_dir}
    for name, path in config.roots.items():
        for other, taken in places.items():
            if is_within(path, taken) or is_within(taken, path):
                with document.collecting():
                    document.fail(
                        f"roots.{name}",
                        f"{path} overlaps {other} = {taken}",
                        "Give each a directory of its own, none inside another.",
                    )
        places[f"roots.{name}"] = path
        if is_within(config.listen.control, path):
            with document.collecting():
                document.fail(
                    "listen.control",
                    f"{config.listen.control} lies in roots.{name}",
                    "Roots are for checkpoints; put the socket below /run.",
                )


def _check_watches(document: Document, config: Config) -> None:
    """Refuse to watch what cannot be published, and one directory for one checkpoint twice."""
    known: set[tuple[str, str]] = set()
    for number, rule in enumerate(config.watch):
        with document.collecting():
            place = f"watch[{number}].directory"
            if not any(is_within(rule.directory, path) for path in config.roots.values()):
                document.fail(place, f"{rule.directory} is in no root", "Roots stand in [roots].")
            if (rule.directory, rule.checkpoint) in known:
                document.fail(place, f"{rule.directory} is watched for {rule.checkpoint} already")
            known.add((rule.directory, rule.checkpoint))


def is_within(path: str, directory: str) -> bool:
    """Tell whether a normal path is a directory or lies below it."""
    return f"{path}/".startswith(directory.rstrip("/") + "/")
