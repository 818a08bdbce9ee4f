import errno
import os
import subprocess
import sys

import pytest

from ckptd.errors import OutOfSpace, Shortage, StorageError, shortage_of

NO_THREAD = RuntimeError("can't start new thread")


def refused(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused(errno.EMFILE), "this process has no file descriptor left.*LimitNOFILE"),
        (refused(errno.ENFILE), "this machine has no file descriptor left.*fs.file-max"),
        (refused(errno.ENOMEM), "there is no memory left.*MemoryMax"),
        (refused(errno.ENOBUFS), "the kernel has no memory left for sockets"),
        (MemoryError(), "there is no memory left"),
        (NO_THREAD, "no thread can be started.*TasksMax"),
    ],
    ids=repr,
)
def test_a_shortage_says_of_what_and_what_to_do(error: Exception, said: str) -> None:
    shortage = shortage_of(error, "file /a")
    assert type(shortage) is Shortage
    assert shortage.is_retryable
    with pytest.raises(Shortage, match=f"^file /a: {said}"):
        raise shortage


@pytest.mark.parametrize(
    "error",
    [
        refused(errno.ENOSPC),
        refused(errno.EIO),
        refused(errno.ECONNREFUSED),
        refused(errno.EAGAIN),
        OSError("odd"),
        RuntimeError("odd"),
        OutOfSpace("disk", "is full"),
        StorageError("disk", "is broken"),
    ],
    ids=repr,
)
def test_anything_else_is_none(error: Exception) -> None:
    assert shortage_of(error) is None


def test_one_stays_what_it_is() -> None:
    shortage = Shortage("lane", "no thread can be started")
    assert shortage_of(shortage, "recovery") is shortage


def test_the_words_of_python_are_those_that_are_looked_for() -> None:
    """What ``threading`` raises when the kernel starts none, seen with a real limit."""
    script = (
        "import resource, threading\n"
        "from ckptd.errors import shortage_of\n"
        "resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        "threading.stack_size(256 << 20)\n"
        "try:\n"
        "    for _ in range(4):\n"
        "        threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "except RuntimeError as error:\n"
        "    print(shortage_of(error))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, timeout=60
    )
    assert b"no thread can be started" in ended.stdout, ended.stderr
