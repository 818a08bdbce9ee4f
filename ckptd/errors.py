"""Every error ckptd raises on purpose, and the exit code it ends a command with.

    CkptdError
    ├── UsageError              the request makes no sense as written
    ├── ConfigurationError      the configuration file
    ├── InvalidManifest         bytes that are no manifest, or one that would do harm
    ├── InvalidFormat           a file is not in the format that its name says
    ├── ProtocolViolation       what a peer sent is not the protocol
    ├── NotFound                no such checkpoint, version, recovery or directory
    │   ├── Missing             … that anybody has, here or at peers
    │   └── Withdrawn           … a version that an operator took off offer
    ├── Conflict                the request contradicts what is already there
    ├── OutsideRoots            a path that leads out of the configured roots
    ├── StorageError            the disk or the file system said no
    │   ├── OutOfSpace          … for lack of room
    │   ├── Shortage            … for lack of descriptors, memory or threads
    │   ├── ContentChanged      a file is not what it was when it was published
    │   └── StagingLost         somebody removed what a recovery had staged
    ├── StateDirectoryInUse     another daemon has the state directory
    ├── DamagedState            the state database cannot be read
    ├── VerificationFailed      bytes that are not what the manifest says
    │   └── NotSigned           a manifest without a signature that counts here
    ├── DaemonUnreachable       nobody answers at the control socket
    └── NotPermitted            the caller may not do this

An error says what happened, to what, and what to do now; ``str()`` builds that sentence.
Failures that are expected in normal work (a peer dies, a block is bad) are events of the
scheduler and never one of these.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Sequence
from typing import Final

_SHORT_OF: Final = {
    errno.EMFILE: (
        "this process has no file descriptor left",
        "Raise LimitNOFILE in the unit; 'ckptctl doctor' counts them.",
    ),
    errno.ENFILE: (
        "this machine has no file descriptor left",
        "Raise fs.file-max, or find out who has them.",
    ),
    errno.ENOMEM: (
        "there is no memory left",
        "Raise MemoryMax in the unit, or give the machine more.",
    ),
    errno.ENOBUFS: (
        "the kernel has no memory left for sockets",
        "Give the machine more, or see net.ipv4.tcp_mem.",
    ),
    errno.EAGAIN: (
        "no thread can be started",
        "Raise TasksMax in the unit, or find out what runs here.",
    ),
}
"""What this node is short of, by how the kernel says so, and what to do about it."""
_NO_THREAD: Final = "can't start new thread"
"""What Python says when the kernel starts none: EAGAIN, without the number."""


class ExitCode(enum.IntEnum):
    """How ``ckptctl`` and ``ckptd`` end.

    New codes may be added; a script must treat a code it does not know as a failure.
    ``CONFIGURATION`` and ``STATE_IN_USE`` are the values of ``sysexits.h``
    (``EX_CONFIG``, ``EX_TEMPFAIL``), which service managers know.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    MISSING = 4
    TIMED_OUT = 5
    NOT_PERMITTED = 6
    UNREACHABLE = 7
    VERIFICATION = 8
    CONFLICT = 9
    STATE_IN_USE = 75
    CONFIGURATION = 78
    INTERRUPTED = 130


class CkptdError(Exception):
    """Something that was asked for cannot be done.

    Attributes:
        code: Stable identifier for scripts, e.g. ``"not_found"``.
        exit_code: What a command ends with.
        is_retryable: The same request may succeed later with nothing changed by the caller.
        subject: What it happened to, e.g. ``"target /data/a"``.
        problem: What happened, without a full stop.
        hint: What to do now, one sentence; empty if there is nothing to say.
    """

    code = "failed"
    exit_code = ExitCode.FAILED
    is_retryable = False

    def __init__(self, subject: str, problem: str, hint: str = "") -> None:
        super().__init__(subject, problem, hint)
        self.subject = subject
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        sentence = f"{self.subject}: {self.problem}"
        return f"{sentence}. {self.hint}" if self.hint else sentence


