"""What is said of certificates without a daemon."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckptd.cli.ctl import tls_verbs
from ckptd.cli.pki.authority import Authority, certificate_facts
from ckptd.model.ids import NodeId


def shown(directory: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what ``tls show`` says of each node."""
    parser = argparse.ArgumentParser()
    tls_verbs.add_arguments(parser)
    tls_verbs.run(parser.parse_args(["show", "--dir", str(directory)]))
    lines = capsys.readouterr().out.splitlines()
    at = lines[0].index("DAYS LEFT")
    until = lines[0].index("UNTIL")
    return {Path(line.split()[0]).stem: line[at:until].strip() for line in lines[1::2]}


def test_a_certificate_outside_its_time_is_not_said_to_have_days_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, now = Authority(str(tmp_path)), datetime.now(UTC)
    authority.create()
    authority.issue(NodeId("good"))
    authority.issue(NodeId("new"), not_before=now + timedelta(hours=2))
    authority.issue(NodeId("old"), not_before=now - timedelta(days=2), lifetime=timedelta(days=1))
    assert shown(tmp_path, capsys) == {
        "ca": "1824",
        "good": "364",
        "new": "not yet valid",
        "old": "expired",
    }


def test_certificates_fit_80_columns_with_their_serial_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(str(tmp_path))
    authority.create()
    authority.issue(NodeId("a-node-with-quite-a-long-name.rack-17.example.org"))
    parser = argparse.ArgumentParser()
    tls_verbs.add_arguments(parser)
    tls_verbs.run(parser.parse_args(["show", "--dir", str(tmp_path)]))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for path in tmp_path.glob("*.crt"):
        (facts,) = certificate_facts(str(path))
        assert f"serial {facts.serial}\n" in text
        assert facts.not_after[:10] in text
