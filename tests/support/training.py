"""A training job with the Trainer of ``transformers``, or one that does with files what it does.

Run as a program by the user of the job: ``python training.py OUT STEPS MODE`` trains up to a step,
from the last checkpoint in a directory if there is one, and prints JSON: the library, and the step
it began at. A checkpoint is saved every ten steps; of more than ``LIMIT`` the oldest by ``mtime``
are removed, as the Trainer does; with the mode ``name`` it then keeps two, by their numbers.

What is done again here is ``Trainer._save_checkpoint``, ``sort_checkpoints``,
``rotate_checkpoints`` and ``get_last_checkpoint`` of transformers 5.24. That removes without
looking (``ignore_errors``): what it may not remove it keeps, and says nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

LIMIT = 3
EVERY = 10


def has_trainer() -> bool:
    return all(map(importlib.util.find_spec, ("torch", "transformers", "accelerate")))


def train(out: str, steps: int) -> int:
    """Train with the real Trainer; return the step it began at."""
    import torch  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        GPT2Config,
        GPT2LMHeadModel,
        Trainer,
        TrainingArguments,
    )
    from transformers.trainer_utils import get_last_checkpoint  # noqa: PLC0415

    torch.manual_seed(0)
    shape = GPT2Config(n_layer=1, n_head=2, n_embd=32, vocab_size=64, n_positions=32)
    ids = [torch.randint(0, 64, (16,)) for _ in range(16)]
    arguments = TrainingArguments(
        output_dir=out, max_steps=steps, save_steps=EVERY, save_total_limit=LIMIT,
        per_device_train_batch_size=1, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    last = get_last_checkpoint(out)
    Trainer(
        model=GPT2LMHeadModel(shape), args=arguments,
        train_dataset=[{"input_ids": each, "labels": each} for each in ids],
    ).train(resume_from_checkpoint=last)  # fmt: skip
    return step_of(last)


def rotate_by_name(out: str, limit: int) -> None:
    from transformers.trainer_utils import rotate_checkpoints  # noqa: PLC0415

    rotate_checkpoints(output_dir=out, save_total_limit=limit, use_mtime=False)


def step_of(checkpoint: str | os.PathLike[str] | None) -> int:
    return 0 if checkpoint is None else int(re.findall(r"-([0-9]+)$", os.fspath(checkpoint))[0])


class Reenacted:
    """Does with files what the Trainer does."""

    def __init__(self, out: str) -> None:
        self.out = Path(out)

    def train(self, steps: int) -> int:
        from safetensors.numpy import load_file  # noqa: PLC0415

        begun = max(map(step_of, self.out.glob("checkpoint-*")), default=0)
        if begun:
            last = self.out / f"checkpoint-{begun}"
            assert load_file(last / "model.safetensors")["weight"].shape == (64, 32)
            state = json.loads((last / "trainer_state.json").read_text())
            assert state["global_step"] == begun
        for step in range(begun + EVERY, steps + 1, EVERY):
            self._save(step)
            self.rotate(LIMIT, by_mtime=True)
        return begun

    def _save(self, step: int) -> None:
        import numpy  # noqa: PLC0415
        from safetensors.numpy import save_file  # noqa: PLC0415

        made = self.out / f"checkpoint-{step}"
        made.mkdir()
        weight = numpy.random.default_rng(step).random((64, 32))
        save_file({"weight": weight}, made / "model.safetensors")
        (made / "model.safetensors").chmod(0o600)  # as safetensors does from 0.8.1 on
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (made / name).write_bytes(os.urandom(5_000))
        (made / "config.json").write_text("{}")
        (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    def rotate(self, limit: int, *, by_mtime: bool) -> None:
        found = [each for each in self.out.glob("checkpoint-*") if each.is_dir()]
        by_step = sorted(found, key=step_of)
        ordered = sorted(found, key=lambda each: (each.stat().st_mtime, str(each)))
        if not by_mtime or ordered[-1].stat().st_mtime - ordered[0].stat().st_mtime < 1:
            ordered = by_step
        for each in ordered[: max(0, len(ordered) - limit)]:
            shutil.rmtree(each, ignore_errors=True)


def main(out: str, steps: int, mode: str) -> None:
    os.umask(0o027)
    if has_trainer():
        import transformers  # noqa: PLC0415

        library, begun = f"transformers {transformers.__version__}", train(out, steps)
    else:
        library, begun = "none", Reenacted(out).train(steps)
    if mode == "name":
        if has_trainer():
            rotate_by_name(out, 2)
        else:
            Reenacted(out).rotate(2, by_mtime=False)
    sys.stdout.write(json.dumps({"library": library, "begun": begun}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
