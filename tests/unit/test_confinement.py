"""Only one module hands names to the kernel; whoever else does must stand here with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ckptd"

OS_CALLS = {
    "access",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "execv",
    "execve",
    "execvp",
    "fwalk",
    "getxattr",
    "lchown",
    "link",
    "listdir",
    "listxattr",
    "lstat",
    "makedirs",
    "mkdir",
    "mkfifo",
    "mknod",
    "open",
    "pathconf",
    "posix_spawn",
    "readlink",
    "remove",
    "removedirs",
    "removexattr",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "scandir",
    "setxattr",
    "stat",
    "statvfs",
    "symlink",
    "truncate",
    "unlink",
    "utime",
    "walk",
}
PATH_CALLS = {
    "exists",
    "getatime",
    "getctime",
    "getmtime",
    "getsize",
    "isdir",
    "isfile",
    "islink",
    "ismount",
    "lexists",
    "realpath",
    "samefile",
}
MODULES = {"shutil", "tempfile", "pathlib", "glob", "aiofiles", "fileinput", "linecache"}
OTHERS = {"io.open", "codecs.open", "sqlite3.connect", "ctypes.CDLL", "inotify_simple.INotify"}

ALLOWED = {
    "store/files/confined.py": None,  # the module itself
    "cli/": None,  # runs as whoever typed it, on that person's own files
    "config/document.py": {"open"},  # the configuration, which is the operator's; only read
    "config/layers.py": {"os.listdir"},  # conf.d beside it
    "control/client.py": {"os.stat"},  # runs as whoever typed it
    "control/passing.py": {"os.open"},  # runs as whoever typed it, on that person's own files
    # The certificates that the configuration names, which are the operator's; only read.
    "net/connection/certificates.py": {"open", "os.stat"},
    "net/source/congestion.py": {"open"},  # the kernel's names of them, below /proc; only read
    # The socket that the configuration names, in a directory that belongs to the operator; the
    # kernel binds sockets by path only.
    "control/server/gate.py": {"os.chmod", "os.lstat", "os.stat", "os.unlink"},
    "control/server/callers.py": {"ctypes.CDLL"},  # calls take descriptors
    "daemon/host/allocator.py": {"ctypes.CDLL"},  # a call without names
    "daemon/host/boots.py": {"open"},  # what names the boot, below /proc
    "daemon/host/descriptors.py": {"os.listdir"},  # counts what /proc/self/fd has
    # Counters below /sys; the name is checked, and only read.
    "daemon/host/interface.py": {"open"},
    # Counters below /sys/dev/block and /proc/self, by names that the kernel gave; only read.
    "daemon/host/disk_load.py": {"open", "os.readlink"},
    "daemon/host/networks.py": {"open"},  # the kernel's tables below /proc/net
    # What the configuration names, and the kernel's tables; only read.
    "daemon/host/off_loop.py": {"aiofiles", "aiofiles.open", "aiofiles.os", "aiofiles.os.stat"},
    "daemon/host/memory_limits.py": {"open"},  # limits of own cgroups, below /proc and /sys
    # Compares configured directories, opens nothing.
    "daemon/host/confinement.py": {"os.path.realpath"},
    # SQLite opens by path; the directory is the daemon's own, checked when it is taken.
    "store/records/database.py": {"sqlite3.connect"},
    # What the kernel says of descriptors below /proc; calls take descriptors.
    "store/files/mounts.py": {"ctypes.CDLL", "open"},
    # What the kernel says of hard links, below /proc; only read.
    "store/files/links.py": {"open"},
    # Of directories that are open already.
    "store/files/access_lists.py": {"os.getxattr", "os.removexattr", "os.setxattr"},
    "store/files/kernel.py": {"ctypes.CDLL", "os.utime"},  # calls take descriptors
    "store/files/keys.py": {"open", "os.open"},  # key files, where the configuration says they are
    # Directories that are open already, by their numbers below /proc/self/fd.
    "store/files/watches.py": {"inotify_simple.INotify"},
    "store/files/landlock.py": {"ctypes.CDLL", "os.open"},  # /dev/null, before anything is served
}


def path_calls(source: str) -> set[str]:
    """Return everything in a module through which a path can reach the kernel, by full name."""
    tree = ast.parse(source)
    bound = dict(imports(tree))
    found = {name for name in bound.values() if is_path_call(name)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="open", ctx=ast.Load()):
                found.add("open")
            case ast.Attribute() if is_path_call(full := full_name(node, bound)):
                found.add(full)
            case _:
                pass
    return found


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that an import binds, and what it stands for."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    top = name.name.partition(".")[0]
                    yield (name.asname, name.name) if name.asname else (top, top)
            case ast.ImportFrom(module=str(module), names=names):
                for name in names:
                    yield name.asname or name.name, f"{module}.{name.name}"
            case _:
                pass


def full_name(node: ast.expr, modules: dict[str, str]) -> str:
    match node:
        case ast.Attribute(value=value, attr=attr):
            return f"{full_name(value, modules)}.{attr}"
        case ast.Name(id=name):
            return modules.get(name, "")
        case _:
            return ""


def is_path_call(full: str) -> bool:
    module, _, name = full.rpartition(".")
    return (
        full.partition(".")[0] in MODULES
        or (module in {"os", "posix"} and name in OS_CALLS)
        or (module in {"os.path", "posixpath"} and name in PATH_CALLS)
        or full in OTHERS
    )


def allowed_in(module: str) -> set[str] | None:
    """Return what a module may use; ``None``: anything."""
    place = "cli/" if module.startswith("cli/") else module
    return ALLOWED.get(place, set())


MODULES_HERE = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("module", MODULES_HERE)
def test_no_path_reaches_the_kernel_but_through_the_confined_module(module: str) -> None:
    allowed = allowed_in(module)
    found = path_calls((PACKAGE / module).read_text())
    assert allowed is None or found <= allowed, "use ckptd.store.files.confined"


def test_no_permission_outlives_its_need() -> None:
    for module, allowed in ALLOWED.items():
        if allowed is not None:
            assert allowed == path_calls((PACKAGE / module).read_text()), module


@pytest.mark.parametrize(
    "source",
    [
        "data = open('/etc/passwd')",
        "opener = open",
        "import os\nos.rename('a', 'b')",
        "import os\nos.open('a', os.O_RDONLY, dir_fd=3)",
        "import os as system\nsystem.unlink('a')",
        "from os import rename\nrename('a', 'b')",
        "import os\nf(os.stat)",
        "import os\nos.path.exists('a')",
        "from os import path\npath.realpath('a')",
        "from os.path import exists as there",
        "import shutil",
        "from pathlib import Path",
        "def f():\n    from tempfile import mkdtemp",
        "import aiofiles.os",
        "import io\nio.open('a')",
        "import sqlite3\nsqlite3.connect('a')",
        "import ctypes\nlibc = ctypes.CDLL(None)",
        "from inotify_simple import INotify\nINotify()",
    ],
)
def test_the_scan_sees_every_way_to_a_path(source: str) -> None:
    assert path_calls(source)


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.fstat(3), os.close(3), os.fsync(3), os.pread(3, 1, 0)",
        "import os\nos.path.join('a', 'b')",
        "roots.rename('a', 'b')",
        "book.open(recovery)",
        "def stat(facts: os.stat_result): ...",
    ],
)
def test_the_scan_leaves_descriptors_and_namesakes_alone(source: str) -> None:
    assert not path_calls(source)
