import re

import pytest

from ckptd import __version__
from ckptd.cli.ctl.arguments import EXIT_CODES, parse
from ckptd.cli.ctl.command import main
from ckptd.cli.ctl.publish_verbs import publish_request
from ckptd.errors import ExitCode

VERBS = (
    "publish", "checkpoints", "peers", "plan", "recover", "recoveries", "status", "watch", "pause",
    "resume", "cancel", "version", "keys", "events", "logs", "log-level", "doctor", "health",
    "watches", "copies",
)  # fmt: skip


@pytest.mark.parametrize(
    "argv",
    [
        ["fly"],
        ["publish", "."],
        ["publish", ".", "--checkpoint", "a"],
        ["publish", ".", "--checkpoint", "a", "--version", "new"],
        ["recover"],
        ["recover", "a", "--timeout", "10s"],
        ["recover", "a", "--tim", "10s", "--wait"],
        ["need", "a", "--tensors", "--cat"],
        ["need", "a", "--tensors", "--no-wait"],
        ["need", "a:0-8", "--tensors"],
        ["plan"],
        ["peers", "hide"],
        ["keys"],
        ["keys", "trust"],
        ["peers", "show"],
        ["status", "-o", "yaml"],
        ["status", "more"],
        ["events", "--since", "-1"],
        ["events", "--since", "yesterday"],
        ["log-level", "loud"],
        ["log-level", "--for", "5m"],
    ],
)
def test_what_cannot_be_parsed_ends_with_2_and_says_nothing_on_stdout(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("usage: ckptctl")


def test_nothing_typed_shows_the_help_and_is_no_success(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (ExitCode.USAGE, "")
    assert out.startswith("usage: ckptctl")
    assert EXIT_CODES.splitlines()[0] in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recoverr", "a"], "'recoverr' is no command; did you mean 'recover'?"),
        (["--socket", "/s", "statsu"], "'statsu' is no command; did you mean 'status'?"),
        (["xyzzy"], "'xyzzy' is no command\n"),
        (["recover", "a", "--wiat"], "--wiat: not understood; did you mean '--wait'?"),
        (["status", "more"], "more: not understood\n"),
    ],
)
def test_what_was_mistyped_is_named_with_what_may_have_been_meant(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(argv)
    assert message in capsys.readouterr().err


def test_the_version_needs_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"ckptctl {__version__}\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["publish", ".", "--checkpoint", "../a", "--version", "3"],
            "ckptctl: checkpoint name '../a': is not components of",
        ),
        (
            ["publish", ".", "--checkpoint", "a", "--version", "-3"],
            "ckptctl: version -3: is not between 0 and",
        ),
        (
            ["publish", ".", "--checkpoint", "a", "--version", "3", "--dtype", "bf17"],
            "ckptctl: type 'bf17': is none of elements",
        ),
        (["recover", "a@new"], "ckptctl: reference 'a@new': has no version number"),
        (["recover", "a", "--patience", "soon"], "ckptctl: duration 'soon': is not a number"),
        (["recover", "a", "--to", "/data/\udcff"], r"ckptctl: '/data/\udcff': is not UTF-8"),
    ],
)
def test_what_makes_no_sense_ends_with_2_before_the_daemon_is_asked(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--socket", "/nonexistent", *argv]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)


def test_the_socket_may_stand_before_or_behind_the_command() -> None:
    assert parse(["--socket", "/a", "status"]).socket == "/a"
    assert parse(["status", "--socket", "/b"]).socket == "/b"
    assert parse(["status"]).socket is None


def test_patterns_may_be_given_several_times() -> None:
    patterns = ["--critical", "x", "--critical", "y", "--deferred", "z"]
    arguments = parse(["publish", ".", "--checkpoint", "a", "--version", "3", *patterns])
    assert (arguments.critical, arguments.deferred) == (["x", "y"], ["z"])


def test_phases_and_prerequisites_are_typed_in_pairs() -> None:
    typed = ["--phase", "core", "m*", "--phase", "rest", "o*", "--after", "i", "m*", "--recognise"]
    arguments = parse(["publish", ".", "--checkpoint", "a", "--version", "3", *typed])
    request = publish_request(arguments)
    assert request.phases == (("core", "m*"), ("rest", "o*"))
    assert request.after == (("i", "m*"),)
    assert request.recognises


def test_types_are_typed_for_all_files_or_for_those_of_a_pattern() -> None:
    typed = ["--dtype", "optim*=float32", "--dtype", "auto"]
    arguments = parse(["publish", ".", "--checkpoint", "a", "--version", "3", *typed])
    assert publish_request(arguments).dtypes == (("optim*", "F32"), ("*", "auto"))


def test_the_help_lists_every_exit_code_of_ckptctl() -> None:
    of_the_daemon = {ExitCode.STATE_IN_USE, ExitCode.CONFIGURATION}
    listed = {int(code) for code in re.findall(r"^ +(\d+)  ", EXIT_CODES, re.MULTILINE)}
    assert listed == set(ExitCode) - of_the_daemon


@pytest.mark.parametrize("argv", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_fits_80_columns_and_gives_examples(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(argv)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "exit codes:" in out if argv == ["--help"] else "\n  ckptctl " in out


def test_version_needs_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--socket", "/nonexistent", "version"]) == ExitCode.DONE
    assert capsys.readouterr().out == "ckptctl 0.1.0\nckptd does not answer\n"
    assert main(["--socket", "/nonexistent", "version", "-o", "json"]) == ExitCode.DONE
    assert capsys.readouterr().out == '{"ckptctl":"0.1.0","ckptd":null}\n'
