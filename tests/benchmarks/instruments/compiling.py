"""Programs in C that only benchmarks run: compiled when they are needed, if a compiler is there."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.competitors import run
from tests.benchmarks.places import RESULTS

COMPILER = "cc"
_BUILT = RESULTS / "built"
_SOURCES = Path(__file__).parent
_OPTIONS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror")
_TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")


def has_header(name: str) -> bool:
    """Tell whether the compiler finds a header."""
    command = (COMPILER, "-E", "-include", name, "-x", "c", "/dev/null")
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def ceiling_program() -> Path:
    """Compile the ceiling, with TLS if OpenSSL's headers are there, and return its path."""
    options = _TLS if has_header("openssl/ssl.h") else ()
    return _compiled("ceiling.c", ("-pthread", "-ldl", *options))


def _compiled(source: str, options: Sequence[str]) -> Path:
    """Compile unless that was done already with the same words."""
    text = (_SOURCES / source).read_bytes()
    words = (COMPILER, *_OPTIONS, *options)
    name = hashlib.sha256(text + " ".join(words).encode()).hexdigest()[:16]
    path = (_BUILT / f"{Path(source).stem}-{name}").absolute()
    if not path.exists():
        _BUILT.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        # Libraries go behind what needs them.
        run(COMPILER, *_OPTIONS, _SOURCES / source, "-o", unfinished, *options)
        unfinished.rename(path)
    return path
