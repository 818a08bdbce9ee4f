"""Errors, and how a stream ends."""

from __future__ import annotations

import msgspec

from ckptd.errors import CkptdError


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """An error of the daemon.

    Attributes:
        code: Stable name of the kind of error.
        message: The whole sentence for a person.
        subject: What it is about.
        problem: What is wrong with it.
        hint: What to do; may be empty.
        exit_code: What a command exits with.
    """

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
    """The body of every answer that is not a success."""

    error: ErrorView


class StreamError(ErrorView, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Ends a stream that has no result; its fields are those of an ``ErrorView``."""


def is_result(message: object) -> bool:
    """Tell whether a message of a stream is its result: nothing comes after it."""
    return isinstance(message, msgspec.Struct) and message.__struct_config__.tag == "result"
