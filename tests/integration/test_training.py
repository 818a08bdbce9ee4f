"""A job of its own user saves, publishes, loses everything, gets it back, goes on and rotates."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import training
from tests.support.cluster import eventually
from tests.support.machines import PROJECT, TOOLS, UNIT, Machine, Machines
from tests.support.mounts import in_mount_namespace

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, (*TOOLS, "useradd"))),
        reason=f"makes machines of its own, which needs root and {', '.join(TOOLS)}, useradd",
    ),
]

OUT = "/data/checkpoints/out"
CONFIG = """\
[node]
id = "{node}"
state_dir = "/var/lib/ckptd"
[roots]
main = "/data/checkpoints"
[control]
operator_groups = ["ckptd-operators"]
[discovery]
peers = ["node-a:7421", "node-b:7421"]
[transport]
insecure = true
[recovery]
owner = "trainer"
[publish]
settle = "0s"
"""


class Saved(NamedTuple):
    """What of a file or directory the job sees."""

    content: str
    mode: int
    mtime_ns: int


class JobMachine:
    """A machine on which the daemon is one user and the job another.

    Args:
        machine: Has nothing of ckptd.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.install()
        self.root("useradd --create-home trainer")
        for line in documented_set_up():
            self.root(line)
        drop_in = PROJECT / "deploy/systemd/ckptd.service.d/40-owner.conf"
        machine.at(f"{UNIT}.d").mkdir()
        shutil.copy(drop_in, machine.at(f"{UNIT}.d"))
        config = CONFIG.format(node=machine.host.name)
        machine.at("/etc/ckptd/ckptd.toml").write_text(config)
        shutil.copy(training.__file__, machine.at("/srv/training.py"))
        machine.at("/srv/training.py").chmod(0o644)
        self.root("ckptd check-config --user ckptd")
        machine.start_service()

    def root(self, line: str) -> str:
        return self._type(line, "")

    def trainer(self, line: str) -> str:
        return self._type(line, "trainer")

    def _type(self, line: str, user: str) -> str:
        done = self._machine.type(line, user=user)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}{self._machine.log_text()}"
        return done.stdout

    def train(self, steps: int, mode: str = "mtime") -> int:
        """Let the job train; return the step it began at."""
        home = "HOME=/home/trainer HF_HUB_OFFLINE=1"
        shown = self.trainer(f"{home} {sys.executable} /srv/training.py {OUT} {steps} {mode}")
        said = json.loads(shown.splitlines()[-1])
        assert said["library"].startswith("transformers ") == training.has_trainer()
        begun = said["begun"]
        assert isinstance(begun, int)
        return begun

    def publish(self, step: int) -> None:
        """Let the job publish a checkpoint, opening what its library has closed."""
        directory = f"{OUT}/checkpoint-{step}"
        self.trainer(f"chmod g+r {directory}/*")
        self.trainer(
            f"ckptctl publish {directory} --checkpoint out --version-from 'checkpoint-([0-9]+)'"
        )

    def recover(self, step: int) -> None:
        self.trainer(f"ckptctl recover out@{step} --wait --to {OUT}/checkpoint-{step}")

    def lose_everything(self) -> None:
        self._machine.stop_service()
        self.root(f"rm -rf /var/lib/ckptd/* /data/checkpoints/.ckptd {OUT}/*")
        self._machine.start_service()

    def checkpoints(self) -> list[str]:
        return sorted(each.name for each in self._machine.at(OUT).iterdir())

    def has(self, *steps: int) -> bool:
        """Return whether the daemon says that it has these versions, and no other."""
        rows = json.loads(self.trainer("ckptctl checkpoints -o json"))
        return {row["version"] for row in rows if row["places"]} == set(steps)

    def saved(self, step: int) -> dict[str, Saved]:
        """Return what a checkpoint consists of; all of it must be the job's."""
        top = self._machine.at(f"{OUT}/checkpoint-{step}")
        account = self._machine.at("/home/trainer").stat()
        found = {}
        for path in (top, *top.rglob("*")):
            facts = path.stat()
            assert facts.st_uid == account.st_uid, path
            content, mode = "", 0  # the group's bits of a directory are the daemon's
            if path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                mode = stat.S_IMODE(facts.st_mode)
            found[str(path.relative_to(top))] = Saved(content, mode, facts.st_mtime_ns)
        return found


def documented_set_up() -> list[str]:
    """Return what the operating guide says to type for a job of another user."""
    text = (PROJECT / "docs/operating.md").read_text()
    (block,) = re.findall(r"^  ```sh\n(  usermod .*?)^  ```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition(" # ")[0].strip() for line in block.splitlines()]
    return ["install -d -o ckptd -g ckptd -m 0750 /data/checkpoints", *lines]


def test_a_job_gets_back_what_it_lost_and_goes_on(tmp_path: Path) -> None:
    def scene() -> None:
        with Machines(tmp_path, ("node-a", "node-b")) as machines:
            play(JobMachine(machines.machines["node-a"]), JobMachine(machines.machines["node-b"]))

    in_mount_namespace(scene)


def play(first: JobMachine, second: JobMachine) -> None:
    assert first.train(30) == 0
    saved = {}
    for age_h, step in ((3, 10), (2, 20), (1, 30)):
        first.publish(step)
        first.trainer(f"touch -d '{age_h} hours ago' {OUT}/checkpoint-{step}")
        saved[step] = first.saved(step)
    # The directories got their times after they were published: what is published again has them.
    for step, before in saved.items():
        first.publish(step)
        second.recover(step)
        assert second.saved(step) == before

    first.lose_everything()
    assert first.checkpoints() == []
    for step in (30, 20, 10):  # what training goes on from comes first
        first.recover(step)
        assert first.saved(step) == saved[step]

    first.trainer(f"echo evaluated >> {OUT}/checkpoint-30/evaluation.log")
    first.trainer(f"echo ' ' >> {OUT}/checkpoint-20/trainer_state.json")
    assert first.train(40) == 30
    # The oldest by time went, which is not the one that was written last; nothing else did.
    assert first.checkpoints() == ["checkpoint-20", "checkpoint-30", "checkpoint-40"]
    first.publish(40)
    assert first.saved(40)
    eventually(lambda: first.has(20, 30, 40), "the daemon has noticed what the job removed")
    second.recover(40)
    assert second.train(50, "name") == 40
    assert second.checkpoints() == ["checkpoint-40", "checkpoint-50"]
    eventually(lambda: second.has(40), "the daemon has noticed what the job removed")
