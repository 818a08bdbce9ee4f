"""The client's end of the control socket, for commands.

It blocks and uses the standard library's HTTP client: a command in a hook must start quickly, and
importing an event loop takes time. Each call makes its own connection.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from ckptd.control.descriptors import DescriptorSocket
from ckptd.control.messages.checkpoints import (
    PublishEvent,
    PublishProgress,
    PublishRequest,
    PublishResult,
    PublishUnits,
    PublishWanted,
)
from ckptd.control.messages.error_documents import ErrorDocument, ErrorView, StreamError, is_result
from ckptd.control.messages.prioritized import (
    NeedBytes,
    NeedEvent,
    NeedProgress,
    NeedRequest,
    NeedResult,
)
from ckptd.control.passing import FilePasser
from ckptd.control.range_reader import RangeReader
from ckptd.control.routes import Api, Route, Shape
from ckptd.errors import CkptdError, DaemonUnreachable, ExitCode, NotPermitted
from ckptd.limits import MIB

if TYPE_CHECKING:
    from ckptd.control.named_tensors import NamedTensors

_SILENCE_TIMEOUT_S: Final = 30.0
"""A daemon that is silent for this long counts as gone; a stream has an event each second."""

_ANSWER_BYTES_MAX: Final = 64 * MIB
"""Room for the checkpoints of a hundred peers that each hold as many as they may."""

_Message = TypeVar("_Message")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, socket_path: str, *, keeping: DescriptorSocket | None = None) -> None:
        super().__init__("ckptd")
        self._socket_path = socket_path
        self._keeping = keeping

    def connect(self) -> None:
        self.sock = self._keeping or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


class OpenUnit(NamedTuple):
    """A unit, open.

    Attributes:
        fd: For reading only; the caller closes it.
        result: What the daemon says of it.
    """

    fd: int
    result: NeedResult


class ControlClient(Api):
    """What a command can ask the daemon for: each row of the API is a call.

    A call makes its request and returns the answer. One that is answered with a stream makes it
    with the first message that is taken; closing the iterator early ends the stream.

    Every call raises the :class:`~ckptd.errors.CkptdError` that the daemon answered with,
    :class:`~ckptd.errors.DaemonUnreachable` if it does not answer or ends a stream without its
    result, and :class:`~ckptd.errors.NotPermitted` if the caller may not use the socket.

    Attributes:
        socket_path: Where the daemon listens.
        deadline_s: Until when to wait, by ``time.monotonic()``; calls raise ``TimeoutError`` then.
            ``None``: as long as the daemon is not silent.
    """

    def __init__(self, socket_path: str, *, deadline_s: float | None = None) -> None:
        super().__init__(self._ask)
        self.socket_path = socket_path
        self.deadline_s = deadline_s

    def until(self, deadline_s: float | None) -> ControlClient:
        """Return a client of the same daemon whose calls have a deadline."""
        return ControlClient(self.socket_path, deadline_s=deadline_s)

    def open_unit(
        self, path: str, on_progress: Callable[[NeedProgress], None] = lambda _: None
    ) -> OpenUnit:
        """Let a unit go first, wait for it, and open it: whatever its mode, and wherever it is.

        All its bytes were compared through the descriptor that is returned. It stays good when the
        version is placed, replaced or removed.

        Args:
            path: Where the file will stand, or a unit's path; as :class:`NeedRequest` has it.
            on_progress: Called once a second.

        Returns:
            The descriptor, and what the daemon says of the unit.

        Raises:
            CkptdError: What the daemon answered with, as for every call.
            Shortage: This process has no descriptor left.
            TimeoutError: The deadline has passed.
        """
        request = NeedRequest(path=path, with_descriptor=True)
        target, body = _encode(Api.need, Api.need.shape, (request,))
        with DescriptorSocket() as keeping:
            for message in self._messages(Api.need, target, body, keeping):
                if isinstance(message, NeedResult):
                    return OpenUnit(keeping.take(), message)
                if isinstance(message, NeedProgress):
                    on_progress(message)
        raise self._unreachable(Api.need.unfinished)

    def open_range(
        self, path: str, on_progress: Callable[[NeedProgress], None] = lambda _: None
    ) -> RangeReader:
        """Return what reads ranges of one unit, also while the unit is still being fetched.

        Args:
            path: As :class:`NeedRequest` has it: an absolute path, ``NAME:UNIT``, or a unit's path.
            on_progress: Called once a second while a range is waited for.
        """
        return RangeReader(self.need_bytes, path, on_progress)

    def open_tensors(
        self, path: str, on_progress: Callable[[NeedProgress], None] = lambda _: None
    ) -> NamedTensors:
        """Return what reads tensors of a unit by their names, also while it is still being fetched.

        Args:
            path: A file of safetensors, ``.metadata`` of PyTorch DCP or an index of sharded
                weights, named as for :meth:`open_range`; or ``NAME``, ``NAME@VERSION`` alone.
            on_progress: Called once a second while a range is waited for.

        Raises:
            NotFound: There is no such unit.
            CkptdError: What the daemon answered with, as for every call.
        """
        from ckptd.control import named_tensors  # noqa: PLC0415 -- takes long; rarely needed

        return named_tensors.open_tensors(lambda each: self.open_range(each, on_progress), path)

    def need_bytes(self, request: NeedRequest) -> Iterator[NeedEvent | bytes]:
        """Ask for a range of a unit with its bytes.

        Args:
            request: Which range, ``with_bytes``.

        Yields:
            What :meth:`need` does; behind each ``NeedBytes`` the bytes that it announces.

        Raises:
            CkptdError: What the daemon answered with, as for every call.
        """
        target, body = _encode(Api.need, Api.need.shape, (request,))
        for message in self._messages(Api.need, target, body):
            if isinstance(message, NeedProgress | NeedBytes | NeedResult | bytes):
                yield message

    def publish_passing(self, request: PublishRequest) -> Iterator[PublishEvent]:
        """Publish, and pass descriptors of files that this process may open and the daemon not.

        What the daemon reads through them is on offer until it restarts; ``passed_note`` of the
        result says more. Only files below the directory are opened, or what is linked from there.

        Args:
            request: What to publish.

        Yields:
            What :meth:`publish` does, but for what is answered here.

        Raises:
            CkptdError: What the daemon answered with, as for every call.
        """
        request = msgspec.structs.replace(request, passes_files=True)
        target, body = _encode(Api.publish, Api.publish.shape, (request,))
        passer = FilePasser(request.directory)
        with DescriptorSocket() as keeping:
            for message in self._messages(Api.publish, target, body, keeping):
                if isinstance(message, PublishWanted):
                    with self._mapped_errors():
                        passer.answer(keeping, message.paths)
                elif isinstance(message, PublishProgress | PublishUnits | PublishResult):
                    yield message

    def _ask(self, route: Route[..., object], taken: Sequence[object]) -> object:
        shape = route.shape
        target, body = _encode(route, shape, taken)
        if shape.is_stream:
            return self._messages(route, target, body)
        with self._answer(route.method, target, body) as (_, response):
            return self._decode(self._body(response), _decoder(shape.answer))

    def _messages(
        self,
        route: Route[..., object],
        target: str,
        body: bytes,
        keeping: DescriptorSocket | None = None,
    ) -> Iterator[object]:
        """Yield the messages of a stream until its result, or until the daemon ends it.

        Args:
            route: Whose stream.
            target: Of the request.
            body: Of the request.
            keeping: The socket to use; a new one otherwise.

        Yields:
            Messages; and behind each ``NeedBytes`` the bytes that it announces.
        """
        decoder = _decoder(route.shape.answer | StreamError)
        connecting = _Connection(self.socket_path, keeping=keeping)
        with self._answer(route.method, target, body, connecting) as (connection, response):
            for line in self._lines(connection, response):
                message = self._decode(line, decoder)
                if isinstance(message, StreamError):
                    raise _error_of(message)
                yield message
                if isinstance(message, NeedBytes):
                    yield self._following(response, message.size_bytes)
                if is_result(message):
                    return
        if route.unfinished:
            raise self._unreachable(route.unfinished)

    @contextlib.contextmanager
    def _answer(
        self, method: str, target: str, body: bytes, connecting: _Connection | None = None
    ) -> Iterator[tuple[_Connection, http.client.HTTPResponse]]:
        """Send a request and hand out the successful answer, its body unread.

        Args:
            method: Of the request.
            target: Likewise.
            body: Likewise.
            connecting: The connection to use; a new one otherwise.
        """
        with contextlib.closing(connecting or _Connection(self.socket_path)) as connection:
            with self._mapped_errors():
                connection.timeout = _timeout_s(self.deadline_s)
                connection.request(method, target, body)
                response = connection.getresponse()
            with response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    decoder = msgspec.json.Decoder(ErrorDocument)
                    raise _error_of(self._decode(self._body(response), decoder).error)
                yield connection, response

    def _following(self, response: http.client.HTTPResponse, size_bytes: int) -> bytes:
        """Return the bytes that follow a message."""
        with self._mapped_errors():
            data = response.read(size_bytes) if 0 < size_bytes <= _ANSWER_BYTES_MAX else b""
        if not data or len(data) != size_bytes:
            raise self._unreachable(Api.need.unfinished)
        return data

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        with self._mapped_errors():
            return response.read(_ANSWER_BYTES_MAX)

    def _lines(
        self, connection: _Connection, response: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        """Yield the lines of a stream until it ends, completely or not."""
        while True:
            with self._mapped_errors():
                connection.sock.settimeout(_timeout_s(self.deadline_s))
                line = response.readline(_ANSWER_BYTES_MAX)
            if not line.endswith(b"\n"):
                return
            yield line

    @contextlib.contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            if self.deadline_s is not None and time.monotonic() >= self.deadline_s:
                raise
            raise self._unreachable(f"it said nothing for {_SILENCE_TIMEOUT_S:.0f}s") from error
        except PermissionError as error:
            raise self._not_permitted() from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        except http.client.HTTPException as error:
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _decode(self, data: bytes, decoder: msgspec.json.Decoder[_Message]) -> _Message:
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
        """Return an error that names the user, and the group that may. It looks names up: slow."""
        import grp  # noqa: PLC0415
        import pwd  # noqa: PLC0415

        user_id = os.geteuid()
        user = str(user_id)
        with contextlib.suppress(KeyError):
            user = f"{pwd.getpwuid(user_id).pw_name} (uid {user_id})"
        group = "that owns it"
        for path in (os.path.dirname(self.socket_path), self.socket_path):
            with contextlib.suppress(OSError):  # it may not be possible to look into the directory
                group_id = os.stat(path).st_gid
                group = str(group_id)
                with contextlib.suppress(KeyError):
                    group = grp.getgrgid(group_id).gr_name
        return NotPermitted(
            f"control socket {self.socket_path}",
            f"may not be used by {user}",
            f"Ask an administrator to add that user to the group {group}.",
        )


def _encode(route: Route[..., object], shape: Shape, taken: Sequence[object]) -> tuple[str, bytes]:
    """Return the target and the body of a request."""
    count = len(shape.names)
    names = zip(shape.names, taken[:count], strict=True)
    target = route.path.format(**{name: quote(str(value), safe="") for name, value in names})
    for request in taken[count:]:
        if route.method != "GET":
            return target, msgspec.json.encode(request)
        fields = msgspec.to_builtins(request)
        query = {key: _query_value(value) for key, value in fields.items() if value is not None}
        return f"{target}?{urlencode(query, doseq=True)}", b""
    return target, b""


def _query_value(value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoder(answer: object) -> msgspec.json.Decoder[object]:
    return msgspec.json.Decoder(cast("type[object]", answer))


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
    alike = [kind for kind in kinds if kind.code == view.code] or [CkptdError]
    kind = next((each for each in alike if each.exit_code == view.exit_code), alike[0])
    error = kind(view.subject, view.problem, view.hint)
    error.code = view.code
    try:
        error.exit_code = ExitCode(view.exit_code)
    except ValueError:
        error.exit_code = ExitCode.FAILED
    return error
