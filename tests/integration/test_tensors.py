"""Tensors are read by their names out of files that are still away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.prioritized import NeedProgress, NeedRequest
from ckptd.errors import ExitCode
from ckptd.limits import KIB, MIB
from tests.support.cluster import Cluster, Node
from tests.support.fault_proxy import fault_proxy
from tests.support.stagings import content_of
from tests.support.stores import write_files

pytestmark = pytest.mark.integration

(DCP,) = (Path(__file__).parents[1] / "unit/model/formats/dcp").glob("plain-*")
NAME, WEIGHTS = "gpt", "model.safetensors"
LAYERS = {f"layers.{at}": numpy.full(128 * KIB, at, dtype="int32") for at in range(16)}
"""Eight MiB."""
BLOCK_BYTES = 256 * KIB


@pytest.fixture
def source(cluster: Cluster) -> Node:
    node = cluster.node("a")
    directory = node.path("gpt")
    write_files(directory, {"first.bin": content_of(24 * MIB, seed=1)})
    save_file(LAYERS, directory / WEIGHTS)
    shutil.copytree(DCP, directory / "dcp")
    node.publish(directory, NAME, 1, critical=("first.bin",), deferred=("model*", "dcp/*"))
    return node


@pytest.fixture
def receiver(source: Node, cluster: Cluster) -> Iterator[Node]:
    """A node with one slow source: what is not needed does not come while a test lasts."""
    with fault_proxy(source.data_port, rate_bytes_per_s=MIB / 2) as link:
        yield cluster.node("r", peers=[link.address])


def test_a_tensor_is_read_and_nothing_else_of_its_unit_is_fetched(
    source: Node, receiver: Node, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recovery = receiver.begin(NAME, 1)
    tensors = receiver.client.open_tensors(NAME)
    assert tensors.read("layers.7") == LAYERS["layers.7"].tobytes()
    whole = next(receiver.client.need(NeedRequest(path=f"{NAME}:{WEIGHTS}")))
    assert isinstance(whole, NeedProgress)
    assert whole.bytes_total > 8 * MIB
    assert whole.bytes_here <= 8 * BLOCK_BYTES, "four blocks, and what was on its way since"

    shown = ("--socket", receiver.client.socket_path)
    assert ckptctl([*shown, "need", f"{NAME}:{WEIGHTS}#layers.7:4-12", "--cat"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == LAYERS["layers.7"].tobytes()[4:16]
    assert ckptctl([*shown, "need", f"{NAME}#layers.7"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == f"{WEIGHTS}: the range is here\n".encode()
    assert (
        ckptctl([*shown, "need", f"{NAME}@1:{WEIGHTS}", "--tensors", "-o", "json"]) == ExitCode.DONE
    )
    listed = json.loads(capfdbinary.readouterr().out)
    assert {row["name"] for row in listed} == set(LAYERS)
    assert listed[0]["dtype"] == "I32"
    assert listed[0]["shape"] == [128 * KIB]
    assert ckptctl([*shown, "need", f"{NAME}:{WEIGHTS}#none"]) == ExitCode.FAILED
    assert b"is not in it. Similar: 'layers." in capfdbinary.readouterr().err
    assert ckptctl([*shown, "need", f"{NAME}#layers.7", "--no-wait"]) == ExitCode.USAGE

    (item,) = (
        each for each in json.loads((DCP / "said.json").read_text()) if each["tensor"] == "step"
    )
    content = (DCP / item["file"]).read_bytes()[item["start"] :][: item["length"]]
    where = receiver.client.recovery(recovery).target
    assert ckptctl([*shown, "need", f"{where}/dcp/.metadata#step", "--cat"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == content
    assert ckptctl([*shown, "need", f"{NAME}:dcp/.metadata", "--tensors"]) == ExitCode.DONE
    assert b"model.layer.weight[3,0]" in capfdbinary.readouterr().out
    receiver.client.cancel(recovery)

    here = str(source.path("gpt", WEIGHTS))
    shown = ("--socket", source.client.socket_path)
    assert ckptctl([*shown, "need", f"{here}#layers.3", "--cat"]) == ExitCode.DONE
    assert capfdbinary.readouterr().out == LAYERS["layers.3"].tobytes()
