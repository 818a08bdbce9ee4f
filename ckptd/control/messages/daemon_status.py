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
        free_bytes: Free bytes on its file system; ``None`` if not known.
        problem: Why it cannot be used; empty if it can.
    """

    name: str
    path: str
    free_bytes: int | None
    problem: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon at one moment.

    Attributes:
        node: Its node id.
        ckptd_version: The version of the program.
        epoch: Which start of the node.
        started_at_s: Unix time.
        uptime_s: Seconds since the start.
        listen: Where it listens.
        roots: The configured directories.
        checkpoints: How many versions this node holds with all required units.
        peers: How many peers are known.
        peers_reachable: How many of them answer.
        recoveries: Those that have not ended.
        event_loop_lag_s: How late the event loop is.
        places: How many places of versions there are here in each state.
        unmet: Why what the configuration asks for (``[[recover]]``) did not come, by checkpoint or
            job.
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
    places: dict[str, int] = {}
    unmet: dict[str, str] = {}


class VersionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the program that the daemon runs."""

    ckptd_version: str


class WhoAmI(msgspec.Struct, frozen=True, kw_only=True):
    """The caller, as the daemon sees it.

    Attributes:
        uid: Its user id.
        user: The name of the user; empty if it has none.
        gids: Ids of its groups when it connected.
        role: ``stranger``, ``viewer``, ``operator`` or ``admin``.
    """

    uid: int
    user: str
    gids: tuple[int, ...]
    role: str


class ReloadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a new configuration changed.

    Attributes:
        applied: Keys whose new value applies now.
        needs_restart: Keys whose new value applies from the next start.
    """

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]
