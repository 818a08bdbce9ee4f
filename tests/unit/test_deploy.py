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
from ckptd.config.sections import ListenSection, RecoverySection
from ckptd.daemon.doctor.memory import OWN_BYTES
from ckptd.daemon.measure.loop_lag import LAG_WINDOW_NS
from ckptd.errors import ExitCode
from ckptd.limits import GIB, SECOND

PROJECT = Path(__file__).parents[2]
UNIT = PROJECT / "deploy/systemd/ckptd.service"
DROP_INS = PROJECT / "deploy/systemd/ckptd.service.d"
SYSUSERS = PROJECT / "deploy/sysusers.d/ckptd.conf"
TMPFILES = PROJECT / "deploy/tmpfiles.d/ckptd.conf"
PROMETHEUS = PROJECT / "deploy/prometheus/prometheus.yml"
EXAMPLE = load_config(str(PROJECT / "configs/ckptd.toml"), {})


def command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def read_unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys have capitals
    parser.read_string(path.read_text())
    return parser


def service() -> configparser.SectionProxy:
    return read_unit(UNIT)["Service"]


def installed(directory: Path, *, drop_ins: tuple[str, ...] = ()) -> Path:
    """Put the units into a directory, with programs that are there."""
    for unit in UNIT.parent.iterdir():
        if unit.is_file():
            text = re.sub(r"=/usr/bin/\S+", "=/bin/true", unit.read_text())
            (directory / unit.name).write_text(text)
    (directory / "ckptd.service.d").mkdir()
    for name in drop_ins:
        shutil.copy(DROP_INS / name, directory / "ckptd.service.d" / name)
    return directory / UNIT.name


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command("systemd-analyze"), *arguments],
        capture_output=True, text=True, check=False,
        env=os.environ | {"SYSTEMD_PAGER": ""},
    )  # fmt: skip


ALL_DROP_INS = tuple(sorted(path.name for path in DROP_INS.iterdir()))


@pytest.mark.parametrize("drop_ins", [(), ALL_DROP_INS])
def test_the_units_are_what_systemd_understands(tmp_path: Path, drop_ins: tuple[str, ...]) -> None:
    service = installed(tmp_path, drop_ins=drop_ins)
    sockets = sorted(map(str, tmp_path.glob("*.socket")))
    assert len(sockets) == 3
    result = analyze("verify", str(service), *sockets)
    assert (result.stderr, result.returncode) == ("", 0)


def test_the_unit_gives_a_daemon_the_memory_that_it_may_need() -> None:
    limit = service()["MemoryMax"]
    assert limit.endswith("G")
    assert int(limit[:-1]) * GIB >= OWN_BYTES + RecoverySection().buffers_bytes


@pytest.mark.parametrize(("drop_ins", "exposure"), [((), 1.5), (("20-limit-network.conf",), 1.2)])
def test_the_service_gives_little_away(
    tmp_path: Path, drop_ins: tuple[str, ...], exposure: float
) -> None:
    service = installed(tmp_path, drop_ins=drop_ins)
    result = analyze("security", "--offline=yes", f"--threshold={exposure * 10:.0f}", str(service))
    assert result.returncode == 0, result.stdout + result.stderr


def test_accounts_and_directories_are_what_systemd_understands(tmp_path: Path) -> None:
    """And the directories are those of the service."""
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [command("systemd-sysusers"), f"--root={tmp_path}", str(SYSUSERS)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    users = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    unit = service()
    assert [user[0] for user in users] == [unit["User"]]
    assert users[0][5] == f"/var/lib/{unit['StateDirectory']}"
    result = subprocess.run(
        [command("systemd-tmpfiles"), "--create", f"--root={tmp_path}", str(TMPFILES)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if os.geteuid() != 0:
        pytest.skip("only root can give directories to ckptd")
    assert (result.stderr, result.returncode) == ("", 0)
    for path, mode in (
        (f"run/{unit['RuntimeDirectory']}", unit["RuntimeDirectoryMode"]),
        (f"var/lib/{unit['StateDirectory']}", unit["StateDirectoryMode"]),
    ):
        found = (tmp_path / path).stat()
        assert f"{found.st_mode & 0o7777:04o}" == mode
        assert str(found.st_uid) == users[0][2]


def test_a_socket_unit_has_a_name_that_the_daemon_asks_for_and_its_default_address() -> None:
    listen = ListenSection()
    addresses = {
        "control": listen.control,
        "data": str(listen.data),
        "metrics": str(listen.metrics),
    }
    for unit in UNIT.parent.glob("*.socket"):
        parsed = read_unit(unit)["Socket"]
        name = parsed["FileDescriptorName"]
        assert unit.name == f"ckptd-{name}.socket"
        assert parsed["ListenStream"] == addresses.pop(name)
        assert parsed["Service"] == UNIT.name
    assert addresses == {}


def test_the_unit_agrees_with_the_program() -> None:
    unit = service()
    assert unit["Type"] == "notify"
    assert unit["ExecStart"] == f"/usr/bin/ckptd run --config {DEFAULT_CONFIG}"
    assert unit["ExecReload"] == "/usr/bin/ckptctl reload"
    assert not {"PrivateUsers", "ProcSubset"} & unit.keys()
    assert unit["RestartPreventExitStatus"] == str(int(ExitCode.CONFIGURATION))
    assert ListenSection().control.startswith(f"/run/{unit['RuntimeDirectory']}/")


def test_the_unit_agrees_with_the_example_configuration() -> None:
    unit = service()
    assert EXAMPLE.node.state_dir == f"/var/lib/{unit['StateDirectory']}"
    assert list(EXAMPLE.roots.values()) == [unit["ReadWritePaths"].removeprefix("-")]


@pytest.mark.parametrize("path", [UNIT, DROP_INS / "10-data-dirs.conf"])
def test_the_disks_of_all_roots_are_waited_for(path: Path) -> None:
    text = path.read_text()
    roots = [
        each.removeprefix("-") for each in re.findall(r"^ReadWritePaths=(.+)$", text, re.MULTILINE)
    ]
    assert roots
    assert re.findall(r"^RequiresMountsFor=(.+)$", text, re.MULTILINE) == roots


def test_prometheus_accepts_its_configuration() -> None:
    result = subprocess.run(
        [command("promtool"), "check", "config", str(PROMETHEUS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_looks_where_the_daemon_answers() -> None:
    text = PROMETHEUS.read_text()
    assert re.findall(r"^ +- (\S+:\d+)$", text, re.MULTILINE) == [str(ListenSection().metrics)]
    assert re.findall(r"scrape_interval: (\d+)s", text) == [str(LAG_WINDOW_NS // SECOND)]
