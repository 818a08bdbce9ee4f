"""Bodies of requests and answers of the control API: bytes ↔ messages, errors ↔ statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar, cast, get_origin

import msgspec
from aiohttp import web

from ckptd.control.messages.error_documents import ErrorDocument, ErrorView
from ckptd.errors import CkptdError, NotFound, NotPermitted, UsageError
from ckptd.limits import CONTROL_MESSAGE_BYTES_MAX, HEAD_TIMEOUT_NS, SECOND

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HTTP_STATUS: Final = {
    "usage": HTTPStatus.BAD_REQUEST,
    "not_permitted": HTTPStatus.FORBIDDEN,
    "outside_roots": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "conflict": HTTPStatus.CONFLICT,
    "content_changed": HTTPStatus.CONFLICT,
    "out_of_space": HTTPStatus.INSUFFICIENT_STORAGE,
    "unreachable": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""By the code of the error; every other error is a 500."""

_PASSED_BYTES_MAX: Final = 4 * CONTROL_MESSAGE_BYTES_MAX
"""Enough for a mistake; the connection of a client that sends more is closed."""

_logger = logging.getLogger(__name__)

_Message = TypeVar("_Message", bound=msgspec.Struct)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an error document."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = _error(_of_http(error, request), HTTPStatus(error.status))
    except ConnectionError:
        raise  # the client is gone
    except Exception as error:  # noqa: BLE001 -- edge: request → response
        known = as_ckptd_error(error)
        status = _HTTP_STATUS.get(known.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        answer = _error(known, status)
    await _pass_over_body(request)
    return answer


def as_ckptd_error(error: Exception) -> CkptdError:
    """Return the error a client gets; one that nobody expected is logged as well."""
    if isinstance(error, CkptdError):
        return error
    _logger.error("control request failed", exc_info=error)
    return CkptdError("ckptd", f"made a mistake: {error!r}", "Its log says more; report it.")


def _of_http(error: web.HTTPException, request: web.Request) -> CkptdError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return NotFound(f"path {request.path}", "is not part of the control API")
        case HTTPStatus.MISDIRECTED_REQUEST:
            return NotPermitted(
                f"host {request.host[:80]!r}", "is not the control socket", "Call it ckptd."
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return UsageError("request", f"has more than {CONTROL_MESSAGE_BYTES_MAX} bytes")
        case _:
            return UsageError(f"{request.method} {request.path}", error.reason)


async def _pass_over_body(request: web.Request) -> None:
    """Read the rest of a refused request: a client that still sends does not read the answer."""
    passed_bytes = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEAD_TIMEOUT_NS / SECOND):
            async for piece in request.content.iter_any():
                passed_bytes += len(piece)
                if passed_bytes > _PASSED_BYTES_MAX:
                    return


def decode_query(request: web.Request, kind: type[_Message]) -> _Message:
    """Return the query of a request as a message; a field that is an array may be there repeatedly.

    Raises:
        UsageError: It is not understood.
    """
    fields = msgspec.structs.fields(cast("type[msgspec.Struct]", kind))
    arrays = {field.encode_name for field in fields if get_origin(field.type) is tuple}
    given = {
        key: request.query.getall(key) if key in arrays else request.query[key]
        for key in request.query
    }
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError("query", f"is not understood: {error}") from error


async def decode_body(request: web.Request, kind: type[_Message]) -> _Message:
    """Return the body of a request as a message.

    Raises:
        UsageError: It is not understood, or does not come.
    """
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_NS / SECOND):
            body = await request.read()
    except TimeoutError as error:
        raise UsageError("request", "has a body that did not arrive") from error
    return decode_message(body, kind)


def decode_message(body: bytes, kind: type[_Message]) -> _Message:
    """Read the body of a request.

    Raises:
        UsageError: It is not a message of this kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError("request", f"is not understood: {error}") from error


def as_json(message: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return an answer of one message."""
    return web.Response(
        body=msgspec.json.encode(message), status=status, content_type="application/json"
    )


def _error(error: CkptdError, status: HTTPStatus) -> web.Response:
    return as_json(ErrorDocument(error=ErrorView.of(error)), status)


def as_line(event: msgspec.Struct) -> bytes:
    """Return one message of a stream."""
    return msgspec.json.encode(event) + b"\n"
