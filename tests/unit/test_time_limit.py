"""A test that hangs fails by its limit and lets the next one run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

HANGS = """
        import asyncio
        import threading

        def test_on_a_lock():
            threading.Lock().acquire() and hang()

        def hang():
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()

        def test_on_a_thread():
            never = threading.Event()
            waiter = threading.Thread(target=never.wait, daemon=True)
            waiter.start()
            waiter.join()

        async def test_in_a_coroutine():
            await asyncio.Event().wait()

        def test_in_a_loop():
            while True:
                pass
"""


def run(directory: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests with the settings of this project, as a process of its own."""
    lines = source.splitlines()
    test = directory / "test_hangs.py"
    test.write_text("\n".join(line[8:] for line in lines) + "\n\ndef test_next():\n    pass\n")
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            f"--rootdir={PROJECT}", "-c", str(PROJECT / "pyproject.toml"), *options, str(test),
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_tests_that_hang_fail_with_their_stacks_and_the_next_one_runs(tmp_path: Path) -> None:
    result = run(tmp_path, HANGS, "--timeout=1")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "4 failed, 1 passed" in result.stdout
    for test in ("on_a_lock", "on_a_thread", "in_a_coroutine", "in_a_loop"):
        said = f"::test_{test} - Failed: Timeout (>1.0s) from pytest-timeout"
        assert said in result.stdout, result.stdout
    for line in ("lock.acquire()", "waiter.join()", "while True:"):
        assert re.search(rf"^>? +{re.escape(line)}$", result.stdout, re.MULTILINE), result.stdout


def test_what_hangs_in_uvloop_ends_the_run_with_its_stack(tmp_path: Path) -> None:
    """It hands what a signal raises to its own handler: ``ON_UVLOOP`` asks for a thread."""
    source = """
        import asyncio
        import uvloop
        from tests.support.time_limits import ON_UVLOOP

        @ON_UVLOOP
        def test_it_hangs():
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(asyncio.Event().wait())
    """
    result = run(tmp_path, source, "-o", "timeout=1")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "test_hangs.py" in result.stdout
    assert " Timeout " in result.stdout


def test_every_test_has_a_limit_without_being_asked(pytestconfig: pytest.Config) -> None:
    assert 0 < float(pytestconfig.getini("timeout")) <= 300
    assert pytestconfig.getini("timeout_method") == "signal"


def test_a_thread_that_outlives_the_tests_ends_the_run(tmp_path: Path) -> None:
    """Not daemonic: the interpreter would wait for it at its end, after all was reported."""
    source = """
        import threading
        from tests import conftest

        conftest.EXIT_S = 1

        def test_it_leaves_a_thread():
            threading.Thread(target=threading.Event().wait).start()
    """
    result = run(tmp_path, source, "-p", "tests.conftest", "--capture=no")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "2 passed" in result.stdout
    assert "Timeout (0:00:01)!" in result.stderr
    assert "in wait" in result.stderr
