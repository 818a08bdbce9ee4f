"""Tools that people use to fetch files, each as they would use it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from ckptd.cli.demo.demo_checkpoint import files_below
from ckptd.limits import MIB
from tests.benchmarks.competitors import (
    SOURCES,
    Fetched,
    Place,
    free_port,
    process,
    run,
    version_of,
    wait_listening,
)

PIECE_BYTES = MIB
"""Of the Metalink file: what ckptd verifies at once in a unit of 2 GiB."""


class _OverHttp:
    """Fetches from nginx, one for each source, which sends with sendfile."""

    makes_files = True

    def _urls(self, path: str) -> list[str]:
        return [f"http://{address}/{path}" for address in self._addresses]

    @contextlib.contextmanager
    def _nginx(self, place: Place) -> Iterator[None]:
        # Addresses of their own: clients count connections for each host, whatever the port.
        self._addresses = [f"127.0.0.{1 + n}:{free_port()}" for n in range(SOURCES)]
        with contextlib.ExitStack() as running:
            for number, address in enumerate(self._addresses):
                own = place.own / f"nginx-{number}"
                own.mkdir()
                config = own / "nginx.conf"
                config.write_text(_NGINX.format(own=own, source=place.source, address=address))
                running.enter_context(process("nginx", "-c", config, "-p", own))
            for address in self._addresses:
                wait_listening(address)
            yield


class Aria2(_OverHttp):
    """aria2c with a Metalink file: four mirrors, a hash for each piece."""

    name = "aria2c"
    what = "Metalink, four nginx, SHA-256 of 1 MiB each"
    verifies = True
    programs = ("aria2c", "nginx")

    def version(self) -> str:
        return version_of("aria2c", "--version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        with self._nginx(place):
            self._metalink = place.own / "files.meta4"
            with self._metalink.open("w") as out:
                out.write(_METALINK_HEAD)
                for path in sorted(files_below(str(place.source))):
                    out.write(self._entry(place.source, path))
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

    def fetch(self, target: Path) -> Fetched:
        return _timed(
            lambda: run(
                *("aria2c", "--no-conf", "-q", "--file-allocation=none"),
                *("--auto-save-interval=0", "--split=4", "--max-connection-per-server=1"),
                *("--min-split-size=1M", "-j16", "--uri-selector=inorder"),
                *("-d", target, "-M", self._metalink),
            )
        )


class Curl(_OverHttp):
    """curl from one source: what a shell script does."""

    name = "curl"
    what = "one nginx, one file after another"
    verifies = False
    programs = ("curl", "nginx")

    def version(self) -> str:
        return version_of("curl", "--version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        with self._nginx(place):
            self._paths = sorted(files_below(str(place.source)))
            self._list = place.own / "urls"
            yield

    def fetch(self, target: Path) -> Fetched:
        self._list.write_text(
            "".join(
                f'url = "{self._urls(path)[0]}"\noutput = "{target / path}"\n'
                for path in self._paths
            )
        )
        return _timed(lambda: run("curl", "-fsS", "--create-dirs", "-K", self._list))


class Rclone(_OverHttp):
    """rclone from one source, several streams for a file."""

    name = "rclone"
    what = "one nginx, four streams of a file"
    verifies = False
    programs = ("rclone", "nginx")

    def version(self) -> str:
        return version_of("rclone", "version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        with self._nginx(place):
            self._config = place.own / "rclone.conf"
            self._config.write_text("")
            yield

    def fetch(self, target: Path) -> Fetched:
        return _timed(
            lambda: run(
                *("rclone", "copy", "--config", self._config, "--http-url", self._urls("")[0]),
                *("--multi-thread-streams=4", "--multi-thread-cutoff=16M", "--transfers=8"),
                *("--checkers=8", "--quiet", ":http:", target),
            )
        )


class Rsync:
    """rsync from one daemon.

    Args:
        options: How it copies.
    """

    what = "one daemon"
    verifies = False
    makes_files = True
    programs = ("rsync",)

    def __init__(self, options: str) -> None:
        self.name = f"rsync {options}"
        self._options = options

    def version(self) -> str:
        return version_of("rsync", "--version")

    @contextlib.contextmanager
    def serve(self, place: Place) -> Iterator[None]:
        self._port = free_port()
        config = place.own / "rsyncd.conf"
        config.write_text(f"use chroot = no\nuid = {os.getuid()}\n[source]\npath={place.source}\n")
        options = ("--no-detach", f"--config={config}", "--address=127.0.0.1")
        with process("rsync", "--daemon", *options, f"--port={self._port}"):
            wait_listening(f"127.0.0.1:{self._port}")
            yield

    def fetch(self, target: Path) -> Fetched:
        target.mkdir(parents=True)
        source = f"rsync://127.0.0.1:{self._port}/source/"
        return _timed(lambda: run("rsync", self._options, source, f"{target}/"))


def _timed(work: Callable[[], object]) -> Fetched:
    started_s = time.perf_counter()
    work()
    return Fetched(time.perf_counter() - started_s)


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
    server {{ listen {address}; root {source}; autoindex on; }}
}}
"""
