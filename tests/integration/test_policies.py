"""Policies from files and the configuration, shown before publishing and found in the manifest."""

import json
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.checkpoints import PublishRequest, PublishResult, PublishUnits
from ckptd.control.messages.manifests import ManifestRequest
from ckptd.errors import Conflict, ExitCode, NotFound, UsageError
from tests.support.cluster import Cluster, Node, eventually
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

FILES = {
    "config.json": b"{}",
    "model-1.safetensors": b"1" * 300_000,
    "model-2.safetensors": b"2" * 200_000,
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors"}}',
    "optimizer.pt": b"o" * 400_000,
}
BESIDE = """
phases = ["core", "rest"]
[[rule]]
paths = ["*.safetensors", "*.json"]
phase = "core"
[[rule]]
paths = ["*.index.json"]
after = ["*.safetensors"]
"""
CONFIGURED = """
[[policy]]
checkpoint = "llama*"
[[policy.rule]]
paths = ["optim*"]
criticality = "deferred"
optional = true
"""


def request_of(directory: Path, version: int = 1) -> PublishRequest:
    return PublishRequest(directory=str(directory), checkpoint="llama", version=version)


def published(node: Node, request: PublishRequest) -> PublishResult:
    result = list(node.client.publish(request))[-1]
    assert isinstance(result, PublishResult)
    return result


def test_what_is_shown_before_is_what_the_manifest_says(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    source = cluster.node("a", sections=CONFIGURED)
    directory = source.path("llama/1")
    write_files(directory, FILES)
    (directory.parent / "ckptd.policy.toml").write_text(BESIDE)
    request = request_of(directory)

    dry = msgspec.structs.replace(request, is_dry_run=True, lists_units=True)
    *pages, outlook = source.client.publish(dry)
    assert isinstance(outlook, PublishResult)
    assert outlook.said is not None
    assert outlook.minimal_set is not None
    assert (outlook.minimal_set.phase, outlook.minimal_set.units) == ("core", 4)
    assert {fold.paths: fold.rule for fold in outlook.said.folds} == {
        "config.json … model-2.safetensors": "../ckptd.policy.toml rule[0]",
        "model.safetensors.index.json": (
            "../ckptd.policy.toml rule[0]; ../ckptd.policy.toml rule[1]"
        ),
        "optimizer.pt": "configuration policy[0].rule[0]",
    }
    assert source.client.checkpoints() == [], "nothing is recorded"
    foretold = [unit for page in pages if isinstance(page, PublishUnits) for unit in page.units]

    done = published(source, request)
    receiver = cluster.node("r", peers=[source.address])
    asked = ManifestRequest(checkpoint="llama", units=("*",))

    def look() -> bool:
        return any(row.digest == done.digest for row in receiver.client.checkpoints())

    eventually(look, "the version is known")
    here, there = source.client.manifest(asked), receiver.client.manifest(asked)
    assert (here.is_here, there.is_here) == (True, False)
    assert msgspec.structs.replace(here, is_here=False) == there
    assert (there.digest, there.phases) == (done.digest, outlook.said.phases)
    assert [(unit.path, unit.phase, unit.after, unit.is_optional) for unit in there.listed] == [
        (unit.path, unit.phase, unit.after, unit.is_optional) for unit in foretold
    ]

    receiver_socket = ["--socket", receiver.client.socket_path]
    assert ckptctl([*receiver_socket, "manifest", "llama@1", "--units", "*.json"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "phase core: 4 units, 488 KiB" in shown
    assert "model-1.safetensors, model-2.safetensors  model.safetensors.index.json" in shown
    assert ckptctl([*receiver_socket, "manifest", "llama", "-o", "json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["phases"][0]["name"] == "core"
    for missing in ("llama@7", "gemma"):
        assert ckptctl([*receiver_socket, "manifest", missing]) == ExitCode.MISSING

    command = ["--socket", source.client.socket_path, "publish", str(directory), "--dry-run"]
    named = ["--checkpoint", "llama", "--version", "1"]
    assert ckptctl([*command, *named, "--critical", "config.json"]) == ExitCode.DONE
    assert "--critical 'config.json'" in capsys.readouterr().out


def test_what_cannot_be_used_is_refused_and_named(cluster: Cluster) -> None:
    source = cluster.node("a", sections=CONFIGURED)
    directory = source.path("llama/1")
    write_files(directory, FILES)
    policy = directory.parent / "ckptd.policy.toml"
    policy.write_text("[[rule]]\npaths = 1")
    with pytest.raises(UsageError, match=r"ckptd\.policy\.toml: rule\[0\]\.paths: is a whole"):
        published(source, request_of(directory))
    policy.write_text(
        '[[rule]]\npaths = ["config*"]\nafter = ["optim*"]\n'
        '[[rule]]\npaths = ["optim*"]\nafter = ["config*"]\n'
    )
    with pytest.raises(UsageError, match=r"'config\.json' → 'optimizer\.pt' → 'config\.json'"):
        published(source, request_of(directory))
    policy.unlink()

    first = published(source, request_of(directory))
    (again := source.path("other/1")).mkdir(parents=True)
    write_files(again, {**FILES, "config.json": b"[]"})
    (receiver_of_both := cluster.node("b", sections=CONFIGURED)).path("llama").mkdir()
    write_files(receiver_of_both.path("llama/1"), {"config.json": b"[]"})
    second = published(receiver_of_both, request_of(receiver_of_both.path("llama/1")))
    asking = cluster.node("r", peers=[source.address, receiver_of_both.address])

    def look() -> bool:
        digests = {row.digest for row in asking.client.checkpoints()}
        return {first.digest, second.digest} <= digests

    eventually(look, "both are known")
    with pytest.raises(Conflict, match="is 2 contents"):
        asking.client.manifest(ManifestRequest(checkpoint="llama"))
    chosen = ManifestRequest(checkpoint="llama", digest=second.digest[:8])
    assert asking.client.manifest(chosen).units == 1
    with pytest.raises(NotFound, match="is not known; there are") as nobody_has:
        asking.client.manifest(ManifestRequest(checkpoint="llama", digest="0" * 8))
    assert nobody_has.value.exit_code is ExitCode.MISSING
