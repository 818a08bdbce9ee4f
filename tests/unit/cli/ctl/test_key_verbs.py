"""Keys on the command line, and the files that they are written to."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main
from ckptd.cli.pki.key_files import add_trusted_key, write_signing_key
from ckptd.errors import Conflict, ExitCode, NotFound
from ckptd.store.files.keys import (
    Patterns,
    PublicKey,
    SigningKey,
    TrustedKey,
    parse_trusted_key,
    read_trusted_keys,
)


def test_a_key_is_made_shown_and_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, trusted = str(tmp_path / "key"), str(tmp_path / "trusted")
    assert main(["keys", "init", "--key", key]) == ExitCode.DONE
    public = capsys.readouterr().out.strip()
    assert PublicKey.parse(public).text == public
    assert Path(key).stat().st_mode & 0o7777 == 0o600

    assert main(["keys", "show", "--key", key, "--trusted", trusted]) == ExitCode.DONE
    assert "not among the trusted keys" in capsys.readouterr().out

    trust = ["keys", "trust", public, "--trusted", trusted, "--for", "llama/*", "--for", "x"]
    assert main([*trust, "--comment", "trainer a"]) == ExitCode.DONE
    assert "is trusted now" in capsys.readouterr().out
    assert Path(trusted).read_text() == f"{public} llama/*,x # trainer a\n"

    assert main(["keys", "show", "--key", key, "--trusted", trusted, "-o", "json"]) == ExitCode.DONE
    shown = json.loads(capsys.readouterr().out)
    ident = PublicKey.parse(public).id
    assert shown == {
        "key": {"id": ident, "public_key": public, "is_trusted": True},
        "trusted": [
            {
                "id": ident,
                "public_key": public,
                "patterns": ["llama/*", "x"],
                "comment": "trainer a",
            }
        ],
    }


def test_an_old_key_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    assert main(["keys", "init", "--key", str(path)]) == ExitCode.FAILED
    assert "never overwritten" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_what_is_no_key_is_not_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trusted = tmp_path / "trusted"
    assert main(["keys", "trust", "ed25519:x", "--trusted", str(trusted)]) == ExitCode.USAGE
    assert "32 bytes in base64" in capsys.readouterr().err
    assert not trusted.exists()


@pytest.mark.parametrize("option", ["--comment", "--for"])
def test_nobody_else_is_trusted_by_a_line_within_a_line(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = tmp_path / "trusted"
    mine, theirs = SigningKey.draw().public.text, SigningKey.draw().public.text
    for text in (f"a\n{theirs}", f"a\u2028{theirs}", f"a\x0b{theirs}"):
        command = ["keys", "trust", mine, "--trusted", str(trusted), option, text]
        assert main(command) == ExitCode.USAGE
    assert not trusted.exists()
    capsys.readouterr()


def test_trusting_a_key_again_changes_nothing_and_otherwise_is_refused(tmp_path: Path) -> None:
    path, public = tmp_path / "trusted", SigningKey.draw().public
    path.write_text("# ours, no newline at the end")
    path.chmod(0o640)
    assert add_trusted_key(str(path), TrustedKey(public))
    before = path.read_text()
    assert before == f"# ours, no newline at the end\n{public.text}\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert not add_trusted_key(str(path), TrustedKey(public, comment="again"))
    with pytest.raises(Conflict, match="Edit its line"):
        add_trusted_key(str(path), TrustedKey(public, Patterns(["llama/*"])))
    assert path.read_text() == before


def add_some(start: Barrier, path: str, lines: list[str]) -> None:
    start.wait()
    for line in lines:
        add_trusted_key(path, parse_trusted_key(line))


def test_keys_that_are_trusted_at_the_same_time_are_all_trusted(tmp_path: Path) -> None:
    path = str(tmp_path / "trusted")
    lines = [SigningKey.draw().public.text for _ in range(20)]
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    others = [
        spawn.Process(target=add_some, args=(start, path, lines[first::2])) for first in (0, 1)
    ]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert {key.public.text for key in read_trusted_keys(path).values()} == set(lines)
    assert [each.name for each in tmp_path.iterdir()] == ["trusted"]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        write_signing_key(str(tmp_path / "no" / "key"), SigningKey.draw())
    with pytest.raises(NotFound, match="does not exist"):
        add_trusted_key(str(tmp_path / "no" / "trusted"), TrustedKey(SigningKey.draw().public))
