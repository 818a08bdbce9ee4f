"""Makes the small checkpoints of PyTorch DCP that readers of its metadata are tested with.

What it writes is checked in, with the version of PyTorch in its name; PyTorch itself is not needed
by the tests. To make more of it, in an environment that has ``torch`` (for the processor alone) and
``zstandard``, from the project's root::

    python -m tests.support.making_dcp tests/unit/model/formats/dcp
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from torch.distributed.checkpoint._extension import ZStandard
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

RANKS = 2


def _state(mesh: DeviceMesh) -> dict[str, object]:
    """Return a state with all kinds: sharded, replicated, a scalar, an object that is no tensor."""
    torch.manual_seed(1)
    weight, bias = torch.randn(6, 4), torch.ones(4, dtype=torch.bfloat16)
    return {
        "model": {
            "layer.weight": distribute_tensor(weight, mesh, [Shard(0)]),
            "layer.bias": distribute_tensor(bias, mesh, [Replicate()]),
        },
        "optim": {"param_groups": [{"lr": 0.1}]},
        "step": torch.tensor(1200),
    }


def _save(rank: int, directory: str, is_compressed: bool) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{directory}.rendezvous", rank=rank, world_size=RANKS
    )
    extensions = [ZStandard()] if is_compressed else None
    writer = dcp.FileSystemWriter(directory, _extensions=extensions)
    dcp.save(_state(init_device_mesh("cpu", (RANKS,))), storage_writer=writer)
    torch.distributed.destroy_process_group()


def _said(directory: Path) -> list[dict[str, object]]:
    """Return what PyTorch itself reads from the metadata, in the order of the bytes."""
    metadata = dcp.FileSystemReader(directory).read_metadata()
    said = []
    for index, info in metadata.storage_data.items():
        kind = metadata.state_dict_metadata[index.fqn]
        row: dict[str, object] = {
            "tensor": index.fqn,
            "begins": index.offset,
            "file": info.relative_path,
            "start": info.offset,
            "length": info.length,
            "transforms": info.transform_descriptors or [],
        }
        if hasattr(kind, "chunks"):
            (chunk,) = (each for each in kind.chunks if each.offsets == index.offset)
            row |= {"dtype": str(kind.properties.dtype), "shape": chunk.sizes}
        said.append(row)
    return sorted(said, key=lambda row: (row["file"], row["start"]))


def main(target: Path) -> None:
    """Write a directory for each way of saving, and what PyTorch reads from its metadata."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    for name, is_compressed in (("plain", False), ("compressed", True)):
        directory = target / f"{name}-{torch.__version__.partition('+')[0]}"
        directory.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch, "made")
            torch.multiprocessing.spawn(_save, (str(made), is_compressed), nprocs=RANKS)
            for path in made.iterdir():
                (directory / path.name).write_bytes(path.read_bytes())
        (directory / "said.json").write_text(json.dumps(_said(directory), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
