"""Caches of compilers as they lie beside weights."""

from __future__ import annotations

import pytest

from tests.support.recognising import phases_of, proposed

CACHED = "rest deferred?"

BY_NAME = {
    "torchinductor_root/fxgraph/ab/fabc/x": CACHED,
    "torchinductor_root/aotautograd/x": CACHED,
    "vllm/torch_compile_cache/0a1b/rank_0_0/inductor_cache/x.py": CACHED,
    "jax_cache/whatever": CACHED,
    "weights.bin": "core normal",
}
BY_CONTENT = {
    "kernels/K7Q2JZ4RT6Q5ZL3W5H6M2N7C4B3D2F1G/add.cubin": CACHED,
    "kernels/K7Q2JZ4RT6Q5ZL3W5H6M2N7C4B3D2F1G/add.json": "core normal",
    "kernels/AAAA2JZ4RT6Q5ZL3W5H6M2N7C4B3D2F1G/mul.ttir": CACHED,
    "kernels/model.safetensors": "core normal",
    "K7Q2JZ4RT6Q5ZL3W5H6M2N7C4B3D2F1G/add.ptx": CACHED,
    "xla/jit_step-0123456789abcdef0123456789abcdef-cache": CACHED,
    "xla/jit_step-0123456789abcdef0123456789abcdef-atime": CACHED,
    "xla/jit_weights": "core normal",
    "shipped/kernel.ptx": "core normal",
    "weights.bin": "core normal",
}
BESIDE_WEIGHTS = {
    "config.json": "core critical",
    "model.safetensors": "core normal",
    "compile_cache/model.safetensors": CACHED,
}


@pytest.mark.parametrize("files", [BY_NAME, BY_CONTENT, BESIDE_WEIGHTS])
def test_caches_are_last_and_nobody_has_to_have_them(files: dict[str, str]) -> None:
    assert phases_of(list(files)) == files


def test_kernels_beside_each_other_are_one_cache() -> None:
    kernels = [f"kernels/{number:032x}/k.cubin" for number in range(1000)]
    assert [rule.paths for rule in proposed(kernels).policy.rules] == [("kernels/*.cubin",), ("*",)]


def test_of_a_cache_alone_there_is_one_phase() -> None:
    assert proposed(["jax_cache/a", "jax_cache/b"]).policy.phases == ("rest",)
