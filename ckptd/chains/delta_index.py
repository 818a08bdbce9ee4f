"""The index of a delta version, in the layout that inference engines read.

A directory of Hugging Face: ``*.safetensors`` in which each tensor that changed is its coded
difference, as bytes, and ``model.safetensors.index.json``, which is what says so. Its metadata:

- ``delta_encoding``: it is a delta version if and only if this is there. ``xor`` has to be applied
  exactly once; ``overwrite`` is a number of positions, the positions, then the new bytes.
- ``version`` and ``base_version``: decimal numbers, as a rule text with leading zeros.
- ``compression_format``: ``zstd``: each difference is a frame of its own.
- ``checksum_format``: ``xxh3-128``, ``blake3`` or ``adler32``, of each tensor once it is applied.
  The sums themselves are in ``__metadata__`` of the file that has the tensor, by its name.

An index with words that are not known here can be carried, and its chain is known; only whoever
applies it has to know them: :func:`check_applicable`.

Sources, read in 2026: slime, ``update_weight_from_disk_delta.py`` and ``utils/disk_delta.py``; its
patch of SGLang, ``weight_sync/local_checkpoint.py`` (``/pull_weights``); ModelExpress 0.7,
``modelexpress_rl/inference/receiver.py`` and ``train/methods/canonical_delta.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from ckptd.errors import InvalidFormat
from ckptd.limits import VERSION_MAX
from ckptd.model.formats.safetensors_header import HEADER_BYTES_MAX
from ckptd.model.formats.tensors import TENSORS_MAX, invalid
from ckptd.model.formats.weight_index import INDEX_BYTES_MAX
from ckptd.model.ids import Version

DELTA_INDEX: Final = "model.safetensors.index.json"
"""Where it is in the directory: nowhere else."""

XOR: Final = "xor"
OVERWRITE: Final = "overwrite"
ENCODINGS: Final = frozenset((XOR, OVERWRITE))
ZSTD: Final = "zstd"
UNCOMPRESSED: Final = "none"
COMPRESSIONS: Final = frozenset((ZSTD, UNCOMPRESSED))
XXH3_128: Final = "xxh3-128"
BLAKE3: Final = "blake3"
ADLER32: Final = "adler32"
SUM_DIGITS: Final[Mapping[str, int]] = {XXH3_128: 32, BLAKE3: 64, ADLER32: 8}
"""The kinds of sums of tensors, and how many hexadecimal digits one has."""

_VALUES_MAX: Final = TENSORS_MAX + 2**16
"""Commas and beginnings of objects and lists, counted before any value is made."""
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,32}", re.ASCII)
_FILE: Final = re.compile(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,240}\.safetensors")
_SUM: Final = re.compile(r"[0-9a-fA-F]{1,128}", re.ASCII)
_NO_WORD: Final = ""


class _Metadata(msgspec.Struct):
    version: object = None
    base_version: object = None
    delta_encoding: object = None
    compression_format: object = UNCOMPRESSED
    sum_kind: object = msgspec.field(default=_NO_WORD, name="checksum_format")


class _MaybeDelta(msgspec.Struct):
    """As much of an index as says whether it is one of a delta version."""

    metadata: object = None


class _Index(msgspec.Struct):
    metadata: _Metadata
    weight_map: dict[str, str]


class _Header(msgspec.Struct):
    sums: dict[str, str] = msgspec.field(default={}, name="__metadata__")


@dataclass(frozen=True, slots=True)
class DeltaIndex:
    """What the index of a delta version says.

    Attributes:
        version: Which version it makes, by the count of its publisher.
        base: Of which it is the difference; a lower number.
        encoding: How a difference is encoded, a word of :data:`ENCODINGS` or a newer one.
        compression: A word of :data:`COMPRESSIONS` or a newer one.
        sum_kind: By what a tensor is checked once it is made, a key of :data:`SUM_DIGITS` or a
            newer word; empty: it says nothing.
        files: The file that has the difference of each tensor that changed. Others are as in the
            base version.
    """

    version: Version
    base: Version
    encoding: str
    compression: str
    sum_kind: str
    files: Mapping[str, str]


def read_delta_index(content: bytes) -> DeltaIndex | None:
    """Read an index beside weights.

    Args:
        content: Of the file :data:`DELTA_INDEX`.

    Returns:
        ``None`` if it is an ordinary one: that of a full version.

    Raises:
        InvalidFormat: It is none, or says that it is of a delta version, and not of which.
    """
    if len(content) > INDEX_BYTES_MAX:
        raise _broken(f"has {len(content)} bytes, more than {INDEX_BYTES_MAX}")
    if sum(map(content.count, (b",", b"{", b"["))) > _VALUES_MAX:
        raise _broken(f"has more than {_VALUES_MAX} values")
    try:
        found = msgspec.json.decode(content, type=_MaybeDelta).metadata
        if not isinstance(found, dict) or "delta_encoding" not in found:
            return None
        index = msgspec.json.decode(content, type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(f"cannot be read: {str(error)[:200]}") from error
    metadata = index.metadata
    version = _version(metadata.version, "version")
    base = _version(metadata.base_version, "base_version")
    if base >= version:
        raise _broken(f"says that version {version} is a delta on {base}, which is no earlier one")
    for tensor, file in index.weight_map.items():
        if not _FILE.fullmatch(file):
            raise _broken(f"puts tensor {tensor[:80]!r} into {file[:80]!r}")
    return DeltaIndex(
        version=version,
        base=base,
        encoding=_word(metadata.delta_encoding, "delta_encoding"),
        compression=_word(metadata.compression_format, "compression_format"),
        sum_kind=_word(metadata.sum_kind, "checksum_format", may_lack=True),
        files=index.weight_map,
    )


def check_applicable(index: DeltaIndex) -> None:
    """Check that everything is known that has to be known to apply a delta.

    Raises:
        InvalidFormat: It is encoded or checked in a way that is not known here.
    """
    for word, known, what in (
        (index.encoding, ENCODINGS, "encoded"),
        (index.compression, COMPRESSIONS, "compressed"),
        (index.sum_kind, SUM_DIGITS, "checked"),
    ):
        if word not in known:
            raise InvalidFormat(
                f"delta version {index.version}",
                f"is {what} by {word!r}; known here are {', '.join(sorted(known))}"
                if word
                else "does not say by which sums its tensors are checked",
                "Update ckptd, or recover a full version.",
            )


def tensor_sums(header: bytes, file: str) -> dict[str, str]:
    """Return what each tensor of a file has to sum up to once its difference is applied.

    Args:
        header: Of the safetensors file: the JSON behind the first eight bytes.
        file: What it is called, for errors.

    Returns:
        Hexadecimal digits in lower case, by the name of the tensor.

    Raises:
        InvalidFormat: The header cannot be read, or a sum is none.
    """
    where = repr(file[:200])
    if len(header) > HEADER_BYTES_MAX or header.count(b",") > 2 * _VALUES_MAX:
        raise invalid(where, "has a header that is too long")
    try:
        sums = msgspec.json.decode(header, type=_Header).sums
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(where, f"has a header that cannot be read: {str(error)[:200]}") from error
    for tensor, digits in sums.items():
        if not _SUM.fullmatch(digits):
            raise invalid(where, f"gives tensor {tensor[:80]!r} the sum {digits[:40]!r}")
    return {tensor: digits.lower() for tensor, digits in sums.items()}


def _version(value: object, key: str) -> Version:
    """Return a version number; text may have leading zeros."""
    if value is None:
        raise _broken(f"does not say {key}")
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= VERSION_MAX:
        raise _broken(f"says {key} = {str(value)[:40]!r}, which is no version number")
    return Version(value)


def _word(value: object, key: str, *, may_lack: bool = False) -> str:
    if may_lack and value == _NO_WORD:
        return _NO_WORD
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise _broken(f"says {key} = {str(value)[:40]!r}, which is no word")
    return value


def _broken(problem: str) -> InvalidFormat:
    return InvalidFormat(
        DELTA_INDEX, problem, "Let whoever wrote the version write it again, or publish a full one."
    )
