import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.call_filters import Filter, filter_of_unit, refusing, under
from tests.support.stores import write_files

SECURITY_MODULES = Path("/sys/kernel/security/lsm")

PROBE = """
import errno, os, sqlite3, sys, threading
from ckptd.store.files.confined import open_configured, rename_noreplace
from ckptd.store.files.landlock import confine_writing

base = sys.argv[1]
root = open_configured(f"{base}/root")
confinement = confine_writing([root])
if confinement.state != "confined":
    print(confinement.state, confinement.refusal, sep=": ")
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


def probe(directory: Path, calls: Filter | None = None) -> subprocess.CompletedProcess[str]:
    write_files(directory, {"root/file": b"f", "outside/secret": b"s"})
    command = [sys.executable, "-c", PROBE, str(directory)]
    return subprocess.run(
        command if calls is None else under(calls, *command),
        capture_output=True,
        text=True,
        check=False,
    )


def confines(directory: Path) -> bool:
    """Return whether this kernel has Landlock, and nothing around the tests forbids it."""
    return probe(directory / "without").returncode != 77


def test_a_confined_process_writes_below_its_directories_and_nowhere_else(tmp_path: Path) -> None:
    run = probe(tmp_path)
    if run.returncode == 77:
        pytest.skip(f"no Landlock here: {run.stdout}")
    assert run.returncode == 0, run.stderr
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("outside/*")] == [
        "outside/secret"
    ]


def test_the_filter_of_the_unit_that_comes_with_it_lets_a_process_be_confined(
    tmp_path: Path,
) -> None:
    if not confines(tmp_path):
        pytest.skip("no Landlock here")
    run = probe(tmp_path, filter_of_unit())
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("refused", "code", "said"),
    [
        ("landlock_create_ruleset", errno.EPERM, "forbidden: Operation not permitted"),
        ("landlock_create_ruleset", errno.EACCES, "forbidden: Permission denied"),
        ("landlock_create_ruleset", errno.ENOTSUP, "disabled: Operation not supported"),
        ("landlock_create_ruleset", errno.ENOSYS, "absent: Function not implemented"),
        ("landlock_add_rule", errno.EPERM, "forbidden: Operation not permitted"),
        ("landlock_restrict_self", errno.EPERM, "forbidden: Operation not permitted"),
    ],
)
def test_why_a_process_cannot_be_confined_is_told_apart(
    tmp_path: Path, refused: str, code: int, said: str
) -> None:
    if not confines(tmp_path):
        pytest.skip("no Landlock here")
    if code == errno.ENOSYS and SECURITY_MODULES.exists():
        said = said.replace("absent", "forbidden")  # the kernel says that it has it
    run = probe(tmp_path, refusing(**{refused: code}))
    assert (run.stdout, run.stderr) == (f"{said}\n", "")


def test_what_the_kernel_itself_refuses_is_an_error(tmp_path: Path) -> None:
    if not confines(tmp_path):
        pytest.skip("no Landlock here")
    run = probe(tmp_path, refusing(landlock_restrict_self=errno.E2BIG))
    assert run.stderr.splitlines()[-1].startswith("ckptd.errors.StorageError: Landlock: ")
