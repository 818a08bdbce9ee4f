"""The other end of the control socket, for commands.

Blocking, and on the standard library's HTTP client: a command that runs in a hook must not wait
for an event loop to be imported. Each call makes its own connection.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ckptd.control.messages.api import (
    CheckpointRow,
    ErrorDocument,
    ErrorView,
    PeerRow,
    PublishEvent,
    PublishRequest,
    PublishResult,
    RecoverRequest,
    RecoveryResult,
    RecoveryView,
    ReloadResult,
    Status,
    StreamError,
    VersionDocument,
    WatchEvent,
    WhoAmI,
)
from ckptd.control.messages.explanations import Explanation
from ckptd.control.messages.limit_settings import ChangeLimits, LimitsView
from ckptd.control.messages.observation import (
    DoctorMessage,
    EventMessage,
    HealthView,
    LevelRequest,
    LevelView,
    LineMessage,
)
from ckptd.control.messages.peer_details import PeerView
from ckptd.control.messages.plans import Plan, PlanRequest
from ckptd.control.messages.prioritized import (
    NeedEvent,
    NeedRequest,
    NeedResult,
    PrioritizeRequest,
    Raised,
)
from ckptd.errors import CkptdError, DaemonUnreachable, ExitCode, NotPermitted
from ckptd.limits import MIB

_SILENCE_TIMEOUT_S: Final = 30.0
"""A daemon that is silent for so long is as good as gone; a stream has an event each second."""

_ANSWER_BYTES_MAX: Final = 64 * MIB
"""Room for the checkpoints of a hundred peers that each hold as many as they may."""

_Answer = TypeVar("_Answer")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, socket_path: str) -> None:
        super().__init__("ckptd")
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


class ControlClient:
    """What a command can ask the daemon for.

    Every method raises the :class:`~ckptd.errors.CkptdError` that the daemon answered with,
    :class:`~ckptd.errors.DaemonUnreachable` if it does not answer, and
    :class:`~ckptd.errors.NotPermitted` if the caller may not use the socket.

    Attributes:
        socket_path: Where the daemon listens.
    """

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def version(self) -> VersionDocument:
        """Return what the daemon runs."""
        return self._get("/v1/version", VersionDocument)

    def whoami(self) -> WhoAmI:
        """Return the caller, as the daemon sees it."""
        return self._get("/v1/whoami", WhoAmI)

    def reload(self) -> ReloadResult:
        """Let the daemon read its configuration again; return what that changed."""
        with self._answer("POST", "/v1/reload") as (_, response):
            return self._decode(self._body(response), msgspec.json.Decoder(ReloadResult))

    def status(self) -> Status:
        """Return the daemon at this moment."""
        return self._get("/v1/status", Status)

    def checkpoints(self) -> list[CheckpointRow]:
        """Return what the node and its peers hold."""
        return self._get("/v1/checkpoints", list[CheckpointRow])

    def peers(self) -> list[PeerRow]:
        """Return the known peers."""
        return self._get("/v1/peers", list[PeerRow])

    def peer(self, node: str) -> PeerView:
        """Return one peer."""
        return self._get(f"/v1/peers/{quote(node, safe='')}", PeerView)

    def plan(self, request: PlanRequest) -> Plan:
        """Return what a recovery would do."""
        query = {
            key: value for key, value in msgspec.to_builtins(request).items() if value is not None
        }
        return self._get(f"/v1/plan?{urlencode(query)}", Plan)

    def limits(self) -> LimitsView:
        """Return what is limited."""
        return self._get("/v1/limits", LimitsView)

    def change_limits(self, request: ChangeLimits) -> LimitsView:
        """Set limits, or forget what was set; return what is limited then."""
        return self._post("/v1/limits", LimitsView, request)

    def recoveries(self) -> list[RecoveryView]:
        """Return the recoveries, newest first."""
        return self._get("/v1/recoveries", list[RecoveryView])

    def recovery(self, recovery: str) -> RecoveryView:
        """Return one recovery."""
        return self._get(_path_of(recovery), RecoveryView)

    def explain(self, recovery: str) -> Explanation:
        """Return why a recovery goes as it does, or went."""
        return self._get(f"{_path_of(recovery)}/explanation", Explanation)

    def recover(self, request: RecoverRequest) -> RecoveryView:
        """Begin a recovery and return it as it begins."""
        return self._post("/v1/recoveries", RecoveryView, request)

    def pause(self, recovery: str) -> RecoveryView:
        """Let no more ranges be requested until it is resumed."""
        return self._post(f"{_path_of(recovery)}/pause", RecoveryView)

    def resume(self, recovery: str) -> RecoveryView:
        """Let a paused recovery go on."""
        return self._post(f"{_path_of(recovery)}/resume", RecoveryView)

    def cancel(self, recovery: str) -> RecoveryView:
        """Give a recovery up."""
        return self._post(f"{_path_of(recovery)}/cancel", RecoveryView)

    def prioritize(self, recovery: str, request: PrioritizeRequest) -> Raised:
        """Let some units of a recovery go before all others."""
        return self._post(f"{_path_of(recovery)}/prioritize", Raised, request)

    def need(self, request: NeedRequest, *, deadline_s: float | None = None) -> Iterator[NeedEvent]:
        """Let one unit go before all others: yield progress, and last exactly one result.

        Args:
            request: Which unit.
            deadline_s: Until when to wait, by ``time.monotonic()``.

        Raises:
            TimeoutError: The deadline has passed. The unit stays raised.
        """
        body = msgspec.json.encode(request)
        with self._answer("POST", "/v1/needs", body, deadline_s=deadline_s) as answer:
            decoder = msgspec.json.Decoder(NeedEvent | StreamError)
            for line in self._lines(*answer, deadline_s):
                event = self._decode(line, decoder)
                if isinstance(event, StreamError):
                    raise _error_of(event)
                yield event
                if isinstance(event, NeedResult):
                    return
        raise self._unreachable("it stopped before the unit was here")

    def watch(self, recovery: str, *, deadline_s: float | None = None) -> Iterator[WatchEvent]:
        """Yield progress, and last exactly one result.

        Args:
            recovery: Which one.
            deadline_s: Until when to watch, by ``time.monotonic()``.

        Raises:
            TimeoutError: The deadline has passed.
        """
        path = f"{_path_of(recovery)}/events"
        with self._answer("GET", path, deadline_s=deadline_s) as (connection, response):
            decoder = msgspec.json.Decoder(WatchEvent | StreamError)
            for line in self._lines(connection, response, deadline_s):
                event = self._decode(line, decoder)
                if isinstance(event, StreamError):
                    raise _error_of(event)
                yield event
                if isinstance(event, RecoveryResult):
                    return
        raise self._unreachable("it stopped before the recovery ended")

    def publish(self, request: PublishRequest) -> Iterator[PublishEvent]:
        """Publish a directory: yield progress, and last exactly one result.

        Closing the iterator early stops the publishing.
        """
        body = msgspec.json.encode(request)
        with self._answer("POST", "/v1/publications", body) as (connection, response):
            decoder = msgspec.json.Decoder(PublishEvent | StreamError)
            for line in self._lines(connection, response):
                event = self._decode(line, decoder)
                if isinstance(event, StreamError):
                    raise _error_of(event)
                yield event
                if isinstance(event, PublishResult):
                    return
        raise self._unreachable("it stopped before everything was published")

    def health(self) -> HealthView:
        """Return whether the daemon can be relied on."""
        return self._get("/v1/health", HealthView)

    def events(self, *, since: int = 0, follow: bool = False) -> Iterator[EventMessage]:
        """Yield events after one, and with ``follow`` those to come until the daemon stops."""
        return self._messages("GET", f"/v1/events?{_follow(since, follow=follow)}", EventMessage)

    def lines(self, *, since: int = 0, follow: bool = False) -> Iterator[LineMessage]:
        """Yield lines of the log after one, and with ``follow`` those to come."""
        return self._messages("GET", f"/v1/log?{_follow(since, follow=follow)}", LineMessage)

    def log_level(self) -> LevelView:
        """Return the level of the log."""
        return self._get("/v1/log/level", LevelView)

    def set_log_level(self, request: LevelRequest) -> LevelView:
        """Change the level of the log."""
        body = msgspec.json.encode(request)
        with self._answer("POST", "/v1/log/level", body) as (_, response):
            return self._decode(self._body(response), msgspec.json.Decoder(LevelView))

    def examine(self) -> Iterator[DoctorMessage]:
        """Let the daemon look at everything; yield what it finds, and last the sum."""
        return self._messages("POST", "/v1/examinations", DoctorMessage)

    def _messages(self, method: str, path: str, kind: object) -> Iterator[_Answer]:
        """Yield the messages of a stream until the daemon ends it."""
        with self._answer(method, path) as (connection, response):
            decoder = msgspec.json.Decoder(kind | StreamError)
            for line in self._lines(connection, response):
                message = self._decode(line, decoder)
                if isinstance(message, StreamError):
                    raise _error_of(message)
                yield message

    def _get(self, path: str, kind: type[_Answer]) -> _Answer:
        with self._answer("GET", path) as (_, response):
            return self._decode(self._body(response), msgspec.json.Decoder(kind))

    def _post(
        self, path: str, kind: type[_Answer], request: msgspec.Struct | None = None
    ) -> _Answer:
        body = msgspec.json.encode(request) if request else b""
        with self._answer("POST", path, body) as (_, response):
            return self._decode(self._body(response), msgspec.json.Decoder(kind))

    @contextlib.contextmanager
    def _answer(
        self, method: str, path: str, body: bytes = b"", *, deadline_s: float | None = None
    ) -> Iterator[tuple[_Connection, http.client.HTTPResponse]]:
        """Send a request and hand out the successful answer, its body unread."""
        with contextlib.closing(_Connection(self.socket_path)) as connection:
            with self._mapped_errors(deadline_s):
                connection.timeout = _timeout_s(deadline_s)
                connection.request(method, path, body)
                response = connection.getresponse()
            with response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    decoder = msgspec.json.Decoder(ErrorDocument)
                    raise _error_of(self._decode(self._body(response), decoder).error)
                yield connection, response

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        with self._mapped_errors():
            return response.read(_ANSWER_BYTES_MAX)

    def _lines(
        self,
        connection: _Connection,
        response: http.client.HTTPResponse,
        deadline_s: float | None = None,
    ) -> Iterator[bytes]:
        """Yield the lines of a stream until it ends, for whatever reason."""
        while True:
            with self._mapped_errors(deadline_s):
                connection.sock.settimeout(_timeout_s(deadline_s))
                line = response.readline(_ANSWER_BYTES_MAX)
            if not line.endswith(b"\n"):
                return
            yield line

    @contextlib.contextmanager
    def _mapped_errors(self, deadline_s: float | None = None) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise
            raise self._unreachable(f"it said nothing for {_SILENCE_TIMEOUT_S:.0f}s") from error
        except PermissionError as error:
            raise self._not_permitted() from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        except http.client.HTTPException as error:
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _decode(self, data: bytes, decoder: msgspec.json.Decoder[_Answer]) -> _Answer:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CkptdError(
                f"control socket {self.socket_path}",
                f"gave an answer that is not understood: {error}",
                "Use the ckptctl of the same version as the daemon.",
            ) from error

    def _unreachable(self, problem: str) -> DaemonUnreachable:
        return DaemonUnreachable(
            f"no daemon answers at {self.socket_path}",
            problem,
            "Start it with 'systemctl start ckptd', or name its socket with --socket.",
        )

    def _not_permitted(self) -> NotPermitted:
        """Say who may not, and which group may. Costs look-ups, so only here."""
        import grp  # noqa: PLC0415
        import pwd  # noqa: PLC0415

        user_id = os.geteuid()
        user = str(user_id)
        with contextlib.suppress(KeyError):
            user = f"{pwd.getpwuid(user_id).pw_name} (uid {user_id})"
        group = "that owns it"
        for path in (os.path.dirname(self.socket_path), self.socket_path):
            with contextlib.suppress(OSError):  # who may not enter the directory sees no more
                group_id = os.stat(path).st_gid
                group = str(group_id)
                with contextlib.suppress(KeyError):
                    group = grp.getgrgid(group_id).gr_name
        return NotPermitted(
            f"control socket {self.socket_path}",
            f"may not be used by {user}",
            f"Ask an administrator to add that user to the group {group}.",
        )


def _follow(since: int, *, follow: bool) -> str:
    return urlencode({"since": since, "follow": str(follow).lower()})


def _path_of(recovery: str) -> str:
    return f"/v1/recoveries/{quote(recovery, safe='')}"


def _timeout_s(deadline_s: float | None) -> float:
    """Return how long to wait for the next bytes.

    Raises:
        TimeoutError: The deadline has passed.
    """
    if deadline_s is None:
        return _SILENCE_TIMEOUT_S
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return min(left_s, _SILENCE_TIMEOUT_S)


def _error_of(view: ErrorView) -> CkptdError:
    """Return the error that the daemon raised."""
    kinds = [CkptdError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    kind = next((kind for kind in kinds if kind.code == view.code), CkptdError)
    error = kind(view.subject, view.problem, view.hint)
    error.code = view.code
    try:
        error.exit_code = ExitCode(view.exit_code)
    except ValueError:
        error.exit_code = ExitCode.FAILED
    return error
