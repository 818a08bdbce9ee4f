"""What the configuration is put together from: the file, ``conf.d`` beside it, and variables.

Later ones win, key by key: the file; ``conf.d/*.toml`` in the order of their names; variables
``CKPTD_SECTION__KEY``. A list or a value takes the place of the one before as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.config.document import as_toml, read_toml
from ckptd.errors import ConfigurationError

_DIRECTORY: Final = "conf.d"
_FILES_MAX: Final = 256
_PREFIX: Final = "CKPTD_"
_BETWEEN: Final = "__"
_DEPTH_MAX: Final = 8
"""Names in one variable; the longest that mean something have four."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Everything that was stated, and where.

    Attributes:
        values: All of it, as one TOML document.
        stated: The key of each value, and of each table, with the file or the variable that has
            stated it last.
    """

    values: dict[str, object] = field(default_factory=dict)
    stated: dict[str, str] = field(default_factory=dict)

    def add(self, values: Mapping[str, object], place: str) -> None:
        """Let what stands at one more place win over all before."""
        self._merge(self.values, values, place, "")

    def _merge(
        self, known: dict[str, object], values: Mapping[str, object], place: str, prefix: str
    ) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            self.stated[name] = place
            if not isinstance(value, dict):
                known[key] = value
                continue
            table = known.get(key)
            if not isinstance(table, dict):
                known[key] = table = {}
            self._merge(table, value, place, f"{name}.")


def read_layers(path: str, environ: Mapping[str, str]) -> Layers:
    """Read all places that count.

    Args:
        path: The file.
        environ: Where variables come from.

    Raises:
        ConfigurationError: A file cannot be read, or what is read is not TOML.
    """
    layers = Layers()
    layers.add(read_toml(path), path)
    for each in _drop_ins(path):
        layers.add(read_toml(each), each)
    for name in sorted(environ):
        if name.startswith(_PREFIX) and _BETWEEN in name:
            layers.add(_table_of(name, environ[name]), f"variable {name}")
    return layers


def _drop_ins(path: str) -> Iterator[str]:
    """Yield the files beside the configuration, in the order in which they count."""
    directory = os.path.join(os.path.dirname(path), _DIRECTORY)
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigurationError(directory, f"cannot be read: {error.strerror or error}") from error
    names = sorted(name for name in names if name.endswith(".toml") and not name.startswith("."))
    if len(names) > _FILES_MAX:
        raise ConfigurationError(directory, f"has {len(names)} files, more than {_FILES_MAX}")
    yield from (os.path.join(directory, name) for name in names)


def _table_of(name: str, text: str) -> dict[str, object]:
    """Return a variable as what would stand in a file."""
    keys = name.removeprefix(_PREFIX).lower().split(_BETWEEN)
    if not all(keys) or len(keys) > _DEPTH_MAX:
        raise ConfigurationError(
            f"variable {name[:80]}",
            "is no name of a key",
            "Write CKPTD_SECTION__KEY, as in CKPTD_LISTEN__DATA.",
        )
    value = as_toml(text, f"variable {name}")
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value
