"""Errors, and how a stream ends."""

from __future__ import annotations

import msgspec

from ckptd.errors import CkptdError


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
    """Ends a stream that will have no result. Sent by the server, never by what answers."""


def is_result(message: object) -> bool:
    """Tell whether a message of a stream is its result: nothing comes after it."""
    return isinstance(message, msgspec.Struct) and message.__struct_config__.tag == "result"
