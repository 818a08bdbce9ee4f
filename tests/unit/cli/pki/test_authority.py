from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.cli.pki.authority import Authority, certificate_facts
from ckptd.errors import CkptdError, Conflict, ExitCode, NotFound
from ckptd.model.ids import NodeId

NODE = NodeId("node-a")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(str(tmp_path / "ca"))
    made.create()
    return made


def files_of(authority: Authority) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(authority.directory).iterdir()}


def test_keys_are_for_their_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = Authority(str(tmp_path / "ca"))
        authority.create()
        authority.issue(NODE)
    finally:
        os.umask(before)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in Path(authority.directory).iterdir()
    }
    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "node-a.crt": 0o644, "node-a.key": 0o600}


def test_a_certificate_says_for_whom_by_whom_and_for_how_long(authority: Authority) -> None:
    path, _ = authority.issue(NODE)
    (of_authority,) = certificate_facts(authority.certificate_path)
    (of_node,) = certificate_facts(path)
    assert (of_authority.is_authority, of_authority.days_left) == (True, 5 * 365 - 1)
    assert (of_node.who, of_node.is_authority, of_node.days_left) == (NODE, False, 364)
    assert of_node.issuer == of_authority.who


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path))
    authority.create(lifetime=timedelta(days=3))
    (of_authority,) = certificate_facts(authority.certificate_path)
    (of_node,) = certificate_facts(authority.issue(NODE)[0])
    assert of_node.not_after == of_authority.not_after


def test_openssl_accepts_them_under_its_strictest_rules(authority: Authority) -> None:
    path, _ = authority.issue(NodeId("x" * 128), zone=("row-1", "rack-7"))
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for purpose in ("sslserver", "sslclient"):
        subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-purpose", purpose),
                *("-CAfile", authority.certificate_path, path),
            ],
            check=True,
            capture_output=True,
        )


def test_nothing_is_overwritten_unless_force_says_so(authority: Authority) -> None:
    authority.issue(NODE)
    before = files_of(authority)
    with pytest.raises(Conflict, match="--force"):
        authority.create()
    with pytest.raises(Conflict, match="--force"):
        authority.issue(NODE)
    assert files_of(authority) == before
    authority.issue(NODE, force=True)
    after = files_of(authority)
    assert {name for name in after if after[name] != before[name]} == {"node-a.crt", "node-a.key"}


def test_half_a_pair_is_left_as_it_is(authority: Authority) -> None:
    path, key_path = authority.issue(NODE)
    os.unlink(key_path)
    with pytest.raises(Conflict, match=r"node-a\.crt"):
        authority.issue(NODE)
    assert not os.path.exists(key_path)
    assert os.path.exists(path)


def test_renewing_changes_the_certificate_and_keeps_the_key(authority: Authority) -> None:
    path, key_path = authority.issue(NODE, lifetime=timedelta(days=2))
    key = Path(key_path).read_bytes()
    (before,) = certificate_facts(path)
    authority.renew(NODE)
    (after,) = certificate_facts(path)
    assert (before.days_left, after.days_left) == (1, 364)
    assert (after.who, after.issuer) == (before.who, before.issuer)
    assert after.serial != before.serial
    assert Path(key_path).read_bytes() == key


def test_renewing_keeps_the_zone_unless_another_is_said(authority: Authority) -> None:
    path, _ = authority.issue(NODE, zone=("row-1", "rack-7"))

    def zone() -> str:
        (facts,) = certificate_facts(path)
        assert facts.who == NODE
        return facts.zone

    assert zone() == "row-1/rack-7"
    authority.renew(NODE)
    assert zone() == "row-1/rack-7"
    authority.renew(NODE, zone=("row-2",))
    assert zone() == "row-2"
    authority.renew(NODE, zone=())
    assert zone() == ""
    authority.renew(NODE)
    assert zone() == ""


