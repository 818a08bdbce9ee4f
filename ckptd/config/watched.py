"""The tables ``[[watch]]``: in which directories jobs save, and as what that is published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.config.document import Document
from ckptd.config.retention_values import kept_newest
from ckptd.config.values import absolute_path, patterns, reading_rate, settle_time
from ckptd.errors import UsageError
from ckptd.limits import MIB
from ckptd.model.ids import parse_checkpoint_name
from ckptd.model.shards import parse_shard, shard_name
from ckptd.model.toml_text import kind_of, text
from ckptd.model.watched_names import PRESETS, Preset, WatchRule, name_pattern

WATCHES_MAX: Final = 64

_KEYS: Final = (
    "directory",
    "checkpoint",
    "shard",
    "preset",
    "pattern",
    "quiet",
    "require",
    "newest",
    "rate",
)
_QUIET_S: Final = 5.0
_NEWEST: Final = 2
_RATE_BYTES_PER_S: Final = 400 * MIB


def read_watches(document: Document) -> tuple[WatchRule, ...]:
    """Read all of them; what cannot be used is kept.

    Raises:
        ConfigurationError: It is no list of tables, or they are too many.
    """
    entries = document.values.get("watch", [])
    if not isinstance(entries, list):
        document.fail("watch", f"is {kind_of(entries)}, not a list", "Begin each with [[watch]].")
    if len(entries) > WATCHES_MAX:
        document.fail("watch", f"has {len(entries)} directories, more than {WATCHES_MAX}")
    return tuple(_read_each(document, entries))


def _read_each(document: Document, entries: list[object]) -> Iterator[WatchRule]:
    for number, entry in enumerate(entries):
        with document.collecting():
            rule = _read(document, f"watch[{number}]", entry)
            yield rule


def _read(document: Document, place: str, entry: object) -> WatchRule:
    if not isinstance(entry, dict):
        document.fail(place, f"is {kind_of(entry)}, not a table", "Begin it with [[watch]].")
    document.check_keys(f"{place}.", entry, _KEYS)
    for key in ("directory", "checkpoint"):
        if key not in entry:
            document.fail(f"{place}.{key}", "is missing", "It has no default.")
    if ("preset" in entry) == ("pattern" in entry):
        document.fail(
            place, "needs a preset or a pattern, one of them", f"Presets: {', '.join(PRESETS)}."
        )
    preset = Preset("")
    if "preset" in entry:
        preset = document.parse(f"{place}.preset", entry["preset"], text(_preset))
    checkpoint = document.parse(
        f"{place}.checkpoint", entry["checkpoint"], text(parse_checkpoint_name)
    )
    if "shard" in entry:
        shard = document.parse(f"{place}.shard", entry["shard"], text(parse_shard))
        checkpoint = document.parse(f"{place}.shard", None, lambda _: shard_name(checkpoint, shard))
    require, quiet_s, newest, rate = preset.require, _QUIET_S, _NEWEST, _RATE_BYTES_PER_S
    if "require" in entry:
        require = document.parse(f"{place}.require", entry["require"], patterns)
    if "quiet" in entry:
        quiet_s = document.parse(f"{place}.quiet", entry["quiet"], text(settle_time))
    if "newest" in entry:
        newest = document.parse(f"{place}.newest", entry["newest"], _newest)
    if "rate" in entry:
        rate = document.parse(f"{place}.rate", entry["rate"], text(reading_rate))
    names = entry.get("pattern", preset.pattern)
    return WatchRule(
        directory=document.parse(f"{place}.directory", entry["directory"], text(absolute_path)),
        pattern=document.parse(f"{place}.pattern", names, text(name_pattern)),
        checkpoint=checkpoint,
        quiet_s=quiet_s,
        require=require,
        pointer=preset.pointer,
        newest=newest,
        rate_bytes_per_s=rate,
    )


def _newest(value: object) -> int:
    """Read how many of the newest saves are taken.

    Raises:
        UsageError: It is no number, or none are.
    """
    newest = kept_newest(value)
    if newest is None:
        raise UsageError("", "is 0: nothing would be taken")
    return newest


def _preset(word: str) -> Preset:
    if word not in PRESETS:
        raise UsageError(f"{word[:40]!r}", f"is not one of {', '.join(PRESETS)}")
    return PRESETS[word]
