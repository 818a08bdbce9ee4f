"""What is known to lack in a directory that a job has not finished writing.

Formats say themselves when they are complete: by a file that is written last, or by one that names
all others. Nothing of them is executed or unpickled, and a directory of none of these formats is
never said to lack anything.

- PyTorch DCP writes ``.metadata`` when all ``*.distcp`` are there.
- Orbax writes into ``….orbax-checkpoint-tmp…`` and renames that, or writes ``commit_success.txt``;
  ``_CHECKPOINT_METADATA`` has the moment in it. Parts of several processes are merged before.
- The index of sharded weights (``*.safetensors.index.json``, ``*.bin.index.json``) comes after the
  shards, and names them.
- DeepSpeed writes the name of the directory into ``latest`` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ckptd.errors import InvalidFormat
from ckptd.model.formats.weight_index import INDEX_BYTES_MAX, decode_index

MARKER_BYTES_MAX: Final = INDEX_BYTES_MAX

_INDEX: Final = re.compile(r".*\.(?:safetensors|bin)\.index(?:\.[^./]+)?\.json")
_SHARD: Final = re.compile(r".*-\d{5}-of-\d{5}\.(?:safetensors|bin)")
_STATES: Final = re.compile(r".*_(?:model|optim)_states\.pt")
_STEP: Final = re.compile(r"global_step(\d{1,18})")
_OCDBT: Final = re.compile(r"(?:^|/)ocdbt\.process_")
_UNCOMMITTED: Final = ".orbax-checkpoint-tmp"
_METADATA: Final = "_CHECKPOINT_METADATA"
_SUCCESS: Final = "commit_success.txt"
_MARKERS: Final = frozenset(
    (
        ".metadata",
        _METADATA,
        _SUCCESS,
        "latest",
        "latest_universal",
        "latest_checkpointed_iteration.txt",
    )
)
_NAMING: Final = frozenset(("_METADATA", "manifest.ocdbt"))


class _OrbaxMetadata(msgspec.Struct):
    init_timestamp_nsecs: int | None = None
    commit_timestamp_nsecs: int | None = None


def what_is_lacking(
    directory: str, paths: Iterable[str], read: Callable[[str], bytes | None]
) -> str:
    """Return what a directory is known to lack, for people; empty if nothing is.

    Args:
        directory: Its own path.
        paths: Of its files, relative to it.
        read: Returns what is in one of them; ``None`` if that is more than
            :data:`MARKER_BYTES_MAX`.
    """
    names: dict[str, set[str]] = {}
    for path in paths:
        parent, _, name = path.rpartition("/")
        names.setdefault(parent, set()).add(name)
    for check in (_of_orbax, _of_dcp, _of_shards, _of_deepspeed):
        problem = check(directory, names, read)
        if problem:
            return problem
    return ""


def is_commit_marker(path: str) -> bool:
    """Return whether a file goes by a name by which readers of a format know that all is there.

    What other formats do with that name does not matter: it is only placed late then.
    """
    return path.rpartition("/")[2] in _MARKERS


def names_others(path: str) -> bool:
    """Return whether a file goes by a name of those that say what is in others, or complete them.

    It is no commit marker: those others are enough for whoever finds it.
    """
    name = path.rpartition("/")[2]
    return name in _NAMING or _INDEX.fullmatch(name) is not None


_Names = dict[str, set[str]]
_Read = Callable[[str], bytes | None]


def _of_dcp(_: str, names: _Names, __: _Read) -> str:
    for parent, inside in names.items():
        if ".metadata" not in inside and any(name.endswith(".distcp") for name in inside):
            return _lacks(_in(parent, ".metadata"), "PyTorch DCP writes it last")
    return ""


def _of_shards(_: str, names: _Names, read: _Read) -> str:
    for parent, inside in names.items():
        indices = sorted(name for name in inside if _INDEX.fullmatch(name))
        if not indices and any(_SHARD.fullmatch(name) for name in inside):
            return _lacks(_in(parent, "….index.json"), "it is written after the shards")
        for name in indices:
            path = _in(parent, name)
            content = read(path)
            if content is None:
                return _too_long(path)
            try:
                files = set(decode_index(content, path).values())
            except InvalidFormat as error:
                return f"{error.subject} {error.problem}"
            for shard in sorted(files - inside):
                return _lacks(_in(parent, shard), f"{path!r} names it")
    return ""


def _of_orbax(directory: str, names: _Names, read: _Read) -> str:
    for path in (directory, *names):
        if _UNCOMMITTED in path:
            return f"{path[:300]!r} is where Orbax writes before all is complete"
    by_process = {parent[: found.start()] for parent in names if (found := _OCDBT.search(parent))}
    committed: set[str] = set()
    for parent in sorted(by_process | {each for each in names if "_METADATA" in names[each]}):
        needed = ("manifest.ocdbt", "_METADATA") if parent in by_process else ()
        for name in needed:
            if name not in names.get(parent, ()):
                return _lacks(_in(parent, name), "Orbax writes it when all processes are done")
        problem = _uncommitted(parent, names, read, committed)
        if problem:
            return problem
    return ""


def _uncommitted(parent: str, names: _Names, read: _Read, committed: set[str]) -> str:
    """Say why what Orbax wrote there is not committed: there, or in a directory above.

    Args:
        parent: Where.
        names: Of all files, by directory.
        read: Reads one.
        committed: Directories that are known to be; gets those that are found.
    """
    above = parent
    while above not in committed:
        inside = names.get(above, set())
        if _METADATA in inside:
            problem = _without_moment(_in(above, _METADATA), read)
            if problem and _SUCCESS not in inside:
                return problem
        if inside & {_METADATA, _SUCCESS}:
            committed.add(above)
            return ""
        if not above:
            return _lacks(_in(parent, _METADATA), "Orbax says there when it committed")
        above = above.rpartition("/")[0]
    return ""


def _without_moment(path: str, read: _Read) -> str:
    content = read(path)
    if content is None:
        return _too_long(path)
    try:
        said = msgspec.json.decode(content, type=_OrbaxMetadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{path!r} is not the metadata that it should be"
    if said.commit_timestamp_nsecs is None and said.init_timestamp_nsecs is not None:
        return f"{path!r} does not say yet when Orbax committed it"
    return ""


def _of_deepspeed(_: str, names: _Names, read: _Read) -> str:
    tags: dict[str, set[str]] = {}
    for parent, inside in names.items():
        if parent and any(_STATES.fullmatch(name) for name in inside):
            above, _, tag = parent.rpartition("/")
            tags.setdefault(above, set()).add(tag)
    for above, found in sorted(tags.items()):
        path = _in(above, "latest")
        if "latest" not in names.get(above, ()):
            return _lacks(path, "DeepSpeed writes it last")
        content = read(path)
        if content is None:
            return _too_long(path)
        # It is not repeated: it may be a name of a file that is not for everybody.
        latest = content.strip().decode("utf-8", "replace")
        if latest not in found:
            return f"{path!r} names another directory than those with states beside it"
        step = _STEP.fullmatch(latest)
        for tag in sorted(found):
            newer = _STEP.fullmatch(tag)
            if step and newer and int(newer[1]) > int(step[1]):
                return f"{_in(above, tag)!r} is newer than what {path!r} names"
    return ""


def _in(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def _lacks(path: str, why: str) -> str:
    return f"{path[:300]!r} is not there, and {why}"


def _too_long(path: str) -> str:
    return f"{path!r} has more than {MARKER_BYTES_MAX} bytes, which is too much to be looked at"
