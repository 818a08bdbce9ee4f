"""Starts daemons that need not import what they run: they are forked off a process that has.

Half of what the tests with real daemons cost was the same 600 modules, imported at each of some
hundred starts: 0.55 of 0.67 s of processor time. The process here has imported them, has no
thread, no socket but the one to the tests, and no state of a daemon. A daemon that it forks is a
process of its own with its own descriptors, process group and exit code; it runs ``main`` of
``ckptd.cli.daemon`` to the end and ends as an interpreter does.

What is taken over by ``exec`` only cannot be had so: variables that Python or libc read when they
start, mounts of a thread, other programs in front. Daemons with those are started as everywhere.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_MESSAGE_BYTES_MAX: Final = 64 << 10
_END_S: Final = 60.0
_STREAMS: Final = 3


def has_mounts_of_process() -> bool:
    """Return whether this thread sees the mounts that the process has: it can have its own."""
    return os.readlink("/proc/thread-self/ns/mnt") == os.readlink("/proc/self/ns/mnt")


class ForkedProcess:
    """A daemon that was forked; waited for and signalled as a ``subprocess.Popen`` is.

    Args:
        pid: Its number; it is not reaped yet.
        reap: Returns its exit code once it has ended.
    """

    def __init__(self, pid: int, reap: Callable[[int], int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reap = reap
        self._pidfd = os.pidfd_open(pid)
        self._reaping = threading.Lock()

    def __del__(self) -> None:
        os.close(self._pidfd)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; ``None`` while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: It goes on.
        """
        returncode = self._look(timeout)
        if returncode is None:
            raise subprocess.TimeoutExpired(f"forked daemon {self.pid}", timeout or 0.0)
        return returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and self._has_ended(timeout_s):
            with self._reaping:
                if self.returncode is None:
                    self.returncode = self._reap(self.pid)
        return self.returncode

    def _has_ended(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


class ForkServer:
    """The process that daemons are forked off, as the tests see it. One is enough for a process.

    It sees what the thread that makes it sees, and so does everything that it forks.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        atexit.register(self.close)

    def start(self, arguments: Sequence[str], log_fd: int) -> ForkedProcess:
        """Start a daemon.

        Args:
            arguments: The command line of ``ckptd``.
            log_fd: Where it writes; what it reads is empty.
        """
        request = {
            "arguments": arguments,
            "directory": os.getcwd(),
            "environment": dict(os.environ),
        }
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = self._ask(request, (nothing, log_fd, log_fd))
        finally:
            os.close(nothing)
        return ForkedProcess(pid, self._reap)

    def close(self) -> None:
        """End the process, and whatever it forked that runs still."""
        if os.getpid() == self._owner:  # else a child that was forked off the tests
            self._channel.close()
            self._process.wait(_END_S)

    def _reap(self, pid: int) -> int:
        return self._ask({"reap": pid})

    def _ask(self, request: Mapping[str, object], fds: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(request).encode()], fds)
            answer = self._channel.recv(_MESSAGE_BYTES_MAX)
        assert answer, f"the fork server ended with {self._process.wait(_END_S)}"
        return int(answer)


_servers: list[ForkServer] = []
_making = threading.Lock()


def fork_server() -> ForkServer | None:
    """Return the one of this process; ``None`` where a thread sees other mounts than that."""
    if not has_mounts_of_process():
        return None
    with _making:
        if not _servers:
            _servers.append(ForkServer())
        return _servers[0]


def _serve(channel: socket.socket) -> list[str] | None:
    """Do what is asked until nobody asks any more.

    Returns:
        In each process that was forked, its command line; at the end, in this one, ``None``.
    """
    running = set[int]()
    with contextlib.suppress(ConnectionError):  # nobody hears the answer any more
        while True:
            message, fds, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES_MAX, _STREAMS)
            if not message:
                break
            request = json.loads(message)
            if "reap" in request:
                running.remove(request["reap"])
                _, status = os.waitpid(request["reap"], 0)
                answer = os.waitstatus_to_exitcode(status)
            elif answer := os.fork():
                running.add(answer)
                for fd in fds:
                    os.close(fd)
            else:
                return _become(request, fds)
            channel.send(str(answer).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)  # its number is its own: it is not reaped
    return None


def _become(request: dict[str, Any], fds: Sequence[int]) -> list[str]:
    """Let this process, which was forked, be as if it had been started; return its command line."""
    os.setpgid(0, 0)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    arguments: list[str] = request["arguments"]
    return arguments


def main() -> int:
    """Import what daemons run, then fork them off; in each of them, run it."""
    # Not at the top: the tests, which import this module, have no use for it.
    import ckptd.daemon.app  # noqa: PLC0415
    import ckptd.daemon.settings.start_checks  # noqa: F401, PLC0415
    from ckptd.cli import daemon  # noqa: PLC0415

    assert threading.active_count() == 1, "a fork takes one thread along"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        arguments = _serve(channel)
    return 0 if arguments is None else daemon.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
