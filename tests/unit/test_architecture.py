"""What the import rules cannot say, and that the import rules bite."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ckptd.observe.event_names import EVENTS

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "ckptd"
PURE = ("chains", "core", "traffic", "wire", "model", "errors.py", "limits.py")
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__"}


def modules(*places: str) -> Iterator[Path]:
    for place in places:
        path = PACKAGE / place
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


SETTINGS: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
IMPORT_RULES: dict[str, Any] = SETTINGS["tool"]["importlinter"]


def contracts(kind: str) -> list[dict[str, Any]]:
    return [contract for contract in IMPORT_RULES["contracts"] if contract["type"] == kind]


def forbidden_modules() -> set[str]:
    """The list of the import rules, so that there is only one."""
    (contract,) = contracts("forbidden")
    return set(contract["forbidden_modules"])


FORBIDDEN_MODULES = forbidden_modules()


def impurities(source: str) -> list[str]:
    """Return what a pure module must not do, anywhere in it, as far as the syntax shows."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [f"imports {name.name}" for name in names if is_forbidden(name.name)]
            case ast.ImportFrom(module=str(module), names=names):
                found += [f"imports {module}"] if is_forbidden(module) else []
                if module == "random":
                    found += [f"shares {name.name}" for name in names if name.name != "Random"]
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                found.append(f"shares random.{name}")
            case ast.Call(func=ast.Name(id="Random") | ast.Attribute(attr="Random")):
                found.append("makes a Random of its own")
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                found.append(f"calls {name}")
            case _:
                pass
    return found


def is_forbidden(module: str) -> bool:
    return module.partition(".")[0] in FORBIDDEN_MODULES


@pytest.mark.parametrize(
    "module", list(modules(*PURE)), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_pure_module_touches_nothing_and_draws_nothing(module: Path) -> None:
    assert impurities(module.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from time import monotonic_ns as now",
        "def f():\n    import socket",
        "import random\nx = random.random()",
        "from random import shuffle",
        "from random import Random\nRNG = Random(1)",
        "import random\ndef f(rng=random.Random(1)): ...",
        "def f():\n    return open('/etc/passwd')",
    ],
)
def test_the_scan_sees_impurity(source: str) -> None:
    assert len(impurities(source)) == 1


def test_the_scan_allows_an_injected_random() -> None:
    assert impurities("from random import Random\ndef f(rng: Random): return rng.random()") == []


def test_a_broken_layer_is_caught(tmp_path: Path) -> None:
    copy = tmp_path / "ckptd"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (copy / "core" / "clock.py").write_text("import time\n\nNOW = time.time()\n")
    (copy / "model" / "shortcut.py").write_text("from ckptd.store.files import roots\n")
    (copy / "net" / "shortcut.py").write_text("from ckptd.observe import logs\n")
    for below, above in BACKWARDS.items():
        with (copy / below).open("a") as module:
            module.write(f"\nif TYPE_CHECKING:\n    import {above}\n")

    lint_imports = str(Path(sys.executable).parent / "lint-imports")
    result = subprocess.run(
        [lint_imports, "--no-logo", "--no-cache"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert result.returncode == 1
    for complaint in (
        "Layers point one way BROKEN",
        "The pure layers and the simulator do no I/O and read no clock BROKEN",
        "ckptd.core.clock -> time",
        "ckptd.model.shortcut -> ckptd.store.files.roots",
        "ckptd.net.shortcut -> ckptd.observe.logs",
        "Siblings form no cycles BROKEN",
        *(f"{inside} BROKEN" for inside in INSIDE.values()),
        *(f"{dotted(below)} -> {above}" for below, above in BACKWARDS.items()),
    ):
        assert complaint in result.stdout


INSIDE = {
    "core": "Inside the core",
    "daemon": "Inside the daemon",
    "net": "Inside net",
    "sim": "Inside sim",
    "store": "Inside store",
}
"""Packages of several rooms, and the contract that orders those."""

BACKWARDS = {
    "core/state/alarms.py": "ckptd.core.stages.advance",
    "daemon/host/systemd.py": "ckptd.daemon.app",
    "net/connection/marking.py": "ckptd.net.lane.groups",
    "sim/world/disk.py": "ckptd.sim.cluster",
    "store/files/kernel.py": "ckptd.store.records.newest",
}
"""Imports that run up, for the type checker alone."""


def dotted(path: str) -> str:
    return "ckptd." + path.removesuffix(".py").replace("/", ".")


@pytest.mark.parametrize("package", INSIDE)
def test_rooms_of_a_package_are_in_an_order_and_a_new_one_has_to_be_put_into_it(
    package: str,
) -> None:
    (contract,) = [
        contract for contract in contracts("layers") if f"ckptd.{package}" in contract["containers"]
    ]
    assert contract["name"] == INSIDE[package]
    assert contract["exhaustive"] is True
    assert "exhaustive_ignores" not in contract


def test_siblings_form_no_cycle_anywhere_and_what_only_types_need_counts() -> None:
    (contract,) = contracts("acyclic_siblings")
    assert contract["ancestors"] == ["ckptd"]
    assert contract.keys() == {"name", "type", "ancestors"}, "nothing is excepted, no depth is cut"
    assert IMPORT_RULES["exclude_type_checking_imports"] is False


EXECUTING_MODULES = {
    "code", "codeop", "dill", "joblib", "jsonpickle", "marshal", "pickle", "runpy", "shelve",
    "torch", "xmlrpc", "yaml",
}  # fmt: skip
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__"}


def executions(source: str) -> list[str]:
    """Return what could run data that came from elsewhere, as far as the syntax shows."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                imported = [name.name for name in names]
            case ast.ImportFrom(module=str(module)):
                imported = [module]
            case ast.Call(func=ast.Name(id=name)) if name in EXECUTING_CALLS:
                imported, found = [], [*found, name]
            case ast.Call(func=ast.Attribute(attr="import_module")):
                imported, found = [], [*found, "import_module"]
            case _:
                imported = []
        found += [name for name in imported if name.partition(".")[0] in EXECUTING_MODULES]
    return found


def test_nothing_that_arrives_can_run() -> None:
    scanned = {
        str(path.relative_to(PACKAGE)): executions(path.read_text()) for path in modules(".")
    }
    assert {path: found for path, found in scanned.items() if found} == {}
    assert scanned


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import torch.serialization as t",
        "def f():\n    from yaml import load",
        "from marshal import loads",
        "eval('1')",
        "x = [exec(line) for line in lines]",
        "import importlib\nimportlib.import_module(name)",
    ],
)
def test_the_scan_sees_what_could_run(source: str) -> None:
    assert len(executions(source)) == 1


def test_every_event_that_is_logged_is_listed_and_every_listed_one_is_logged() -> None:
    """An event is found again by its name; what varies belongs into the facts."""
    sources = [module.read_text() for module in modules(".")]
    loggers = [source for source in sources if "from ckptd.observe" in source]
    events = {event for source in loggers for event in log_events(source)}
    assert events | {"library.complained"} == EVENTS.keys()
    assert [event for event in events if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", event)] == []


def log_events(source: str) -> Iterator[str]:
    """Yield the first argument of each ``log.info(…)`` and the like."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="log" | "_log") | ast.Attribute(attr="log" | "_log"),
                    attr="debug" | "info" | "warning" | "error" | "exception",
                ),
                args=[event, *_],
            ):
                yield str(event.value) if isinstance(event, ast.Constant) else ast.unparse(event)
            case _:
                pass
