import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stores import write_files

PROBE = """
import errno, os, sqlite3, sys, threading
from ckptd.store.files.confined import open_configured, rename_noreplace
from ckptd.store.files.landlock import confine_writing

base = sys.argv[1]
root = open_configured(f"{base}/root")
if not confine_writing([root]):
    sys.exit(77)

def refused(act, *args):
    try:
        act(*args)
    except OSError as error:
        assert error.errno in (errno.EACCES, errno.EXDEV), error
        return
    raise AssertionError(f"{act.__name__}{args} was not refused")

def probe():
    refused(open, f"{base}/outside/secret", "ab")
    refused(open, f"{base}/outside/new", "wb")
    refused(open, "/etc/ckptd-probe", "wb")
    refused(os.truncate, f"{base}/outside/secret", 0)
    refused(os.unlink, f"{base}/outside/secret")
    refused(os.mkdir, f"{base}/outside/new")
    refused(os.symlink, "x", f"{base}/outside/new")
    refused(os.rename, f"{base}/outside/secret", f"{base}/root/taken")
    refused(os.rename, f"{base}/root/file", f"{base}/outside/file")
    refused(os.link, f"{base}/outside/secret", f"{base}/root/taken")
    assert open(f"{base}/outside/secret", "rb").read() == b"s"
    open("/dev/null", "wb").write(b"x")
    os.makedirs(f"{base}/root/.ckptd/r")
    os.makedirs(f"{base}/root/llama")
    open(f"{base}/root/.ckptd/r/file", "wb").write(b"x")
    os.rename(f"{base}/root/.ckptd/r", f"{base}/root/llama/100")
    with sqlite3.connect(f"{base}/root/db") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (x)")

thread = threading.Thread(target=probe)
failures = []
threading.excepthook = lambda args: failures.append(args.exc_value)
thread.start()
thread.join()
if failures:
    raise failures[0]
"""


def test_a_confined_process_writes_below_its_directories_and_nowhere_else(tmp_path: Path) -> None:
    write_files(tmp_path, {"root/file": b"f", "outside/secret": b"s"})
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    if run.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert run.returncode == 0, run.stderr
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("outside/*")] == [
        "outside/secret"
    ]
