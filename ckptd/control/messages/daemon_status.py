"""The daemon itself: what it is, who asks it, what a new configuration changed."""

from __future__ import annotations

import msgspec

from ckptd.control.messages.running_recoveries import RecoveryView


class ListenAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens.

    Attributes:
        data: ``HOST:PORT`` for peers.
        metrics: ``HOST:PORT`` for Prometheus; ``None`` if switched off.
        control: Path of the control socket.
    """

    data: str
    metrics: str | None
    control: str


class RootRow(msgspec.Struct, frozen=True, kw_only=True):
    """A configured directory.

    Attributes:
        name: Its name in the configuration.
        path: Where it is.
        free_bytes: What its file system has left for the daemon; ``None`` if it does not say.
        problem: Why it cannot be used; empty if it can.
    """

    name: str
    path: str
    free_bytes: int | None
    problem: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon at one moment.

    Attributes:
        node: Who it is.
        ckptd_version: What it runs.
        epoch: Which life of the node.
        started_at_s: Unix time.
        uptime_s: Since then.
        listen: Where it listens.
        roots: The configured directories.
        checkpoints: How many versions this node holds as a whole.
        peers: How many peers are known.
        peers_reachable: How many of them answer.
        recoveries: Those that have not ended.
        event_loop_lag_s: How late the event loop is.
    """

    node: str
    ckptd_version: str
    epoch: int
    started_at_s: float
    uptime_s: float
    listen: ListenAddresses
    roots: tuple[RootRow, ...]
    checkpoints: int
    peers: int
    peers_reachable: int
    recoveries: tuple[RecoveryView, ...]
    event_loop_lag_s: float


class VersionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon runs."""

    ckptd_version: str


class WhoAmI(msgspec.Struct, frozen=True, kw_only=True):
    """The caller, as the daemon sees it.

    Attributes:
        uid: Its user.
        user: The name of that; empty if it has none.
        gids: Its groups when it connected.
        role: ``stranger``, ``viewer``, ``operator`` or ``admin``.
    """

    uid: int
    user: str
    gids: tuple[int, ...]
    role: str


class ReloadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a new configuration changed.

    Attributes:
        applied: Keys that have a new value now.
        needs_restart: Keys that have one in the file, which counts from the next start.
    """

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]
