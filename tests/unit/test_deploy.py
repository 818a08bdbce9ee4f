from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ckptd.cli.daemon import DEFAULT_CONFIG
from ckptd.config import load_config
from ckptd.config.sections import Listen
from ckptd.daemon.loop_lag import WINDOW_NS
from ckptd.errors import ExitCode
from ckptd.limits import SECOND

PROJECT = Path(__file__).parents[2]
UNIT = PROJECT / "deploy/systemd/ckptd.service"
PROMETHEUS = PROJECT / "deploy/prometheus/prometheus.yml"
EXAMPLE = load_config(str(PROJECT / "configs/ckptd.toml"), {})


def command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys have capitals
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_the_unit_is_what_systemd_understands(tmp_path: Path) -> None:
    installed = re.sub(
        r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE
    )
    unit = tmp_path / "ckptd.service"
    unit.write_text(installed)
    result = subprocess.run(
        [command("systemd-analyze"), "verify", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.stderr, result.returncode) == ("", 0)


def test_the_unit_gives_little_away() -> None:
    result = subprocess.run(
        [command("systemd-analyze"), "security", "--offline=yes", "--threshold=15", str(UNIT)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"SYSTEMD_PAGER": ""},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_unit_agrees_with_the_program() -> None:
    unit = service()
    assert unit["Type"] == "notify"
    assert unit["ExecStart"] == f"/usr/bin/ckptd run --config {DEFAULT_CONFIG}"
    assert unit["RestartPreventExitStatus"] == str(int(ExitCode.CONFIGURATION))
    assert Listen().control.startswith(f"/run/{unit['RuntimeDirectory']}/")


def test_the_unit_agrees_with_the_example_configuration() -> None:
    unit = service()
    assert EXAMPLE.node.state_dir == f"/var/lib/{unit['StateDirectory']}"
    assert list(EXAMPLE.roots.values()) == [unit["ReadWritePaths"].removeprefix("-")]


def test_prometheus_accepts_its_configuration() -> None:
    result = subprocess.run(
        [command("promtool"), "check", "config", str(PROMETHEUS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_looks_where_the_daemon_answers() -> None:
    text = PROMETHEUS.read_text()
    assert re.findall(r"^ +- (\S+:\d+)$", text, re.MULTILINE) == [str(Listen().metrics)]
    assert re.findall(r"scrape_interval: (\d+)s", text) == [str(WINDOW_NS // SECOND)]
