"""Ways to fetch a directory from four servers, each as people would use it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

from ckptd import __version__
from ckptd.cli.certificates import Authority
from ckptd.cli.demo_checkpoint import files_below
from ckptd.cli.demo_daemon import LocalDaemon
from ckptd.control.api import Outcome, PublishRequest, RecoverRequest, RecoveryResult
from ckptd.limits import MIB
from tests.support.cluster import eventually

SOURCES = 4
PIECE_BYTES = MIB
"""Of the Metalink file: what ckptd verifies at once in a unit of 2 GiB."""


class Competitor(Protocol):
    """One way.

    Attributes:
        name: In the table.
        what: What is compared, in a few words.
        verifies: Wrong bytes would be noticed.
        version: Of the program that fetches.
    """

    name: str
    what: str
    verifies: bool
    version: str

    def serve(self, directory: Path, source: Path) -> contextlib.AbstractContextManager[None]:
        """Start the servers; ``directory`` is theirs."""

    def fetch(self, target: Path) -> None:
        """Make the target a copy of the source."""


def installed_competitors() -> tuple[list[Competitor], list[str]]:
    """Return who can take part, and a line for each who cannot."""
    everybody: list[tuple[Competitor, tuple[str, ...]]] = [
        (Ckptd(), ()),
        (CkptdOverTls(), ()),
        (Aria2(), ("aria2c", "nginx")),
        (Curl(), ("curl", "nginx")),
        (Rsync(), ("rsync",)),
    ]
    competitors, missing = [], []
    for competitor, programs in everybody:
        lacking = [program for program in programs if not shutil.which(program)]
        if lacking:
            missing.append(f"without {competitor.name}: {' and '.join(lacking)} not installed")
        else:
            competitors.append(competitor)
    return competitors, missing


class Ckptd:
    """Four daemons publish the directory, a fifth recovers it, again and again."""

    name = "ckptd"
    what = "every block verified, fsync, rename"
    verifies = True
    version = __version__
    uses_tls = False

    @contextlib.contextmanager
    def serve(self, directory: Path, source: Path) -> Iterator[None]:
        self._authority = Authority(str(directory / "ca")) if self.uses_tls else None
        if self._authority is not None:
            self._authority.create()
        with contextlib.ExitStack() as running:
            sources = [
                self._daemon(running, directory, f"node-{number}", source, [])
                for number in range(SOURCES)
            ]
            request = PublishRequest(directory=str(source), checkpoint="bench", version=1)
            for daemon in sources:
                list(daemon.client.publish(request))
            root = directory / "received"
            root.mkdir()
            peers = [daemon.address for daemon in sources]
            self._receiver = self._daemon(running, directory, "receiver", root, peers)
            eventually(self._sees_all, "the receiver knows all sources")
            yield

    def _daemon(
        self,
        running: contextlib.ExitStack,
        directory: Path,
        node: str,
        root: Path,
        peers: Sequence[str],
    ) -> LocalDaemon:
        own = directory / node
        own.mkdir()
        buffers = "256MiB" if peers else "32MiB"
        daemon = LocalDaemon(
            str(own),
            node=node,
            root=str(root),
            peers=peers,
            buffers=buffers,
            authority=self._authority,
        )
        running.callback(daemon.kill)
        daemon.start()
        daemon.wait_ready()
        return daemon

    def _sees_all(self) -> bool:
        return any(len(row.nodes) == SOURCES for row in self._receiver.client.checkpoints())

    def fetch(self, target: Path) -> None:
        client = self._receiver.client
        view = client.recover(RecoverRequest(checkpoint="bench", version=1, to=str(target)))
        *_, result = client.watch(view.recovery)
        assert isinstance(result, RecoveryResult)
        assert result.result is Outcome.COMPLETE, result.message


class CkptdOverTls(Ckptd):
    """The same, with mutual TLS."""

    name = "ckptd-tls"
    what = "mutual TLS 1.3, every block verified, fsync, rename"
    uses_tls = True


class _OverHttp:
    """Fetches from nginx, one for each source, which sends with sendfile."""

    def _urls(self, path: str) -> list[str]:
        return [f"http://{address}/{path}" for address in self._addresses]

    @contextlib.contextmanager
    def _nginx(self, directory: Path, source: Path) -> Iterator[None]:
        # Addresses of their own: clients count connections for each host, whatever the port.
        self._addresses = [f"127.0.0.{1 + n}:{_free_port()}" for n in range(SOURCES)]
        with contextlib.ExitStack() as running:
            for number, address in enumerate(self._addresses):
                own = directory / f"nginx-{number}"
                own.mkdir()
                config = own / "nginx.conf"
                config.write_text(_NGINX.format(own=own, source=source, address=address))
                running.enter_context(_process("nginx", "-c", str(config), "-p", str(own)))
            for address in self._addresses:
                _wait_listening(address)
            yield


class Aria2(_OverHttp):
    """aria2c with a Metalink file: four mirrors, a hash for each piece."""

    name = "aria2c"
    what = "Metalink, four nginx, SHA-256 of pieces of 1 MiB"
    verifies = True

    def __init__(self) -> None:
        self.version = _version_of("aria2c", "--version")

    @contextlib.contextmanager
    def serve(self, directory: Path, source: Path) -> Iterator[None]:
        with self._nginx(directory, source):
            self._metalink = directory / "files.meta4"
            with self._metalink.open("w") as out:
                out.write(_METALINK_HEAD)
                for path in sorted(files_below(str(source))):
                    out.write(self._entry(source, path))
                out.write("</metalink>\n")
            yield

    def _entry(self, source: Path, path: str) -> str:
        hashes = []
        with (source / path).open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                hashes.append(f"<hash>{hashlib.sha256(piece).hexdigest()}</hash>")
        size = (source / path).stat().st_size
        urls = "".join(f"<url>{escape(url)}</url>" for url in self._urls(path))
        pieces = f'<pieces length="{PIECE_BYTES}" type="sha-256">{"".join(hashes)}</pieces>'
        return f'<file name="{escape(path)}"><size>{size}</size>{pieces}{urls}</file>\n'

    def fetch(self, target: Path) -> None:
        _run(
            *("aria2c", "--no-conf", "-q", "--file-allocation=none", "--auto-save-interval=0"),
            *("--split=4", "--max-connection-per-server=1", "--min-split-size=1M", "-j16"),
            *("--uri-selector=inorder", "-d", str(target), "-M", str(self._metalink)),
        )


class Curl(_OverHttp):
    """curl from one source: what a shell script does."""

    name = "curl"
    what = "one nginx"
    verifies = False

    def __init__(self) -> None:
        self.version = _version_of("curl", "--version")

    @contextlib.contextmanager
    def serve(self, directory: Path, source: Path) -> Iterator[None]:
        with self._nginx(directory, source):
            self._paths = sorted(files_below(str(source)))
            self._list = directory / "urls"
            yield

    def fetch(self, target: Path) -> None:
        self._list.write_text(
            "".join(
                f'url = "{self._urls(path)[0]}"\noutput = "{target / path}"\n'
                for path in self._paths
            )
        )
        _run("curl", "-fsS", "--create-dirs", "-K", str(self._list))


class Rsync:
    """rsync from one daemon, whole files."""

    name = "rsync"
    what = "one daemon, -rW"
    verifies = False

    def __init__(self) -> None:
        self.version = _version_of("rsync", "--version")

    @contextlib.contextmanager
    def serve(self, directory: Path, source: Path) -> Iterator[None]:
        self._port = _free_port()
        config = directory / "rsyncd.conf"
        config.write_text(f"use chroot = no\nuid = {os.getuid()}\n[source]\npath = {source}\n")
        options = ("--no-detach", f"--config={config}", "--address=127.0.0.1")
        with _process("rsync", "--daemon", *options, f"--port={self._port}"):
            _wait_listening(f"127.0.0.1:{self._port}")
            yield

    def fetch(self, target: Path) -> None:
        target.mkdir(parents=True)
        _run("rsync", "-rW", f"rsync://127.0.0.1:{self._port}/source/", f"{target}/")


_METALINK_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n'
)

_NGINX = """\
daemon off;
master_process off;
pid {own}/pid;
error_log {own}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{ listen {address}; root {source}; }}
}}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert isinstance(port, int)
    return port


def _wait_listening(address: str) -> None:
    host, _, port = address.rpartition(":")

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((host, int(port))).close()
            return True
        return False

    eventually(connects, f"somebody listens at {address}")


@contextlib.contextmanager
def _process(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _version_of(*command: str) -> str:
    with contextlib.suppress(OSError):
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        return shown.stdout.partition("\n")[0].strip()
    return ""