def test_what_a_certificate_names_that_is_no_zone_is_shown_so_and_not_renewed(
    authority: Authority,
) -> None:
    path, _ = authority.issue(NODE, zone=("row 1",))
    (facts,) = certificate_facts(path)
    assert facts.zone == "?"
    with pytest.raises(CkptdError, match="--zone"):
        authority.renew(NODE)
    authority.renew(NODE, zone=("row-1",))
    (facts,) = certificate_facts(path)
    assert facts.zone == "row-1"


def test_who_has_no_certificate_has_nothing_to_renew(authority: Authority) -> None:
    with pytest.raises(NotFound, match=r"node-a\.crt"):
        authority.renew(NODE)


def test_no_node_can_be_called_like_the_authority_s_files(authority: Authority) -> None:
    before = files_of(authority)
    with pytest.raises(Conflict, match="authority's own files"):
        authority.issue(NodeId("ca"), force=True)
    assert files_of(authority) == before


def test_ctl_makes_an_authority_and_shows_it_to_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--dir", str(tmp_path / "ca")]
    assert ckptctl(["tls", "issue", "node-a", *place]) == ExitCode.FAILED
    assert "Make an authority with 'ckptctl tls init'" in capsys.readouterr().err
    assert ckptctl(["tls", "init", *place]) == ExitCode.DONE
    assert ckptctl(["tls", "issue", "node-a", "node-b", *place]) == ExitCode.DONE
    assert ckptctl(["tls", "renew", "node-a", *place]) == ExitCode.DONE
    assert ckptctl(["tls", "issue", "node-c", "a/../b", *place]) == ExitCode.USAGE
    capsys.readouterr()
    assert ckptctl(["tls", "show", *place]) == ExitCode.DONE
    assert "DAYS LEFT" in capsys.readouterr().out
    assert ckptctl(["tls", "show", "-o", "json", *place]) == ExitCode.DONE
    facts = json.loads(capsys.readouterr().out)
    assert [one["who"] for one in facts if not one["is_authority"]] == [
        "node-a",
        "node-b",
    ]


def test_ctl_makes_and_renews_certificates_that_say_a_zone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--dir", str(tmp_path / "ca")]

    def zones() -> list[str]:
        capsys.readouterr()
        assert ckptctl(["tls", "show", "-o", "json", *place]) == ExitCode.DONE
        facts = json.loads(capsys.readouterr().out)
        return [one["zone"] for one in facts if not one["is_authority"]]

    assert ckptctl(["tls", "init", *place]) == ExitCode.DONE
    rack_7, rack_8 = "row-1/rack-7", "row-1/rack-8"
    issue = ["tls", "issue", "node-a", "node-b", *place]
    assert ckptctl([*issue, "--zone", "row 1"]) == ExitCode.USAGE
    assert ckptctl([*issue, "--zone", rack_7]) == ExitCode.DONE
    assert ckptctl(["tls", "issue", "node-c", *place]) == ExitCode.DONE
    assert zones() == [rack_7, rack_7, ""]
    assert ckptctl(["tls", "renew", "node-a", *place]) == ExitCode.DONE
    assert ckptctl(["tls", "renew", "node-b", "--zone", rack_8, *place]) == ExitCode.DONE
    assert zones() == [rack_7, rack_8, ""]
    assert ckptctl(["tls", "renew", "node-a", "--zone", "", *place]) == ExitCode.DONE
    assert zones() == ["", rack_8, ""]
    assert ckptctl(["tls", "show", *place]) == ExitCode.DONE
    assert f"zone {rack_8}" in capsys.readouterr().out


def test_ctl_says_what_holds_no_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.crt").write_text("nothing")
    assert ckptctl(["tls", "show", "--dir", str(tmp_path)]) == ExitCode.FAILED
    assert "holds no certificate" in capsys.readouterr().err
    assert ckptctl(["tls", "show", "--dir", str(tmp_path / "none")]) == ExitCode.FAILED
    assert "ckptctl tls init" in capsys.readouterr().err
