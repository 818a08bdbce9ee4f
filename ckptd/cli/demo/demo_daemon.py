"""A daemon in a process of its own on this machine, with its files in one directory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final, Protocol

from ckptd.cli.pki.authority import Authority
from ckptd.config import parse_address
from ckptd.control.client import ControlClient
from ckptd.errors import CkptdError, DaemonUnreachable
from ckptd.model.ids import parse_node_id

READY_TIMEOUT_S: Final = 120.0
"""A start takes 0.5 s; of eight on a machine that is busy with something else, much more."""

POLL_INTERVAL_S: Final = 0.02
"""Often enough to catch a recovery half-way that takes half a second."""

_TAIL_LINES: Final = 15

_CONFIG: Final = """\
[node]
id = {node}
state_dir = {state_dir}
{zone}[roots]
main = {root}
{roots}[listen]
data = "{host}:{port}"
metrics = {metrics}
control = {control}
connections_per_address = {per_address}
[discovery]
peers = {peers}
[log]
format = "logfmt"
[publish]
settle = "0s"
[recovery]
buffers = {buffers}
"""
"""What is added after it may begin with more keys of ``[recovery]``."""

_KILLED_S: Final = 5.0
"""After this a killed process is gone, whatever is said of it."""

_TLS: Final = """\
[tls]
ca = {ca}
certificate = {certificate}
key = {key}
"""


class Process(Protocol):
    """What a daemon needs of a ``subprocess.Popen``."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; ``None`` while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: It goes on.
        """

    def send_signal(self, number: int, /) -> None:
        """Send a signal, if it still runs."""

    def terminate(self) -> None:
        """Ask it to stop."""

    def kill(self) -> None:
        """End it at once."""


class LocalDaemon:
    """One node: its configuration, its process, its log.

    Args:
        directory: Exists; everything of the daemon but its root goes there.
        node: Its name.
        root: Its first root; exists.
        peers: Addresses of other daemons.
        buffers: As in the configuration.
        metrics: As in the configuration.
        authority: Issues its certificate; ``None``: it uses plaintext.

    Attributes:
        node: Its name.
        root: Its first root.
        roots: Its other roots by name; as with ``sections``.
        zone: What fails together with it; empty: not known. As with ``sections``.
        sections: More of the configuration, as TOML; a change counts from the next start on.
        client: Talks to it.
        data_port: Where peers reach it; 0 until it was ready once, and then the same for ever.
        config_path: Its configuration, written at every start.
        host: The address that it listens on.
        connections_per_address: Of peers; daemons of one machine are all behind one address.
        prefix: Words in front of its command line, e.g. those that enter a network namespace.
        environment: Variables of the process; ``None`` for those of this one.
        module: What is run; has the command line of ``ckptd``.
    """

    def __init__(  # noqa: PLR0913 (what its configuration says, each named)
        self,
        directory: str,
        *,
        node: str,
        root: str,
        peers: Sequence[str] = (),
        buffers: str = "64MiB",
        metrics: str = "",
        authority: Authority | None = None,
    ) -> None:
        self.node = node
        self.root = root
        self.data_port = 0
        self.environment: dict[str, str] | None = None
        self.module = "ckptd.cli.daemon"
        self.client = ControlClient(os.path.join(directory, "sock"))
        self.state_dir = os.path.join(directory, "state")
        self.log_path = os.path.join(directory, "log")
        self.config_path = os.path.join(directory, "ckptd.toml")
        self._process: Process | None = None
        self._is_asked_to_end = False
        self.sections = ""
        self.roots: dict[str, str] = {}
        self.zone = ""
        self.host = "127.0.0.1"
        self.connections_per_address = 512
        self.prefix: tuple[str, ...] = ()
        self._settings = {
            "node": node,
            "state_dir": self.state_dir,
            "root": root,
            "metrics": metrics,
            "control": self.client.socket_path,
            "peers": list(peers),
            "buffers": buffers,
        }
        self._tls: dict[str, str] = {}
        if authority is not None:
            certificate, key = authority.issue(parse_node_id(node))
            self._tls = {
                "ca": authority.certificate_path,
                "certificate": certificate,
                "key": key,
            }
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)

    @property
    def address(self) -> str:
        """``HOST:PORT`` for peers, once it is known."""
        return f"{self.host}:{self.data_port}"

    @property
    def exit_code(self) -> int | None:
        """How the process ended; negative for a signal; ``None`` while it runs or never did."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int:
        """The process; it was started."""
        assert self._process is not None, f"{self.node} was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """The process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """The process ended, and not because it was asked to."""
        return self.exit_code is not None and not self._is_asked_to_end

    def start(self, *options: str) -> None:
        """Start the process; it is not ready yet.

        Args:
            options: More of ``ckptd run``.
        """
        assert not self.is_running, f"{self.node} runs already"
        self._is_asked_to_end = False
        self._write_config()
        with open(self.log_path, "ab") as log:
            self._process = self._run(["run", "--config", self.config_path, *options], log.fileno())

    def follow(self, peers: Sequence[str]) -> None:
        """Have it follow other peers than so far, at once and after every start.

        Args:
            peers: Their addresses; its own may be among them.
        """
        self._settings["peers"] = list(peers)
        self._write_config()
        self.client.reload()

    def _write_config(self) -> None:
        # Strings and lists of JSON are the same in TOML.
        settings = {name: json.dumps(value) for name, value in self._settings.items()}
        roots = "".join(f"{name} = {json.dumps(path)}\n" for name, path in self.roots.items())
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(
                _CONFIG.format(
                    zone=f"zone = {json.dumps(self.zone)}\n" if self.zone else "",
                    roots=roots,
                    host=self.host,
                    port=self.data_port,
                    per_address=self.connections_per_address,
                    **settings,
                )
                + self.sections
            )
            if self._tls:
                file.write(
                    _TLS.format(**{key: json.dumps(path) for key, path in self._tls.items()})
                )

    def _run(self, arguments: Sequence[str], log_fd: int) -> Process:
        return subprocess.Popen(  # noqa: S603  our own program
            [*self.prefix, sys.executable, "-m", self.module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            env=self.environment,
            # Ctrl-C goes to the process that started it, which then stops it.
            process_group=0,
        )

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            CkptdError: It ended, or it takes too long.
        """
        assert self._process is not None, f"{self.node} was not started"
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            self.check_running()
            with contextlib.suppress(DaemonUnreachable):
                self.data_port = parse_address(self.client.status().listen.data).port
                return
            pause()
        raise CkptdError(f"daemon {self.node}", f"did not answer within {READY_TIMEOUT_S:.0f}s")

    def check_running(self) -> None:
        """Check that the process has not ended.

        Raises:
            CkptdError: It has.
        """
        if not self.is_running:
            raise CkptdError(f"daemon {self.node}", f"ended with exit code {self.exit_code}")

    def kill(self) -> None:
        """Kill it without warning, by SIGKILL. Does nothing if it does not run."""
        if self._process is not None:
            self._is_asked_to_end = True
            self._process.kill()
            try:
                self._process.wait(_KILLED_S)
            except subprocess.TimeoutExpired:
                # An interrupt within Popen.poll can leave its lock locked for ever.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self._process.pid, 0)

    def terminate(self) -> None:
        """Ask it to stop, by SIGTERM; does not wait until it has."""
        assert self._process is not None, f"{self.node} was not started"
        self._is_asked_to_end = True
        self._process.terminate()

    def wait_ended(self, timeout_s: float) -> int:
        """Wait for the end of the process and return its exit code.

        Raises:
            TimeoutError: It goes on.
        """
        assert self._process is not None, f"{self.node} was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.node} did not end within {timeout_s}s") from error

    def log_tail(self) -> list[str]:
        """Return the last lines of its log."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()[-_TAIL_LINES:]
        except FileNotFoundError:
            return []


def pause() -> None:
    """Wait a little before looking again."""
    time.sleep(POLL_INTERVAL_S)  # noqa: TID251  a command has nothing else to do
