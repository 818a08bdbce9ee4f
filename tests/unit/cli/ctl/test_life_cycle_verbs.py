"""What is typed behind verbs that let go of versions."""

from __future__ import annotations

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.errors import ExitCode


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["llama@1200"], "Write the name alone, without a version: llama."),
        (["--free", "10%"], "--free 10%: is a share of a disk, and not a size like 500GiB"),
        (["--free", "much"], "is not a number and a unit"),
    ],
)
def test_what_cannot_be_collected_is_refused_with_what_to_write(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ckptctl(["--socket", "/none", "gc", *typed]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
