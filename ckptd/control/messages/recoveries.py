"""What crosses the control socket.

Messages are JSON with the field names below. Fields may be added, never renamed; a reader
ignores fields it does not know, the daemon refuses a request that has any.

A stream is one event a line, distinguished by ``type``: ``progress`` about once a second, and one
last ``result``, or one last ``error`` if there will be no result.

Plans, single peers and units that are prioritized have modules of their own.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from ckptd.control.messages.tuning import SourceTuning
from ckptd.errors import CkptdError, ExitCode
from ckptd.limits import PATIENCE_MAX_S
from ckptd.model.words import FailureCause, Location, PeerState, Result, SourceState, Stage

# Requests. The daemon checks names, versions and paths; here only the types are.


class RecoverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a version complete on this node.

    Attributes:
        checkpoint: What to recover.
        version: Which version; ``None`` for the newest that can be had.
        to: Absolute path of the version's directory; ``None`` for the usual place.
        patience_s: How long blocks that nobody has are waited for; ``None`` for ever.
        is_background: It leaves every source to recoveries that are not and could use it.
    """

    checkpoint: str
    version: int | None = None
    to: str | None = None
    patience_s: Annotated[float, msgspec.Meta(ge=0, le=PATIENCE_MAX_S)] | None = None
    is_background: bool = False


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hash a directory and serve it in place.

    Attributes:
        directory: Absolute path, below a root.
        checkpoint: Name to publish it under.
        version: Which version it is.
        critical: Patterns of the paths that are critical.
        deferred: Patterns of the paths that can wait.
        replace: The version may be held already with other content.
    """

    directory: str
    checkpoint: str
    version: int
    critical: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    replace: bool = False


# Snapshots.


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a recovery.

    Attributes:
        node: Who.
        state: What the recovery does with it.
        bytes: Verified bytes that it gave.
        rate_bytes_per_s: What it delivers at the moment.
        in_flight_bytes: Requested from it and not here yet.
        tuning: What the scheduler works with for it; ``None`` once the recovery has ended.
    """

    node: str
    state: SourceState
    bytes: int
    rate_bytes_per_s: float
    in_flight_bytes: int
    tuning: SourceTuning | None = None


class RecoveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery at one moment.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovers.
        version: Which version; ``None`` until one is chosen.
        digest: Identity of that version.
        target: Directory that the version will stand in.
        stage: How far it is.
        is_paused: An operator paused it.
        units_total: Units of the version; 0 until the manifest is here, as the other totals.
        units_done: Units with every block verified.
        bytes_total: Bytes of the version.
        bytes_verified: Verified and written here, whenever that was.
        bytes_left: What is missing.
        rate_bytes_per_s: Verified bytes per second at the moment.
        eta_s: Seconds until it is complete; ``None`` if that cannot be said.
        waiting_for: Why it stands still, as a sentence without a full stop; empty if it moves.
        missing_blocks: Missing blocks that no reachable source has.
        missing_units: Paths of units with such blocks, at most 20.
        sources: Whom it takes blocks from.
        started_at_s: Unix time.
        elapsed_s: Since then; until its end if it ended.
        is_background: It leaves every source to recoveries that are not and could use it.
        bottleneck: What binds it: ``network``, ``source``, ``disk``, ``cpu``, ``shaper`` or
            ``no source``; ``None`` if nothing is to be hurried.
        lanes: Connections it has.
        transfers: Ranges it has in flight.
        hedges: How often a second source was asked for the same.
        hedged_bytes: Length of those ranges …
        hedge_budget_bytes: … and how long they may be together.
        wasted: Bytes received for nothing, by reason; the labels of the metric.
    """

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    target: str
    stage: Stage
    is_paused: bool
    units_total: int
    units_done: int
    bytes_total: int
    bytes_verified: int
    bytes_left: int
    rate_bytes_per_s: float
    eta_s: float | None
    waiting_for: str
    missing_blocks: int
    missing_units: tuple[str, ...]
    sources: tuple[SourceRow, ...]
    started_at_s: float
    elapsed_s: float
    is_background: bool = False
    bottleneck: str | None = msgspec.field(default=None, name="limiter")
    lanes: int = 0
    transfers: int = 0
    hedges: int = 0
    hedged_bytes: int = 0
    hedge_budget_bytes: int = 0
    wasted: dict[str, int] = {}


class Listen(msgspec.Struct, frozen=True, kw_only=True):
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
    listen: Listen
    roots: tuple[RootRow, ...]
    checkpoints: int
    peers: int
    peers_reachable: int
    recoveries: tuple[RecoveryView, ...]
    event_loop_lag_s: float


class CheckpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version that this node or a peer holds.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Its identity.
        size_bytes: Length of the whole version.
        held: ``here`` if this node holds all of it.
        is_complete: Every block can be had, here or from reachable peers together.
        is_stale: Published here, but its files changed since.
        nodes: Who holds all of it, this node included, sorted.
        directory: Where it stands on this node; ``None`` if it does not.
        units: How many units; ``None`` if the manifest is not here.
        critical_bytes: Bytes of its critical units; ``None`` likewise.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    held: Location
    is_complete: bool
    is_stale: bool
    nodes: tuple[str, ...]
    directory: str | None = None
    units: int | None = None
    critical_bytes: int | None = None


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One known peer.

    Attributes:
        node: Who it says it is; ``None`` until it has answered once.
        address: ``HOST:PORT``.
        state: What is known of it.
        epoch: Which life of that node.
        versions: How many versions it holds a part of.
        rate_bytes_per_s: What it can deliver, as far as is known; 0 if never measured.
        last_error: Why it was last unreachable; empty if it answers.
    """

    node: str | None
    address: str
    state: PeerState
    epoch: int | None
    versions: int
    rate_bytes_per_s: float
    last_error: str = ""


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


