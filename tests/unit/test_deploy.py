from __future__ import annotations

import configparser
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptd import __version__
from ckptd.cli.ctl.arguments import parse
from ckptd.cli.daemon import DEFAULT_CONFIG
from ckptd.config import load_config
from ckptd.config.sections import ListenSection, RecoverySection
from ckptd.daemon.doctor.memory import OWN_BYTES
from ckptd.daemon.measure.loop_lag import LAG_WINDOW_NS
from ckptd.errors import ExitCode
from ckptd.limits import GIB, SECOND
from tests.support.configurations import toml, write_config

PROJECT = Path(__file__).parents[2]
UNIT = PROJECT / "deploy/systemd/ckptd.service"
DROP_INS = PROJECT / "deploy/systemd/ckptd.service.d"
SYSUSERS = PROJECT / "deploy/sysusers.d/ckptd.conf"
JOBS = PROJECT / "deploy/jobs"
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
    assert list(EXAMPLE.roots.values()) == writable(UNIT)[:1]
    assert writable(UNIT)[1:] == ["/data/copies"], "that of the README, which an older one has not"


def writable(path: Path) -> list[str]:
    """Return the roots that a unit lets the daemon write to."""
    text = path.read_text()
    return [
        each.removeprefix("-") for each in re.findall(r"^ReadWritePaths=(.+)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("path", [UNIT, DROP_INS / "10-data-dirs.conf"])
def test_the_disks_of_all_roots_are_waited_for(path: Path) -> None:
    roots = writable(path)
    assert roots
    assert re.findall(r"^RequiresMountsFor=(.+)$", path.read_text(), re.MULTILINE) == roots


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


@pytest.fixture(scope="module")
def clean_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install into a prefix in which nothing is, but for what is in this environment already."""
    prefix = tmp_path_factory.mktemp("prefix")
    (prefix / "etc/ckptd").mkdir(parents=True)
    subprocess.run(
        [command("make"), "--silent", "install-service", f"PREFIX={prefix}/usr",
         f"SYSCONFDIR={prefix}/etc", f"PYTHON={sys.executable}", "DEPENDENCIES=no"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return prefix


def test_an_installed_unit_runs_what_was_installed_with_it(clean_prefix: Path) -> None:
    unit = clean_prefix / "etc/systemd/system/ckptd.service"
    service = read_unit(unit)["Service"]
    config = f"{clean_prefix}/etc/ckptd/ckptd.toml"
    assert service["ExecStart"] == f"{clean_prefix}/usr/bin/ckptd run --config {config}"
    assert service["ExecReload"] == f"{clean_prefix}/usr/bin/ckptctl reload"
    result = analyze("verify", str(unit))
    assert (result.stderr, result.returncode) == ("", 0)
    for program in ("ckptd", "ckptctl"):
        said = subprocess.run(
            [clean_prefix / "usr/bin" / program, "--version"],
            capture_output=True, text=True, check=True, cwd="/",
        )  # fmt: skip
        assert said.stdout == f"{program} {__version__}\n"
    checked = subprocess.run(
        [clean_prefix / "usr/bin/ckptd", "check-config", "--file-only", config],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert checked.stdout.startswith(f"{config}: valid\n")


def test_an_installed_program_is_the_one_of_its_prefix(clean_prefix: Path) -> None:
    marker = clean_prefix / "usr/lib/ckptd/ckptd/__init__.py"
    kept = marker.read_text()
    marker.write_text(kept + '__version__ = "of-the-prefix"\n')
    try:
        said = subprocess.run(
            [clean_prefix / "usr/bin/ckptd", "--version"],
            capture_output=True, text=True, check=True, cwd="/",
        )  # fmt: skip
    finally:
        marker.write_text(kept)
    assert said.stdout == "ckptd of-the-prefix\n"


def test_accounts_and_directories_are_installed_and_a_configuration_stays(
    clean_prefix: Path,
) -> None:
    etc = clean_prefix / "etc"
    assert (etc / "sysusers.d/ckptd.conf").read_text() == SYSUSERS.read_text()
    assert (etc / "tmpfiles.d/ckptd.conf").read_text() == TMPFILES.read_text()
    config = etc / "ckptd/ckptd.toml"
    assert config.read_text() == (PROJECT / "configs/ckptd.toml").read_text()
    config.write_text("# mine\n")
    try:
        subprocess.run(
            [PROJECT / "deploy/install-service.sh"],
            env=os.environ
            | {"PREFIX": f"{clean_prefix}/usr", "SYSCONFDIR": str(etc)}
            | {"PYTHON": sys.executable, "DEPENDENCIES": "no"},
            capture_output=True, check=True,
        )  # fmt: skip
        assert config.read_text() == "# mine\n"
    finally:
        shutil.copy(PROJECT / "configs/ckptd.toml", config)


def test_every_runbook_url_leads_to_a_page(clean_prefix: Path) -> None:
    rules = (clean_prefix / "usr/share/doc/ckptd/rules.yml").read_text()
    urls = re.findall(r"runbook_url: (\S+)", rules)
    assert urls
    for url in urls:
        assert Path(url.removeprefix("file://")).is_file()


def test_runbook_urls_lead_where_an_operator_says(tmp_path: Path) -> None:
    subprocess.run(
        [command("make"), "--silent", "install-service", f"DESTDIR={tmp_path}",
         "RUNBOOKS=https://wiki.example/ckptd", "DEPENDENCIES=no"],
        cwd=PROJECT, capture_output=True, check=True,
    )  # fmt: skip
    rules = (tmp_path / "usr/share/doc/ckptd/rules.yml").read_text()
    bases = set(re.findall(r"runbook_url: (\S+)/\w+\.md", rules))
    assert bases == {"https://wiki.example/ckptd"}
    unit = tmp_path / "etc/systemd/system/ckptd.service"
    assert unit.read_text() == UNIT.read_text()


JOB_FILES = ("pod.yaml", "slurm-prolog.sh", "train.service")


@pytest.mark.parametrize("name", JOB_FILES)
def test_what_an_example_of_a_job_configures_can_be_used(tmp_path: Path, name: str) -> None:
    lines = [line.removeprefix("#") for line in (JOBS / name).read_text().splitlines()]
    first = next(number for number, line in enumerate(lines) if line.strip() == "[[recover]]")
    table = [line.strip() for line in itertools.takewhile(str.strip, lines[first:])]
    (tables,) = load_config(write_config(tmp_path, toml() + "\n".join(table)), {}).recover
    assert table[1] == f'checkpoint = "{tables.checkpoint}"'


@pytest.mark.parametrize("name", JOB_FILES)
def test_an_example_of_a_job_waits_with_a_command_that_there_is(name: str) -> None:
    said = re.sub(r"[\[\],]|/usr/bin/", " ", (JOBS / name).read_text())
    (words,) = re.findall(r"^(?! *#).*ckptctl +(wait [^>\n]* --timeout +\w+)", said, re.MULTILINE)
    arguments = parse(shlex.split(words))
    assert (arguments.goal, arguments.timeout) == ("complete", "10m")


def test_the_unit_of_a_job_is_what_systemd_understands(tmp_path: Path) -> None:
    daemon = installed(tmp_path)
    unit = tmp_path / "train.service"
    unit.write_text(re.sub(r"=/usr/bin/\S+", "=/bin/true", (JOBS / unit.name).read_text()))
    unit.write_text(re.sub("^User=.*", "User=root", unit.read_text(), flags=re.MULTILINE))
    result = analyze("verify", str(unit), str(daemon))
    assert (result.stderr, result.returncode) == ("", 0)
    read = read_unit(JOBS / unit.name)
    assert UNIT.name in read["Unit"]["After"].split()
    assert read["Service"]["ExecStartPre"].split()[1] == "wait"


@pytest.mark.parametrize(
    ("comment", "waited", "expected"),
    [
        ("ckptd:llama", 0, 0),
        ("ckptd:llama", 5, 5),
        ("ckptd:llama", 7, 7),
        ("ckptd:llama", 4, 0),
        ("something else", 5, 0),
        ("ckptd:llama;reboot", 5, 0),
    ],
)
def test_the_prolog_fails_only_where_another_node_may_do_better(
    tmp_path: Path, comment: str, waited: int, expected: int
) -> None:
    for program, does in (
        ("scontrol", f"echo '   JobId=7'; echo '   Comment={comment}'"),
        ("ckptctl", f'echo "$@" >>{tmp_path}/typed; exit {waited}'),
        ("logger", ":"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / program).chmod(0o755)
    text = (JOBS / "slurm-prolog.sh").read_text().replace("/usr/bin/ckptctl", "ckptctl")
    shell = command("sh")
    subprocess.run([shell, "-n"], input=text, text=True, check=True)
    result = subprocess.run(
        [shell], input=text, capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
    )  # fmt: skip
    assert (result.stderr, result.returncode) == ("", expected)
    typed = tmp_path / "typed"
    is_asked = comment == "ckptd:llama"
    assert typed.exists() == is_asked
    if is_asked:
        assert typed.read_text().startswith("wait llama --for complete ")
