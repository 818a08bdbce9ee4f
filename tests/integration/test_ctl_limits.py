"""``ckptctl limit``, with a stand-in behind a real server."""

import json
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.limit_settings import ChangeLimits
from tests.support.control import StandInDaemon, serving

pytestmark = pytest.mark.integration


YIELDING = (
    "the background gives way on eth0, which carries 1 GiB/s: "
    "ingress 100 MiB/s, egress 200 MiB/s at most now"
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ckptd.sock")


def test_all_limits_are_shown(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(StandInDaemon(), path):
        assert ckptctl(["--socket", path, "limit", "get"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "LIMIT              RATE       ORIGIN",
            "egress.background  50 MiB/s   schedule",
            "ingress.total      unlimited  runtime   for 10m00s, configured 400 MiB/s",
            "waited so far: ingress normal 12s",
            YIELDING,
        ]
        assert ckptctl(["--socket", path, "limit", "get", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["limit"] for row in shown["limits"]] == ["egress.background", "ingress.total"]
    assert shown["limits"][1]["bytes_per_s"] is None


def test_limits_are_set_for_a_time_and_unset(path: str) -> None:
    daemon = StandInDaemon()
    with serving(daemon, path):
        options = ["--socket", path, "limit"]
        changes = ["ingress.total=400MiB/s", "egress.peers.node-b=unlimited"]
        assert ckptctl([*options, "set", *changes, "--for", "10m"]) == 0
        assert ckptctl([*options, "unset", "ingress.total"]) == 0
    rates = {"ingress.total": "400MiB/s", "egress.peers.node-b": "unlimited"}
    assert daemon.calls == [
        ("limits", ChangeLimits(set=rates, for_s=600)),
        ("limits", ChangeLimits(unset=("ingress.total",))),
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["set", "ingress.total"], "Write e.g. ingress.total=400MiB/s"),
        (["set", "ingress.total=fast"], "rate 'fast': is not a number and a unit"),
        (["set", "igress.total=1MiB/s"], "limit 'igress.total': is not known"),
        (["unset", "ingress"], "limit 'ingress': is not known"),
    ],
)
def test_what_is_no_limit_is_refused_before_anybody_is_asked(
    words: list[str], complaint: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ckptctl(["--socket", path, "limit", *words]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["get", "ingress.total"], ["set"], ["unset"], ["unset", "--for"]]
)
def test_a_command_that_makes_no_sense_ends_with_2(words: list[str], path: str) -> None:
    with pytest.raises(SystemExit) as ended:
        ckptctl(["--socket", path, "limit", *words])
    assert ended.value.code == 2