# Events of the watch stream.


class RecoveryProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a recovery is."""

    view: RecoveryView


class SourceShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one source gave: verified bytes."""

    node: str
    bytes: int


class RecoveryResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """How a recovery ended.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovered.
        version: Which version; ``None`` if none was chosen.
        digest: Identity of that version.
        result: How it ended.
        is_degraded: Complete but for units that are not critical.
        missing_units: Paths of those, or of what made it fail; at most 20.
        cause: What made it fail.
        message: That as a sentence for a person; empty if it did not fail.
        target: The version's directory.
        bytes_total: Bytes of the version.
        bytes_received: Body bytes that came from sources, wasted ones included.
        bytes_resumed: Bytes that an earlier run or an earlier daemon had verified.
        bytes_wasted: Received for nothing: duplicates and blocks with a wrong digest.
        duration_s: From the request to the end.
        time_to_critical_s: Until every critical unit was verified; ``None`` if that never was,
            or if there is none.
        sources: Who gave how much.
        predicted_duration_s: What was said of ``duration_s`` when transferring began; ``None``:
            the rates of its sources were not known.
        predicted_critical_s: What was said of ``time_to_critical_s`` then.
        wasted: ``bytes_wasted`` by reason.
        happenings: How often each kind of thing happened that ``ckptctl explain`` tells of.
    """

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    result: Result
    is_degraded: bool
    missing_units: tuple[str, ...]
    cause: FailureCause | None
    message: str
    target: str
    bytes_total: int
    bytes_received: int
    bytes_resumed: int
    bytes_wasted: int
    duration_s: float
    time_to_critical_s: float | None
    sources: tuple[SourceShare, ...]
    predicted_duration_s: float | None = None
    predicted_critical_s: float | None = None
    wasted: dict[str, int] = {}
    happenings: dict[str, int] = {}


# Events of the publish stream.


class PublishProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="progress"):
    """How far a directory is hashed."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class PublishResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """A version is published.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version.
        digest: Its identity.
        size_bytes: Length of the whole version.
        units: How many units.
        is_new: It was not held before with the same content.
        directory: Where it stands.
        duration_s: How long that took.
    """

    checkpoint: str
    version: int
    digest: str
    size_bytes: int
    units: int
    is_new: bool
    directory: str
    duration_s: float


# Errors.


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """A :class:`~ckptd.errors.CkptdError`; ``message`` is its whole sentence."""

    code: str
    message: str
    subject: str
    problem: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: CkptdError) -> ErrorView:
        """Return what is reported to a client about an error."""
        return cls(
            code=error.code,
            message=str(error),
            subject=error.subject,
            problem=error.problem,
            hint=error.hint,
            exit_code=int(error.exit_code),
        )


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is no success."""

    error: ErrorView


class StreamError(ErrorView, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Ends a stream that will have no result. Sent by the server, never by operations."""


def is_result(message: object) -> bool:
    """Tell whether a message of a stream is its result: nothing comes after it."""
    return isinstance(message, msgspec.Struct) and message.__struct_config__.tag == "result"


WatchEvent: TypeAlias = RecoveryProgress | RecoveryResult
PublishEvent: TypeAlias = PublishProgress | PublishResult


_EXIT_CODES: dict[FailureCause | None, ExitCode] = {
    FailureCause.STORE: ExitCode.FAILED,
    FailureCause.CRITICAL_MISSING: ExitCode.CRITICAL_MISSING,
    FailureCause.VERIFICATION: ExitCode.VERIFICATION,
    None: ExitCode.FAILED,
}


def exit_code_of(result: RecoveryResult) -> ExitCode:
    """Return what a command that waited for a recovery ends with."""
    match result.result:
        case Result.COMPLETE:
            return ExitCode.DEGRADED if result.is_degraded else ExitCode.DONE
        case Result.FAILED:
            return _EXIT_CODES[result.cause]
        case Result.CANCELLED:
            return ExitCode.FAILED
