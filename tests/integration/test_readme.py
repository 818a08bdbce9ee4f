"""The set-up of the README, as a user types it: what it makes is what a daemon starts with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

README = (Path(__file__).parents[2] / "README.md").read_text()
PROGRAMS = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def set_up() -> list[tuple[str, str]]:
    """Return what is typed before the first start: (node, command)."""
    (block,) = (each for each in blocks("console") if "tls init" in each)
    typed = re.findall(r"^([\w-]+)\$ (.+)$", block, re.MULTILINE)
    end = next(index for index, (_, line) in enumerate(typed) if line.startswith("systemctl"))
    return typed[:end]


class Machines:
    """Directories that stand for nodes, each with a home, ``/etc/ckptd`` and a disk.

    Args:
        directory: Where.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (config,) = blocks("toml")
        for node in ("node-a", "node-b"):
            machine = directory / node
            for name in ("home", "etc/tls", "var", "run"):
                (machine / name).mkdir(parents=True)
            own = config.replace(
                "[discovery]", f'[listen]\ncontrol = "{machine}/run/s"\n[discovery]'
            )
            own = re.sub(r'^id = "node-a"', f'id = "{node}"', own, flags=re.MULTILINE)
            own = re.sub(r"node-a\.(crt|key)", rf"{node}.\1", own)
            (machine / "etc/ckptd.toml").write_text(self.at(node, own))

    def at(self, node: str, text: str) -> str:
        machine = self.directory / node
        for path, name in (
            ("/etc/ckptd", "etc"), ("/data/checkpoints", "data"), ("/var/lib/ckptd", "var")
        ):  # fmt: skip
            text = text.replace(path, f"{machine}/{name}")
        return text

    def type(self, node: str, line: str) -> str:
        """Run a line on a node; who types it stands for the user ckptd."""
        line = self.at(node, line).replace("-o ckptd", "").replace("-g ckptd", "")
        line = re.sub(r"^scp -q (.+) (node-\w):$", rf"cp \1 {self.directory}/\2/home/", line)
        line = line.replace(
            "check-config --user ckptd", f"check-config {self.directory}/{node}/etc/ckptd.toml"
        )
        result = subprocess.run(
            line, shell=True, cwd=self.directory / node / "home",
            env=os.environ | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (result.stderr, result.returncode) == ("", 0), line
        return result.stdout


@pytest.mark.skipif(shutil.which("install") is None, reason="no install(1)")
def test_what_the_readme_says_is_what_a_start_needs(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    checked = []
    for prompt, line in set_up():
        for node in ("node-a", "node-b") if prompt == "both" else (prompt,):
            said = machines.type(node, line)
            if "check-config" in line:
                checked.append(said.splitlines()[0].endswith("/etc/ckptd.toml: valid"))
    assert checked == [True, True]


def test_keys_and_roots_belong_to_the_daemon_and_to_nobody_else() -> None:
    lines = [line for _, line in set_up() if line.startswith("install")]
    keys = [line for line in lines if ".key" in line]
    assert len(keys) == 2
    assert all(line.startswith("install -o ckptd -m 0600 ") for line in keys)
    (root,) = (line for line in lines if "/data/checkpoints" in line)
    assert root.startswith("install -d -o ckptd -g ckptd ")
