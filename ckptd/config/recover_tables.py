"""The tables ``[[recover]]``: what the daemon recovers without being asked by anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ckptd.config.document import Document
from ckptd.errors import UsageError
from ckptd.limits import PATIENCE_MAX_S, SECOND
from ckptd.model.ids import CheckpointName, parse_checkpoint_name
from ckptd.model.quantities import format_duration, parse_duration
from ckptd.model.shards import parse_shards
from ckptd.model.toml_text import flag, kind_of, one_of, text
from ckptd.model.words import PlaceMode, RecoverAt

_MINE: Final = "mine"
_TABLES_MAX: Final = 64
"""A task for each looks every few seconds whether there is something to do."""


@dataclass(frozen=True, slots=True)
class RecoverTable:
    """What is recovered by itself; what is not said counts as in a request that does not say it.

    Attributes:
        checkpoint: Of which checkpoint or job.
        at: When.
        shards: Which shards of a job, as a request has them; empty: not said.
        place: How it becomes visible; ``None``: as for any recovery.
        activate: The link of the checkpoint leads to it then.
        patience_s: How long it waits for what nobody has; ``None``: for ever.
    """

    checkpoint: CheckpointName
    at: RecoverAt
    shards: str = ""
    place: PlaceMode | None = None
    activate: bool = False
    patience_s: float | None = None


def read_recover_tables(document: Document) -> tuple[RecoverTable, ...]:
    """Read all of them; what cannot be used is kept.

    Raises:
        ConfigurationError: It is no list of tables.
    """
    entries = document.values.get("recover", [])
    if not isinstance(entries, list):
        hint = "Begin each with [[recover]]; [recovery] is how all recoveries go."
        document.fail("recover", f"is {kind_of(entries)}, not a list", hint)
    if len(entries) > _TABLES_MAX:
        document.fail("recover", f"has {len(entries)} tables, more than {_TABLES_MAX}")
    tables: dict[CheckpointName, RecoverTable] = {}
    for number, entry in enumerate(entries):
        place = f"recover[{number}]"
        with document.collecting():
            if not isinstance(entry, dict):
                hint = "Begin it with [[recover]]."
                document.fail(place, f"is {kind_of(entry)}, not a table", hint)
            table = _read(document, place, entry)
            if table.checkpoint in tables:
                problem = f"is {table.checkpoint}, of which another table says so already"
                document.fail(f"{place}.checkpoint", problem, "Write one for each.")
            tables[table.checkpoint] = table
    return tuple(tables.values())


def _read(document: Document, place: str, entry: Mapping[str, object]) -> RecoverTable:
    document.check_keys(f"{place}.", entry, tuple(_PARSERS))
    for key, hint in (
        ("checkpoint", 'Write of which: checkpoint = "llama".'),
        ("at", f"Write when: {' or '.join(RecoverAt)}."),
    ):
        if key not in entry:
            document.fail(f"{place}.{key}", "is missing", hint)

    said = {
        key: document.parse(f"{place}.{key}", entry[key], parser)
        for key, parser in _PARSERS.items()
        if key in entry
    }
    if "patience" in said:
        said["patience_s"] = said.pop("patience")
    return RecoverTable(**said)


def _shards(words: str) -> str:
    return words if words == _MINE else str(parse_shards(words))


def _patience_s(words: str) -> float:
    patience_s = parse_duration(words) / SECOND
    if patience_s > PATIENCE_MAX_S:
        raise UsageError(f"{words[:40]!r}", f"is more than {format_duration(PATIENCE_MAX_S)}")
    return patience_s


_PARSERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "checkpoint": text(parse_checkpoint_name),
    "at": one_of(RecoverAt),
    "shards": text(_shards),
    "place": one_of(PlaceMode),
    "activate": flag,
    "patience": text(_patience_s),
}
