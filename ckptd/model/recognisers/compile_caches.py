"""Caches of compilers beside weights: torch.compile and Triton, XLA, vLLM.

Whoever has none compiles again. So they come last, and nobody has to have them. A directory that is
called as a cache is one with all that is in it; elsewhere only files that a cache alone has are
meant, for weights that are called optional can be left out.

Source: torch 2.14, _inductor/runtime/cache_dir_utils.py and codecache.py; triton 3.6,
runtime/cache.py; jax 0.8, _src/lru_cache.py; vLLM 0.13, compilation/backends.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ckptd.model.patterns import escape_pattern
from ckptd.model.policy.recognition import Read
from ckptd.model.policy.rules import Rule
from ckptd.model.recognisers.proposal import REST, Kind, Tree, deepest_first, path_in, rule_of
from ckptd.model.words import Criticality

NAME: Final = "compile cache"

_CACHE: Final = re.compile(
    r"torchinductor(?:_.+)?|(?:inductor|triton|torch_compile|jax|xla|jit|compile|compilation)"
    r"_cache|jax_compilation_cache|neuron-compile-cache|neuronxcc-.+|\.triton"
)
_HASH: Final = re.compile(r"[0-9a-zA-Z_-]{32,}")
"""How Triton calls the directory of a kernel, beside those of others."""
_TRITON: Final = re.compile(r".+\.(?:cubin|hsaco|llir|ptx|ttgir|ttir)")
_XLA: Final = re.compile(r"(jit|pjit|pmap)_.+-[0-9a-f]{32,64}(-cache|-atime)")

_CACHED: Final = Kind(
    ("*",), REST, Criticality.DEFERRED, "compiled again where it is not there", is_optional=True
)


def propose(tree: Tree, _: Read) -> Iterator[Rule]:
    """Yield a rule for the directories that are caches, and for files that only caches have.

    Args:
        tree: The files.
    """
    named = {above for each in tree.names if (above := _named(each)) is not None}
    paths = [path_in(escape_pattern(cache), "*") for cache in deepest_first(named)]
    files: dict[str, set[str]] = {}
    for directory, names in tree.names.items():
        above, _sign, name = directory.rpartition("/")
        if _HASH.fullmatch(name):
            place = above or directory
            files.setdefault(place, set()).update(_kernels(names))
        files.setdefault(directory, set()).update(_programs(names))
    found = {place: globs for place, globs in files.items() if globs}
    for place in deepest_first(found):
        paths += [path_in(escape_pattern(place), glob) for glob in sorted(found[place])]
    if paths:
        yield rule_of(NAME, paths, _CACHED)


def _kernels(names: Iterable[str]) -> Iterator[str]:
    """Yield patterns of what Triton makes."""
    for name in filter(_TRITON.fullmatch, names):
        yield f"*.{name.rpartition('.')[2]}"


def _programs(names: Iterable[str]) -> Iterator[str]:
    """Yield patterns of what JAX keeps."""
    for name in names:
        if found := _XLA.fullmatch(name):
            yield f"{found[1]}_*{found[2]}"


def _named(directory: str) -> str | None:
    """Return the directory above that is called as a cache is, or this one itself."""
    components = directory.split("/")
    for count, component in enumerate(components, 1):
        if _CACHE.fullmatch(component):
            return "/".join(components[:count])
    return None
