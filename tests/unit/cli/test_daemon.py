from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ckptd import __version__
from ckptd.cli.daemon import main
from tests.support.configurations import BAD, Bad, toml, write_config, write_drop_in

CKPTD = str(Path(sys.executable).parent / "ckptd")


def ckptd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CKPTD, *arguments], capture_output=True, text=True, check=False)


def test_a_good_configuration_ends_with_0_and_shows_what_is_in_effect(tmp_path: Path) -> None:
    limits = """
        ingress = "400MiB/s"
        yield_to = "eth0"
        yield_rate = "10Gbit/s"
        [limits.background]
        egress = "50MiB/s"
        [[limits.schedule]]
        from = "22:00"
        until = "06:00"
        days = ["sun", "sat"]
        ingress = "unlimited"
    """
    recovery = 'buffers = "1.5GiB"\n[recovery.roots.main]\nowner = "job"'
    write_drop_in(tmp_path, "job.toml", '[jobs.llama]\nshards = "3/8"')
    retention = """
        newest = 3
        min_free = "10%"
        [retention.checkpoints."llama*"]
        every = "24h"
        remove = "own"
    """
    copies = """
        names = ["llama*", "evals/*"]
        root = "copies"
        quota = "2TiB"
        [copies.checkpoints."evals/*"]
        critical = 2
        compress = true
        [copies.zones]
        "row-1/rack-7" = ["node-a", "node-b*"]
        "row-2" = ["node-c"]
    """
    sections = {
        "node": 'id = "node-a"\nstate_dir = "/var/lib/ckptd"\nzone = "row-1/rack-7"',
        "roots": 'main = "/data/checkpoints"\ncopies = "/data/copies"',
        "recovery": recovery,
        "limits": limits,
        "retention": retention,
        "copies": copies,
    }
    path = write_config(tmp_path, toml(listen='metrics = ""', **sections))
    result = ckptd("check-config", "--file-only", path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    rows = [re.sub(r"  +(default|\S+\.toml)$", "", line) for line in lines]
    evals = "critical 2, normal 2, deferred 1, keep 2"
    assert rows == [
        f"{path}: valid",
        "  node.id                         node-a",
        "  node.state_dir                  /var/lib/ckptd",
        "  node.zone                       row-1/rack-7",
        "  roots.main                      /data/checkpoints",
        "  roots.copies                    /data/copies",
        "  listen.data                     0.0.0.0:7421",
        "  listen.metrics                  off",
        "  listen.control                  /run/ckptd/ckptd.sock",
        "  listen.connections              512",
        "  listen.connections_per_address  16",
        "  listen.advertise                interfaces",
        "  control.admin_users             none",
        "  control.admin_groups            none",
        "  control.operator_users          none",
        "  control.operator_groups         none",
        "  control.viewer_users            none",
        "  control.viewer_groups           none",
        "  discovery.peers                 none",
        "  transport.insecure              true",
        "  transport.congestion_control    auto",
        "  transport.coding                true",
        "  signatures.key                  off",
        "  signatures.trusted              off",
        "  signatures.require              none",
        "  recovery.buffers                1.5 GiB",
        "  recovery.redundancy             1",
        "  recovery.write_mode             buffered",
        "  recovery.drop_written           false",
        "  recovery.keep_warm              auto",
        "  recovery.on_conflict            wait",
        "  recovery.mode                   0775",
        "  recovery.owner                  off",
        "  recovery.group                  off",
        "  recovery.version_max            16 TiB",
        "  recovery.place                  atomic",
        "  recovery.current                {checkpoint}/current",
        "  recovery.roots                  main: mode 0775, owner job, group off",
        "  jobs.llama                      shards 3/8",
        "  publish.settle                  1s",
        "  publish.file_max                16 TiB",
        "  publish.policy_inside           false",
        "  publish.recognise               false",
        "  publish.dtype                   none",
        "  serving.drop_sent               false",
        "  serving.coding                  0.5 cores",
        "  store.check_every               1m",
        "  store.check_rate                100 MiB/s",
        "  scrub.every                     7d",
        "  scrub.rate                      50 MiB/s",
        "  scrub.repair                    false",
        "  reuse.across                    none",
        "  limits.rates                    ingress.total 400 MiB/s, egress.background 50 MiB/s",
        "  limits.schedule                 22:00-06:00 sat,sun: ingress.total unlimited",
        "  limits.yield_to                 eth0",
        "  limits.yield_rate               1.16 GiB/s",
        "  retention.newest                3",
        "  retention.every                 off",
        "  retention.min_free              10%",
        "  retention.copies                1",
        "  retention.remove                recovered",
        "  retention.checkpoints           llama*: newest 3, every 1d, copies 1, remove own",
        "  copies.names                    llama*, evals/*",
        "  copies.root                     copies",
        "  copies.quota                    2 TiB",
        "  copies.critical                 3",
        "  copies.normal                   2",
        "  copies.deferred                 1",
        "  copies.keep                     2",
        "  copies.compress                 false",
        "  copies.grace                    600s",
        "  copies.pair                     off",
        f"  copies.checkpoints              evals/*: {evals}, compress",
        "  copies.zones                    row-1/rack-7: node-a, node-b*; row-2: node-c",
        "  log.level                       info",
        "  log.format                      auto",
    ]


def test_policies_are_shown_in_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = """
        [[policy]]
        checkpoint = "llama*"
        phases = ["core", "rest"]
        [[policy.rule]]
        paths = ["*"]
        phase = "core"
        criticality = "critical"
        [[policy]]
        checkpoint = "*"
        place = "progressive"
    """
    path = write_config(tmp_path, toml() + policies)
    assert main(["check-config", "--file-only", path]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if " policy " in line]
    assert row.split("  ")[-1] == path
    assert "llama*: 1 rule, phases core, rest; *: 0 rules, placed progressive" in row
    assert main(["check-config", "--file-only", path, "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["stated"]["policy"] == [path]
    assert shown["config"]["policy"][1]["place"] == "progressive"
    assert shown["config"]["policy"][0]["rule"] == [
        {
            "paths": ["*"],
            "phase": "core",
            "criticality": "critical",
            "after": None,
            "optional": None,
        }
    ]


def test_what_comes_by_itself_is_shown_in_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = """
        [[recover]]
        checkpoint = "llama"
        at = "start"
        shards = "mine"
        place = "progressive"
        activate = true
        patience = "90s"
        [[recover]]
        checkpoint = "qwen"
        at = "missing"
    """
    path = write_config(tmp_path, toml() + tables)
    assert main(["check-config", "--file-only", path]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if " recover  " in line]
    shown = "llama: at start, shards mine, placed progressive, activated, patience 90s"
    assert f"{shown}; qwen: at missing" in row
    assert main(["check-config", "--file-only", path, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["recover"][1] == {
        "checkpoint": "qwen",
        "at": "missing",
        "shards": "",
        "place": None,
        "activate": False,
        "patience": None,
    }


def test_a_bad_configuration_ends_with_78_and_one_line_on_stderr(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml(log='levl = "debug"'))
    result = ckptd("check-config", path)
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr == (
        f"ckptd: {path}: log.levl: is not a key of the configuration. Did you mean log.level?\n"
    )


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_every_bad_configuration_ends_with_78_and_names_its_key(
    bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, bad.text)
    assert main(["check-config", path, "-o", "json"]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ckptd: {path}: {bad.key}: ")
    assert all(line.startswith(f"ckptd: {path}: ") for line in err.splitlines())


def test_all_errors_are_listed_each_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CKPTD_LIMITS__EGRESS", "1KiB/s")
    path = write_config(tmp_path, toml(node='id = "a/b"', roots='x = "y"\nz = 1', log="lvl = 1"))
    drop_in = write_drop_in(tmp_path, "10.toml", "[recovery]\nredundancy = 3\n")
    assert main(["check-config", path]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [" ".join(line.split(": ")[1:3]) for line in err.splitlines()] == [
        f"{path} node.id",
        f"{path} node.state_dir",
        f"{path} roots.x",
        f"{path} roots.z",
        f"{drop_in} recovery.redundancy",
        "variable CKPTD_LIMITS__EGRESS limits.egress",
        f"{path} log.lvl",
    ]


def test_each_setting_comes_with_the_place_where_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CKPTD_LIMITS__EGRESS", "1GiB/s")
    path = write_config(tmp_path, toml())
    drop_in = write_drop_in(tmp_path, "10.toml", '[scrub]\nevery = ""\n')
    expected = {
        "node.id": [path],
        "scrub.every": [drop_in],
        "limits.rates": ["variable CKPTD_LIMITS__EGRESS"],
        "limits.yield_rate": [],
    }
    assert main(["check-config", "--file-only", path, "-o", "json"]) == 0
    stated = json.loads(capsys.readouterr().out)["stated"]
    assert {key: stated[key] for key in expected} == expected
    assert main(["check-config", "--file-only", path]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for key, places in expected.items():
        assert rows[key].endswith(f"  {', '.join(places) or 'default'}")


def test_everything_that_a_start_looks_at_is_checked_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    control = f'control = "{tmp_path}/control/sock"'
    node = f'id = "a"\nstate_dir = "{tmp_path}/state"'
    roots = f'main = "{tmp_path}/main"\nother = "{tmp_path}/other"'
    path = write_config(tmp_path, toml(node=node, roots=roots, listen=control))
    assert main(["check-config", path]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        f"root 'main' at {tmp_path}/main",
        f"root 'other' at {tmp_path}/other",
    ]
    for name in ("main", "other"):
        (tmp_path / name).mkdir()
    assert main(["check-config", path]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: valid\n")
    made = {each.name for each in tmp_path.iterdir()}
    assert made == {"ckptd.toml", "main", "other"}, "a check makes nothing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_can_be_checked_as_the_user_of_the_daemon() -> None:
    with tempfile.TemporaryDirectory(prefix="ckptd-check-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        for name in ("root", "state", "control"):
            (directory / name).mkdir()
        path = write_config(
            directory,
            toml(
                node=f'id = "a"\nstate_dir = "{directory}/state"',
                roots=f'main = "{directory}/root"',
                listen=f'control = "{directory}/control/sock"',
            ),
        )
        code = (
            "import encodings.ascii, sys; from ckptd.cli.daemon import main; "
            f"sys.exit(main(['check-config', {path!r}, '--user', 'nobody']))"
        )
        refused = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 78
        lines = refused.stderr.splitlines()
        program = Path(sys.executable).resolve()
        is_closed = not all(each.stat().st_mode & 0o001 for each in program.parents)
        if is_closed:  # what runs this test is root's alone
            assert lines[0].startswith(f"ckptd: program {program.parent}/")
            assert "user nobody may not read it" in lines[0]
            assert "is closed to others. Use a Python that everybody may run" in lines.pop(0)
        assert len(lines) == 3, refused.stderr
        for name, line in zip(("state", "control", "root"), lines, strict=True):
            assert "user nobody may not write to it (owner 0, mode 0755)" in line
            assert f"Run 'chown nobody {directory}/{name}'" in line
            shutil.chown(directory / name, "nobody")
        again = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert (again.returncode, again.stderr.count("\n")) == ((78, 1) if is_closed else (0, 0))


def test_a_user_that_is_not_known_is_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", write_config(tmp_path, toml()), "--user", "no-such-user"]) == 2
    assert "user no-such-user: is not known on this machine" in capsys.readouterr().err


def test_watched_directories_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = """
        [[watch]]
        directory = "/data/checkpoints/run"
        checkpoint = "llama"
        preset = "huggingface"
    """
    path = write_config(tmp_path, toml() + watch)
    assert main(["check-config", "--file-only", path]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if " watch " in line]
    assert row.split()[1:] == ["/data/checkpoints/run:", "llama", path]
    assert main(["check-config", "--file-only", "-o", "json", path]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["config"]["watch"]
    assert (shown["pattern"], shown["quiet_s"]) == (r"checkpoint-(\d+)", 5.0)


def test_json_has_the_values_as_the_daemon_uses_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(
        tmp_path,
        toml(
            listen='metrics = ""',
            control='operator_groups = ["ops", 1001, "1001"]',
            discovery='peers = ["b:1"]',
        ),
    )
    assert main(["check-config", "--file-only", "-o", "json", path]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("stated")["listen.metrics"] == [path]
    assert answer == {
        "file": path,
        "config": {
            "node": {"id": "node-a", "state_dir": "/var/lib/ckptd", "zone": None},
            "roots": {"main": "/data/checkpoints"},
            "listen": {
                "data": "0.0.0.0:7421",
                "metrics": None,
                "control": "/run/ckptd/ckptd.sock",
                "connections": 512,
                "connections_per_address": 16,
                "advertise": "interfaces",
            },
            "control": {
                "admin_users": [],
                "admin_groups": [],
                "operator_users": [],
                "operator_groups": ["ops", "1001"],
                "viewer_users": [],
                "viewer_groups": [],
            },
            "discovery": {"peers": ["b:1"]},
            "transport": {"insecure": True, "congestion_control": "auto", "coding": True},
            "signatures": {"key": None, "trusted": None, "require": []},
            "recovery": {
                "buffers_bytes": 268_435_456,
                "redundancy": 1,
                "write_mode": "buffered",
                "drop_written": False,
                "keep_warm_bytes": "auto",
                "on_conflict": "wait",
                "mode": "0775",
                "owner": None,
                "group": None,
                "version_max_bytes": 2**44,
                "place": "atomic",
                "current": "{checkpoint}/current",
                "roots": {},
            },
            "recover": [],
            "jobs": {},
            "publish": {
                "settle_s": 1.0,
                "file_max_bytes": 2**44,
                "policy_inside": False,
                "recognise": False,
                "dtype": "none",
            },
            "policy": [],
            "watch": [],
            "serving": {"drop_sent": False, "coding_cores": 0.5},
            "store": {"check_every_s": 60, "check_rate_bytes_per_s": 100 * 2**20},
            "scrub": {"every_s": 604800, "rate_bytes_per_s": 50 * 2**20, "repair": False},
            "reuse": {"across": []},
            "limits": {
                "rates": {},
                "schedule": [],
                "yield_to": None,
                "yield_rate_bytes_per_s": None,
            },
            "retention": {
                "newest": None,
                "every_s": None,
                "min_free": None,
                "copies": 1,
                "remove": "recovered",
                "checkpoints": {},
            },
            "copies": {
                "names": [],
                "root": None,
                "quota_bytes": None,
                "critical": 3,
                "normal": 2,
                "deferred": 1,
                "keep": 2,
                "compress": False,
                "grace_s": 600.0,
                "pair": None,
                "checkpoints": {},
                "zones": {},
            },
            "log": {"level": "info", "format": "auto"},
        },
    }


def test_run_with_a_bad_configuration_ends_with_78_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, toml(transport=""))
    assert main(["run", "--config", path]) == 78
    assert "transport.insecure" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    path = write_config(tmp_path, toml())
    with subprocess.Popen(
        [CKPTD, "check-config", "--file-only", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"ckptd {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run", "x"], ["check-config", "-o", "xml"]])
def test_a_command_line_that_makes_no_sense_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""
