"""A race for the way out of a root: directories turn into links and back while ckptd works there.

Outside lie the same names with other bytes, so that a link that is followed leads to success.
inotify tells of everything that is opened, made, changed or removed there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ckptd.errors import CkptdError
from ckptd.store.published.checking import Reading
from ckptd.store.published.removing import examine, remove
from ckptd.store.staging.current_link import CurrentLink
from tests.support.stagings import Site
from tests.support.stores import publish, served_from, write_files

INSIDE = {"config.json": b"i" * 700, "shards/a.bin": b"i" * 300_000, "shards/b.bin": b"i" * 5_000}
OUTSIDE = {path: b"o" * len(content) for path, content in INSIDE.items()}

_libc = ctypes.CDLL(None, use_errno=True)
_ALL_EVENTS = 0x00000FFF  # <sys/inotify.h>

_SWAP = """
import ctypes, sys
libc = ctypes.CDLL(None)
pairs = [name.encode() for name in sys.argv[1:]]
print("ready", flush=True)
while True:
    for name in pairs:
        for _ in range(2):
            libc.renameat2(-100, name, -100, name + b".link", 2)  # RENAME_EXCHANGE
"""


class LinkRace:
    """The scene, and one round of everything that ckptd does below a root.

    Attributes:
        counts: How many acts succeeded and how many were refused, by name.
    """

    def __init__(self, base: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._root = base / "root"
        self._outside = base / "outside"
        for directory, contents in ((self._root / "race", INSIDE), (self._outside, OUTSIDE)):
            write_files(directory / "v", contents)
            write_files(directory, {"t/kept": b"", "x/y/z": b"x", "a": b"a"})
        write_files(self._outside, {"r-1/config.json": b"o" * 700})
        for name in ("race", ".ckptd"):
            (self._root / f"{name}.link").symlink_to(self._outside)
        self._race = os.open(self._root / "race", os.O_RDONLY | os.O_DIRECTORY)
        self.site = Site(self._root, INSIDE)
        self._published = publish(self.site.root, "race/v")
        self._before = self._outside_facts()
        self._events = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for inner, _, _ in os.walk(self._outside):
            watch = _libc.inotify_add_watch(self._events, os.fsencode(inner), _ALL_EVENTS)
            assert watch >= 0
        with contextlib.suppress(BlockingIOError):
            os.read(self._events, 1 << 20)

    @contextlib.contextmanager
    def swapping(self) -> Iterator[None]:
        """Let another process swap directories for links as fast as it can."""
        names = [str(self._root / name) for name in ("race", ".ckptd")]
        with subprocess.Popen(
            [sys.executable, "-c", _SWAP, *names], stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield
            finally:
                process.kill()

    def run_round(self) -> None:
        """Do everything once; a refusal in ckptd's words is fine, anything else is not."""
        root = self.site.root
        self._try("publish", lambda: publish(root, "race/v"))
        self._try("serve", self._serve)
        self._try("recover", self._recover)
        self._try("remove", lambda: root.remove_tree("race/x"))
        self._try("let go", self._let_go)
        self._try("rename", lambda: root.rename("race/a", "race/b"))
        self._try("rename back", lambda: root.rename("race/b", "race/a"))
        self._try("make", lambda: os.close(root.open_directory("race/m/n", create=True)))
        self._try("walk", lambda: list(root.walk("race")))
        self._try("activate", self._activate)
        self._try("look", lambda: root.stat("race/a"))
        self._try("read", lambda: os.close(root.open_file("race/v/config.json", os.O_RDONLY)))
        self._try("write", lambda: os.close(root.open_file("race/w", os.O_WRONLY | os.O_CREAT)))
        with contextlib.suppress(FileExistsError):  # what was removed, for the next round
            os.mkdir("x", dir_fd=self._race)
            os.mkdir("x/y", dir_fd=self._race)

    def _try(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
            self.counts[f"{name}: done"] += 1
        except CkptdError:
            self.counts[f"{name}: refused"] += 1

    def _serve(self) -> None:
        served = served_from(self.site.root, self._published)
        for piece in served.pieces(0, served.size_bytes):
            data = piece.data or os.pread(piece.fd, piece.size_bytes, piece.offset)
            assert data == b"i" * piece.size_bytes, "bytes from outside were served"

    def _let_go(self) -> None:
        root = self.site.root
        write_files(Path(f"/proc/self/fd/{self._race}/gone"), INSIDE)
        published = publish(root, "race/gone")
        examined = examine(root, published, (), Reading())
        remove(root, published, examined, with_foreign=True)

    def _activate(self) -> None:
        link, ours = CurrentLink(self.site.root, "race/current"), {"v", "t"}
        said = link.check(ours)
        link.prepare("t" if said == "v" else "v", ours, None)
        link.swap(said)
        link.sync()

    def _recover(self) -> None:
        staging = self.site.staging(target="race/t/100")
        try:
            self.site.deliver(staging, self.site.everything - staging.prepare(self.site.everything))
            staging.place(self.site.everything - self.site.everything)
            self.site.root.remove_tree("race/t/100")
        finally:
            staging.discard()

    def check(self) -> None:
        """Nothing outside was touched, nor even opened."""
        touched = b""
        with contextlib.suppress(BlockingIOError):
            touched = os.read(self._events, 1 << 20)
        assert not touched, f"something happened outside: {touched[:200]!r}"
        assert self._outside_facts() == self._before

    def _outside_facts(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for directory, directories, names in os.walk(self._outside):
            for name in (".", *directories, *names):
                path = os.path.join(directory, name)
                facts = os.lstat(path)
                found[path] = (
                    *(facts.st_ino, facts.st_mode, facts.st_uid, facts.st_nlink, facts.st_size),
                    *(facts.st_mtime_ns, facts.st_ctime_ns),
                )
        return found

    def close(self) -> None:
        self.site.close()
        os.close(self._race)
        os.close(self._events)
