"""What the README and docs/operating.md say to type, typed: on two machines, in this order."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import eventually
from tests.support.machines import PROJECT, TOOLS, Machines
from tests.support.mounts import in_mount_namespace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

README = (PROJECT / "README.md").read_text()
OPERATING = (PROJECT / "docs/operating.md").read_text()
NODES = ("node-a", "node-b")
VERSION = "/data/checkpoints/step-1200"
RUN = "/data/checkpoints/run/step-1200"
GEMMA = "/data/checkpoints/out"
RECOVERED = "/data/checkpoints/gemma/1200"

SAYS_MORE = {
    "ckptctl publish": f"{VERSION} --checkpoint whole --version 1",
    "ckptctl publish --critical 'model/*' --deferred 'optimizer/*'": f"{VERSION} "
    "--checkpoint parts --version 1",
    "ckptctl publish --dry-run": f"{VERSION} --checkpoint parts --version 1",
    "ckptctl publish last.ckpt": "--checkpoint single --version 1",
    "ckptctl recover --to DIR": "gemma",
    "ckptctl recover --background": "gemma",
    "ckptctl plan": "gemma",
    "ckptctl withdraw": "spare@1",
    "ckptctl forget": "spare@1",
    "ckptctl remove": "spare@2",
    "ckptctl need": RECOVERED + "/model-1.safetensors",
    "ckptctl wait": "gemma --timeout 1m",
    "setfacl -d": "-m u:nobody:rx /data/checkpoints",
    "ckptd check-config": "--user ckptd",
    "ckptctl tls init": "--dir another",
}
"""What a person adds to a command of which the text shows only what it is about."""

STANDS_FOR = {
    "[NAME[@VERSION]]": "",
    "wait --for phase=NAME": "wait gemma --for phase=all",
    "NAME[@VERSION]": "gemma@1200",
    "GOAL": "complete",
    "NAME@VERSION": "spare@3",
    "'evals/*'": "'gem*'",
    "activate llama@1200": "activate gemma@1200",
    "manifest llama@1200": "manifest gemma@1200",
    "/data/checkpoints/llama/1200 --checkpoint llama": f"{VERSION} --checkpoint parts",
    "last.ckpt": "/data/checkpoints/last.ckpt",
    "DIRECTORY": "/data/checkpoints",
    "DIR": "/data/checkpoints/elsewhere",
    "NODE": "node-a",
    "NAME": "node-a",
    "PATH": RECOVERED + "/model-1.safetensors",
    "trainer": "nobody",
}

ENDS_BADLY = {
    "ckptctl adopt 'llama/rank-*' as llama": "finds no version here",
    "ckptctl cancel": "there is none under way",
    "ckptctl watch -o json": "nobody has node-a",
    "ckptctl prioritize": "has ended",
    "ckptctl gc --free 500GiB": "by the rules of [retention], and there are none",
    "ckptctl materialise policy@46": "neither this node nor a peer has all of it",
    "ckptctl need gemma --tensors": "is of no running recovery",
    "ckptctl need 'gemma#": "is of no running recovery",
    "ckptctl need 'gemma@": "is not in gemma@1200",
}
"""What cannot succeed here, and why."""


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def console(text: str, of: str) -> str:
    (block,) = (each for each in blocks("console", text) if of in each)
    return block


def typed() -> list[tuple[str, str, list[str]]]:
    """Return what the README types on its machines: (node, command, what it shows)."""
    return lines_of(console(README, "tls init"))


def typed_by_hand() -> list[tuple[str, str, list[str]]]:
    """Return what the guide types in place of what the README's configuration says."""
    return lines_of(console(OPERATING, "ckptctl publish"))


def lines_of(block: str) -> list[tuple[str, str, list[str]]]:
    found: list[tuple[str, str, list[str]]] = []
    for line in block.splitlines():
        if prompt := re.fullmatch(r"(node-\w|both)\$ (.+)", line):
            found.append((prompt[1], prompt[2], []))
        else:
            found[-1][2].append(line)
    return found


