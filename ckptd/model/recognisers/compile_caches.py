"""Caches of compilers beside weights: torch.compile and Triton, XLA, vLLM.

Whoever has none compiles again. So they come last, and nobody has to have them.

Source: torch 2.14, _inductor/runtime/cache_dir_utils.py and codecache.py; triton 3.6,
runtime/cache.py; jax 0.8, _src/lru_cache.py; vLLM 0.13, compilation/backends.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ckptd.model.patterns import escape_pattern
from ckptd.model.policy.recognition import Read
from ckptd.model.policy.rules import Rule
from ckptd.model.recognisers.proposal import REST, Kind, Tree, deepest_first, rule_of
from ckptd.model.words import Criticality

NAME: Final = "compile cache"

_CACHE: Final = re.compile(
    r"torchinductor(?:_.+)?|(?:inductor|triton|torch_compile|jax|xla|jit|compile|compilation)"
    r"_cache|jax_compilation_cache|neuron-compile-cache|neuronxcc-.+|\.triton"
)
_TRITON: Final = re.compile(r".+\.(?:cubin|hsaco|ttir|ttgir|ptx)")
_HASH: Final = re.compile(r"[0-9a-zA-Z_-]{32,}")
"""How the directory of a kernel is called, beside those of others."""
_XLA: Final = re.compile(r"(?:jit|pmap|pjit)_.+-[0-9a-f]{32,64}(?:-(?:cache|atime))?")

_CACHED: Final = Kind(
    ("*",), REST, Criticality.DEFERRED, "compiled again where it is not there", is_optional=True
)


def propose(tree: Tree, _: Read) -> Iterator[Rule]:
    """Yield a rule for the directories that are caches, by its name or by what is in it.

    Args:
        tree: The files.
    """
    caches: set[str] = set()
    for directory, names in tree.names.items():
        above, _sign, name = directory.rpartition("/")
        named = _named(directory)
        if named is not None:
            caches.add(named)
        elif directory and any(map(_XLA.fullmatch, names)):
            caches.add(directory)
        elif directory and any(map(_TRITON.fullmatch, names)):
            caches.add(above if above and _HASH.fullmatch(name) else directory)
    found = [f"{escape_pattern(cache)}/*" for cache in deepest_first(caches)]
    if found:
        yield rule_of(NAME, found, _CACHED)


def _named(directory: str) -> str | None:
    """Return the directory above that is called as a cache is, or this one itself."""
    components = directory.split("/")
    for count, component in enumerate(components, 1):
        if _CACHE.fullmatch(component):
            return "/".join(components[:count])
    return None