class UsageError(CkptdError):
    """The request makes no sense as written."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ConfigurationError(CkptdError):
    """The configuration file cannot be used; the subject names file and key.

    Attributes:
        others: What else is wrong with it.
    """

    code = "configuration"
    exit_code = ExitCode.CONFIGURATION

    def __init__(self, subject: str, problem: str, hint: str = "") -> None:
        super().__init__(subject, problem, hint)
        self.others: tuple[ConfigurationError, ...] = ()

    @classmethod
    def of(cls, errors: Sequence[ConfigurationError]) -> ConfigurationError:
        """Return the first of several errors, with the others."""
        first, *others = errors
        first.others = (*first.others, *others)
        return first


class InvalidManifest(CkptdError):
    """Bytes that are no manifest, or a manifest that would do harm."""

    code = "invalid_manifest"
    exit_code = ExitCode.VERIFICATION


class NewerManifest(InvalidManifest):
    """A manifest that a newer ckptd made: it may be right, and cannot be read here."""

    code = "newer_manifest"


class ContradictoryManifest(InvalidManifest):
    """A manifest that gives a unit a digest which the blocks that it lists do not have.

    Whoever made it is at fault, not who passed it on, and not the disk that the unit lies on.
    """

    code = "contradictory_manifest"


class InvalidFormat(CkptdError):
    """A file of a version is not in the format that its name says, so nothing in it has a name."""

    code = "invalid_format"


class ProtocolViolation(CkptdError):
    """What a peer sent is not the protocol.

    Raised by ``wire``; a serving daemon answers it with ``status`` and closes the connection.
    """

    code = "protocol_violation"

    def __init__(self, subject: str, problem: str, hint: str = "", *, status: int = 400) -> None:
        super().__init__(subject, problem, hint)
        self.status = status


class NotFound(CkptdError):
    """No such checkpoint, version, recovery or directory."""

    code = "not_found"


class Missing(NotFound):
    """Nobody has what was asked for: neither this node nor a peer that answers."""

    exit_code = ExitCode.MISSING


class Withdrawn(NotFound):
    """A version that is here, and that an operator took off offer."""

    code = "withdrawn"


class Conflict(CkptdError):
    """The request contradicts what is already there."""

    code = "conflict"


class OutsideRoots(CkptdError):
    """A path that is not below a configured root, or leads out of it."""

    code = "outside_roots"


class StorageError(CkptdError):
    """The disk or the file system refused an operation."""

    code = "storage"


class OutOfSpace(StorageError):
    """There is no room for what was to be written."""

    code = "out_of_space"
    is_retryable = True


class Shortage(StorageError):
    """This node has no descriptor, memory or thread left for it: nobody's fault, and it passes."""

    code = "shortage"
    is_retryable = True


class ContentChanged(StorageError):
    """A published file is not what it was; its version is stale."""

    code = "content_changed"


class StagingLost(StorageError):
    """What a recovery had staged was removed; it can be fetched again."""

    code = "staging_lost"


class StateDirectoryInUse(CkptdError):
    """Another daemon has the state directory."""

    code = "state_in_use"
    exit_code = ExitCode.STATE_IN_USE
    is_retryable = True


class DamagedState(CkptdError):
    """The state database cannot be read."""

    code = "damaged_state"


class VerificationFailed(CkptdError):
    """Bytes that are not what the manifest says they are."""

    code = "verification_failed"
    exit_code = ExitCode.VERIFICATION


class NotSigned(VerificationFailed):
    """A manifest without a signature that counts here.

    Attributes:
        is_lie: It came with a signature that nobody made, or by a key that nobody here trusts.
    """

    code = "not_signed"

    def __init__(self, subject: str, problem: str, hint: str = "", *, is_lie: bool = False) -> None:
        super().__init__(subject, problem, hint)
        self.is_lie = is_lie


class DaemonUnreachable(CkptdError):
    """Nobody answers at the control socket."""

    code = "unreachable"
    exit_code = ExitCode.UNREACHABLE
    is_retryable = True


class NotPermitted(CkptdError):
    """The caller may not do this."""

    code = "not_permitted"
    exit_code = ExitCode.NOT_PERMITTED


def shortage_of(error: BaseException, subject: str = "this node") -> Shortage | None:
    """Return the shortage that made something fail; ``None`` if none did.

    Args:
        error: What was raised.
        subject: What it happened to.
    """
    match error:
        case Shortage():
            return error
        case BlockingIOError():  # says EAGAIN of a socket on which nothing came
            return None
        case OSError(errno=code) if code in _SHORT_OF and code is not None:
            return Shortage(subject, *_SHORT_OF[code])
        case MemoryError():
            return Shortage(subject, *_SHORT_OF[errno.ENOMEM])
        case RuntimeError() if str(error) == _NO_THREAD:
            return Shortage(subject, *_SHORT_OF[errno.EAGAIN])
        case _:
            return None