def spans(text: str) -> list[str]:
    """Return what is set as code in the prose."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def mentioned(text: str) -> list[str]:
    """Return the commands between the lines, each once."""
    lines = [
        line.partition("   # ")[0].strip() for b in blocks("sh", text) for line in b.splitlines()
    ]
    commands = re.compile(r"(file=\$\()?(ckptctl|ckptd|chown|curl|getent|setfacl) \S")
    return list(dict.fromkeys(each for each in (*spans(text), *lines) if commands.match(each)))


def shape(line: str) -> str:
    """Return a line of output without what differs from run to run."""
    line = re.sub(r"\b(r-[0-9a-f]{12}|[0-9a-f]{64})\b", "ID", line)
    line = re.sub(r"\d+(\.\d+)?( ?[KMG]iB| ?B)?", "N", line)
    return " ".join(line.split())


class Walk:
    """Somebody who types what the documents say.

    Args:
        machines: Two, with nothing of ckptd.
    """

    def __init__(self, machines: Machines) -> None:
        self._scp, self._at = machines.copy, machines.machines

    def type(self, node: str, line: str) -> str:
        """Type a line, which must not fail; return what it shows."""
        if copied := re.fullmatch(r"scp -q (.+) (node-\w):", line):
            self._scp(node, copied[1].split(), copied[2])
            return ""
        if line.startswith("srun train "):
            for each in NODES:
                self.save(each, RUN)
            return ""
        if line.startswith("srun "):
            return "".join(
                self.type(each, f"SLURM_PROCID={rank} SLURM_NTASKS={len(NODES)} {line[5:]}")
                for rank, each in enumerate(NODES)
            )
        if line.startswith("systemctl "):
            first, _, then = line.partition(" && ")
            if first == "systemctl stop ckptd":
                self._at[node].stop_service()
            else:
                assert first in {"systemctl enable --now ckptd", "systemctl start ckptd"}
                self._at[node].start_service()
            return self.type(node, then) if then else ""
        if line == "ckptctl copies":
            eventually(lambda: "2 whole" in self._at[node].type(line).stdout, "there are copies")
        if line.startswith("ckptctl copies --check"):
            eventually(lambda: not self._at[node].type(line).returncode, "all copies are whole")
        done = self._at[node].type(line)
        shown = done.stdout + done.stderr
        assert done.returncode == 0, f"{node}$ {line}\n{shown}"
        return shown

    def set_up(self) -> None:
        """Install, and start, as the README says."""
        (config,) = blocks("toml")
        prepared = next(each for each in spans(README) if "systemd-sysusers" in each)
        for node in NODES:
            self.type(
                node,
                f"make -C {PROJECT} --silent install-service "
                f"DEPENDENCIES=no PYTHON={sys.executable}",
            )
            self.type(node, prepared)
            own = re.sub(r'^id = "node-a"', f'id = "{node}"', config, flags=re.MULTILINE)
            own = re.sub(r"node-a\.(crt|key)", rf"{node}.\1", own)
            own = own.replace('"0/2"', f'"{NODES.index(node)}/2"')
            self._at[node].at("/etc/ckptd/ckptd.toml").write_text(own)
        self._type_all(typed())

    def set_up_by_hand(self) -> None:
        """Publish and recover as the guide says, on machines that are set up."""
        self._type_all(typed_by_hand())

    def _type_all(self, lines: list[tuple[str, str, list[str]]]) -> None:
        for prompt, line, shows in lines:
            for node in NODES if prompt == "both" else (prompt,):
                if line.startswith("srun ckptctl publish"):
                    for rank, each in enumerate(NODES):
                        self.save(each, VERSION, below=f"rank-{rank}")
                shown = {shape(each) for each in self.type(node, line).splitlines()}
                missing = [each for each in shows if shape(each) not in shown]
                # Progress is shown while there is some.
                assert not [each for each in missing if "ETA" not in each], (line, shown)

    def save(self, node: str, directory: str, below: str = "") -> None:
        made = self._at[node].at(directory) / below
        for path in ("model-1.safetensors", "model/config.json", "optimizer/shard.pt"):
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_bytes(os.urandom(1 << 20))

    def try_out(self, command: str) -> None:
        """Type a command of the text on node-b, with what a person would add."""
        line = f"{command} {SAYS_MORE.get(command, '')}"
        for placeholder, meant in STANDS_FOR.items():
            line = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?![\w-])", meant, line)
        node = "node-a" if re.search(" tls (issue|renew) ", line) else "node-b"
        if "RECOVERY" in line:
            line = line.replace("RECOVERY", self._recovery())
        if "PUBLIC_KEY" in line:
            line = line.replace("PUBLIC_KEY", self.type(node, "ckptctl keys show").split()[2])
        if line.rstrip().endswith(" -f"):
            line = f"timeout 1 {line}; [ $? = 124 ]"
        if verb := next((each for each in ENDS_BADLY if line.startswith(each)), ""):
            done = self._at[node].type(line)
            assert done.returncode, done
            assert ENDS_BADLY[verb] in done.stderr, done
            return
        self.type(node, line)

    def _recovery(self) -> str:
        """Return one that has ended; of those that the text began, some may run still."""
        listed = json.loads(self.type("node-b", "ckptctl recoveries -o json"))
        return next(str(each["recovery"]) for each in listed if each["stage"] == "complete")

    def prepare_spares(self) -> None:
        """Make what the commands take away."""
        for number in (1, 2, 3):
            directory = f"/data/checkpoints/spare-{number}"
            self.save("node-b", directory)
            self.type("node-b", f"chown -R ckptd: {directory}")
            self.type(
                "node-b", f"ckptctl publish {directory} --checkpoint spare --version {number}"
            )
        self.save("node-a", GEMMA)
        self.type("node-a", f"ckptctl publish {GEMMA} --checkpoint gemma --version 1200")
        self.type("node-b", "ckptctl recover gemma@1200 --wait")
        self.type("node-b", f"cp {RECOVERED}/model-1.safetensors /data/checkpoints/last.ckpt")
        self.save("node-b", VERSION)


def walk(directory: Path, steps: Callable[[Walk], None]) -> None:
    def work() -> None:
        with Machines(directory, NODES) as machines:
            steps(Walk(machines))

    in_mount_namespace(work)


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, (*TOOLS, "systemd-sysusers", "curl"))),
    reason=f"makes machines of its own, which needs root and {', '.join(TOOLS)}, systemd, curl",
)
def test_every_command_of_the_documents_runs_as_it_stands(tmp_path: Path) -> None:
    def steps(walker: Walk) -> None:
        walker.set_up()
        walker.set_up_by_hand()
        walker.prepare_spares()
        for command in dict.fromkeys([*mentioned(README), *mentioned(OPERATING)]):
            walker.try_out(command)

    walk(tmp_path, steps)


def test_the_first_configuration_does_all_by_itself_in_25_lines() -> None:
    (config,) = blocks("toml")
    assert len(config.splitlines()) <= 25
    said = tomllib.loads(config)
    assert said["copies"]["root"] in said["roots"]
    assert said["watch"][0]["checkpoint"] == said["recover"][0]["checkpoint"] == "llama"


def test_commands_are_found() -> None:
    assert "ckptctl plan gemma" in mentioned(README)
    assert "ckptctl tls renew node-a --dir ca" in mentioned(OPERATING)
    both = [line.split()[0] for node, line, _ in typed() if node == "both"]
    assert both[-2:] == ["ckptd", "systemctl"]
    assert [line.split()[:2] for _, line, _ in typed()[-4:]] == [
        ["ckptctl", "copies"],
        ["systemctl", "stop"],
        ["systemctl", "start"],
        ["ckptctl", "wait"],
    ]
    assert [line.split()[-2:] for _, line, _ in typed_by_hand() if "publish" in line] == [
        ["--shard", "auto"]
    ]
    found = {*mentioned(README), *mentioned(OPERATING)}
    assert set(SAYS_MORE) <= found, "no command is completed that is not there"


def test_keys_and_roots_belong_to_the_daemon_and_to_nobody_else() -> None:
    lines = [line for _, line, _ in typed() if line.startswith("install")]
    keys = [line for line in lines if ".key" in line]
    assert len(keys) == 2
    assert all(line.startswith("install -o ckptd -m 0600 ") for line in keys)
    (root,) = (line for line in lines if "/data/checkpoints" in line)
    assert root.startswith("install -d -o ckptd -g ckptd ")
