"""Weights are used while the state of the optimizer still travels, as docs/operating.md says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import ExitCode
from ckptd.model.words import Stage
from tests.support.cluster import WAIT_S, Cluster, Node, eventually, tree_digest
from tests.support.early_models import (
    LAYERS,
    save_distributed,
    save_trained,
    torch_or_stand_in,
    use,
    weights_of,
)

pytestmark = pytest.mark.integration

OPERATING = (Path(__file__).parents[2] / "docs/operating.md").read_text()
SECTION = OPERATING.partition("\n## Weights before the state of the optimizer\n")[2]
SECTION = SECTION.partition("\n## ")[0]
SOCKET = "/run/ckptd/ckptd.sock"
SLOWLY = "egress.deferred=128KiB/s"
"""So that the optimizer takes two minutes, unless somebody ends that."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [
        re.sub(r"^directory=\$\((.+)\)$", r"\1", line).removeprefix("ckptctl ") for line in lines
    ]


class Reader:
    """Types and runs what the document says, on two nodes."""

    def __init__(self, source: Node, receiver: Node, capture: pytest.CaptureFixture[str]) -> None:
        self.source, self.receiver, self._capture = source, receiver, capture

    def type(self, node: Node, line: str) -> str:
        self._capture.readouterr()
        line = line.replace("--timeout 10m", f"--timeout {WAIT_S:.0f}s")
        assert ckptctl(["--socket", node.client.socket_path, *line.split()]) == ExitCode.DONE
        return self._capture.readouterr().out

    def publish(self, directory: Path) -> list[str]:
        """Publish a directory in the place of the one of the document; return what is shown."""
        shown = []
        for line in commands():
            if line.startswith("publish"):
                typed = line.replace("/data/checkpoints/step-1200", str(directory))
                shown.append(self.type(self.source, typed.replace("gpt", directory.name)))
        return shown

    def begin(self, name: str) -> tuple[str, Path]:
        """Recover, and wait for what is needed first; return the recovery and the directory."""
        recover, wait = (
            line.replace("gpt", name) for line in commands() if not line.startswith("publish")
        )
        assert recover.startswith("recover")
        self.type(self.receiver, recover)
        (view,) = (each for each in self.receiver.client.recoveries() if not each.stage.is_ended)
        return view.recovery, Path(self.type(self.receiver, wait).strip())

    def run(self, block: str, directory: Path) -> dict[str, Any]:
        """Run a block of the document; return the weights."""
        scope: dict[str, Any] = {"directory": str(directory)}
        exec(block.replace(SOCKET, self.receiver.client.socket_path), scope)
        return {name: numpy.asarray(each) for name, each in scope["weights"].items()}

    def view(self, recovery: str) -> RecoveryView:
        return self.receiver.client.recovery(recovery)


@pytest.fixture
def reader(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Reader:
    source = cluster.node("a")
    reader = Reader(source, cluster.node("r", peers=[source.address]), capsys)
    reader.type(source, f"limit set {SLOWLY}")
    return reader


def test_weights_of_a_trained_model_are_used_while_the_optimizer_travels(reader: Reader) -> None:
    saved = reader.source.path("gpt")
    save_trained(saved, seed=1)
    planned, published = reader.publish(saved)
    assert "recognised: Hugging Face" in planned
    assert "first phase core: 5 units" in published
    assert "core: 5 units" in reader.type(reader.source, "checkpoints -o wide")
    eventually(lambda: reader.receiver.holders(1200), "the version is heard of")
    assert "first phase  core: 5 units" in reader.type(reader.receiver, "plan gpt")
    recovery, directory = reader.begin("gpt")
    early = reader.run(blocks("python")[0], directory)

    assert numpy.array_equal(use(early), use(weights_of(1)))
    assert reader.view(recovery).stage is Stage.TRANSFERRING
    there = {path.name for path in directory.iterdir()}
    assert there == {
        ".ckptd-state.json",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    }
    eventually(lambda: phases_in(directory) == {"core": True, "rest": False}, "the core is there")
    reader.type(reader.source, "limit unset egress.deferred")
    reader.type(reader.receiver, "wait gpt --for complete --timeout 10m")
    check_complete(directory, saved)


def test_the_model_of_a_distributed_checkpoint_is_used_while_the_optimizer_travels(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_or_stand_in())
    saved = reader.source.path("run")
    save_distributed(saved, seed=2)
    reader.publish(saved)
    recovery, directory = reader.begin("run")
    early = reader.run(blocks("python")[1], directory)

    assert set(early) == set(weights_of(2))
    assert numpy.array_equal(use(early), use(weights_of(2)))
    assert reader.view(recovery).stage is Stage.TRANSFERRING
    there = sorted(path.suffix for path in directory.iterdir())
    assert there == [*LAYERS * [".distcp"], ".json"], "no optimizer, and no .metadata yet"
    reader.type(reader.source, "limit unset egress.deferred")
    reader.type(reader.receiver, "wait run --for complete --timeout 10m")
    check_complete(directory, saved)


def state_of(directory: Path) -> dict[str, Any]:
    """What a reader without the socket knows."""
    said: dict[str, Any] = json.loads((directory / ".ckptd-state.json").read_text())
    return said


def phases_in(directory: Path) -> dict[str, bool]:
    return {each["name"]: each["complete"] for each in state_of(directory)["phases"]}


def check_complete(directory: Path, saved: Path) -> None:
    eventually(lambda: not state_of(directory)["under_way"], "the state file says the end")
    assert state_of(directory)["complete"]
    assert phases_in(directory) == {"core": True, "rest": True}
    (directory / ".ckptd-state.json").unlink()
    assert tree_digest(directory) == tree_digest(saved)
