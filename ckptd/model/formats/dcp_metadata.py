"""``.metadata`` of PyTorch DCP: which bytes of which file are which item. It is never unpickled.

It is a pickle of an object of class ``Metadata``. ``state_dict_metadata`` has the types and shapes
of all tensors and of the parts (chunks) that they are stored in, ``storage_data`` the file, offset
and length of each part. Classes are known by their names alone, whatever their module, which moved
between versions of PyTorch; fields that are not known are not looked at.

Source: torch/distributed/checkpoint/metadata.py and filesystem.py, PyTorch 2.0 to 2.13.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from ckptd.errors import InvalidFormat, InvalidManifest
from ckptd.limits import MIB, UNIT_BYTES_MAX
from ckptd.model.formats.pickled import Made, Name, Pairs, Unexpected, outline_of
from ckptd.model.formats.tensors import RANK_MAX, TENSORS_MAX, Tensor, invalid
from ckptd.model.unit_paths import check_path
from ckptd.model.words import TensorContent

METADATA_BYTES_MAX: Final = 32 * MIB
"""A part takes some 125 to 230 bytes."""
_CHUNKS_MAX: Final = TENSORS_MAX
"""Of all tensors. A list of them can be that of many, in few bytes."""
_TEXTS_SHARE_MAX: Final = 4
"""Characters of all names and paths for each byte of the metadata. A text can be that of many items
in few bytes, but what is made of it is made for each."""
_FIELDS_MAX: Final = 64
_TRANSFORMS_MAX: Final = 16
_TEXT_MAX: Final = 4096
_LENGTH_MAX: Final = 2**63 - 1


class _Described(NamedTuple):
    """What ``state_dict_metadata`` says of a tensor.

    Attributes:
        dtype: Its type.
        shape: All of it.
        parts: The shapes of its parts, by where they begin in it.
    """

    dtype: str
    shape: tuple[int, ...]
    parts: dict[tuple[int, ...], tuple[int, ...]]


class _Stored(NamedTuple):
    """A part in ``storage_data``.

    Attributes:
        tensor: Name of what it is a part of.
        begins: Where in it; ``None`` if it is all of it and no tensor.
        path: Of the file, relative to the directory of the metadata.
        start: Where in the file.
        length: How many bytes.
        transforms: What they went through.
    """

    tensor: str
    begins: tuple[int, ...] | None
    path: str
    start: int
    length: int
    transforms: tuple[str, ...]


def decode_metadata(data: bytes, unit: str) -> tuple[Tensor, ...]:
    """Return the items that the metadata of a directory names, in the order of their bytes.

    Args:
        data: Content of the file.
        unit: Its path.

    Raises:
        InvalidFormat: It is no metadata, or says what cannot be.
    """
    if len(data) > METADATA_BYTES_MAX:
        raise _broken(unit, f"it has {len(data)} bytes, more than {METADATA_BYTES_MAX}")
    try:
        fields = _fields(outline_of(data), "Metadata")
        described = _described(_pairs(fields.get("state_dict_metadata"), TENSORS_MAX))
        pairs = _pairs(fields.get("storage_data"), TENSORS_MAX)
        stored = [_stored(index, info) for index, info in pairs]
    except InvalidManifest as error:
        raise _broken(unit, f"it {error.problem}") from error
    except Unexpected as error:
        raise _broken(unit, str(error)) from error
    directory = unit.rpartition("/")[0]
    if sum(map(_text_length, stored)) + len(directory) * len(stored) > _TEXTS_SHARE_MAX * len(data):
        raise _broken(unit, "its names are many times as long as itself")
    counts = Counter(item.tensor for item in stored)
    tensors = [_tensor(item, described, counts, directory) for item in stored]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _broken(unit, "it has an item twice")
    return tuple(sorted(tensors, key=lambda tensor: (tensor.unit, tensor.start, tensor.end)))


def _text_length(item: _Stored) -> int:
    texts = (item.tensor, item.path, *item.transforms)
    return sum(map(len, texts)) + len(str(item.begins))


def _tensor(
    item: _Stored, described: dict[str, _Described], counts: Counter[str], directory: str
) -> Tensor:
    """Return an item with what is said of its tensor.

    Args:
        item: Where it lies.
        described: What is said of tensors.
        counts: How many items have the same tensor.
        directory: That of the metadata.
    """
    facts = described.get(item.tensor)
    begins = item.begins
    shape: tuple[int, ...] = ()
    if facts is not None:
        shape = facts.shape if begins is None else facts.parts.get(begins, facts.shape)
    is_part = counts[item.tensor] > 1
    place = "" if begins is None else f"[{','.join(map(str, begins))}]"
    return Tensor(
        name=item.tensor + place * is_part,
        dtype="" if facts is None else facts.dtype,
        shape=shape,
        unit=f"{directory}/{item.path}" if directory else item.path,
        start=item.start,
        end=item.start + item.length,
        content=TensorContent.ITEM,
        part_of=item.tensor if is_part else "",
        transforms=item.transforms,
    )


def _described(pairs: Pairs) -> dict[str, _Described]:
    found: dict[str, _Described] = {}
    count = 0
    for key, value in pairs:
        if not isinstance(value, Made) or _class_of(value) != "TensorStorageMetadata":
            continue  # an object that is no tensor
        fields = _fields(value, "TensorStorageMetadata")
        chunks = fields.get("chunks")
        if not isinstance(chunks, list):
            raise Unexpected("a tensor has no list of chunks")
        count += len(chunks)
        if count > _CHUNKS_MAX:
            raise Unexpected(f"its tensors have more than {_CHUNKS_MAX} chunks")
        found[_text(key)] = _Described(
            _dtype(fields.get("properties")),
            _lengths(fields.get("size")),
            dict(map(_part, chunks)),
        )
    return found


def _part(value: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    fields = _fields(value, "ChunkStorageMetadata")
    return _lengths(fields.get("offsets")), _lengths(fields.get("sizes"))


def _stored(index: object, info: object) -> _Stored:
    where, what = _fields(info, "_StorageInfo"), _fields(index, "MetadataIndex")
    path = _text(where.get("relative_path"))
    check_path(path)
    start, length = _number(where.get("offset")), _number(where.get("length"))
    if start + length > UNIT_BYTES_MAX:
        raise Unexpected("an item ends behind any file")
    begins = what.get("offset")
    transforms = where.get("transform_descriptors")
    if not isinstance(transforms, list | tuple | None) or len(transforms or ()) > _TRANSFORMS_MAX:
        raise Unexpected("the transforms of an item are no short list")
    return _Stored(
        _text(what.get("fqn")),
        None if begins is None else _lengths(begins),
        path,
        start,
        length,
        tuple(_text(each) for each in transforms or ()),
    )


def _class_of(value: Made) -> str:
    return value.by.name if isinstance(value.by, Name) else ""


def _fields(value: object, name: str) -> dict[str, object]:
    """Return the fields of an object of a class.

    Raises:
        Unexpected: It is of another one, or none.
    """
    if not isinstance(value, Made) or _class_of(value) != name:
        raise Unexpected(f"something is there in place of an object of class {name}")
    pairs = _pairs(value.state, _FIELDS_MAX)
    return {key: each for key, each in pairs if isinstance(key, str)}


def _pairs(value: object, count_max: int) -> Pairs:
    if isinstance(value, Made):  # of a class that is a dictionary too
        value = value.pairs or Pairs()
    if not isinstance(value, Pairs):
        raise Unexpected("something is there in place of a dictionary")
    if len(value) > count_max:
        raise Unexpected(f"a dictionary has more than {count_max} items")
    return value


def _dtype(properties: object) -> str:
    """Return the type of elements: the first field of the properties of a tensor.

    Raises:
        Unexpected: There is none.
    """
    state = properties.state if isinstance(properties, Made) else None
    match state:
        case Pairs():
            fields = _pairs(state, _FIELDS_MAX)
            dtype = next((each for key, each in fields if key == "dtype"), None)
        case (dtype, *_):
            pass
        case _:
            dtype = None
    if not isinstance(dtype, Name):
        raise Unexpected("a tensor has no type")
    return _text(dtype.name)


def _lengths(value: object) -> tuple[int, ...]:
    """Return a ``torch.Size``, whether it is one or a tuple of numbers.

    Raises:
        Unexpected: It is neither.
    """
    if isinstance(value, Made) and _class_of(value) == "Size":
        value = value.arguments
        if isinstance(value, tuple) and len(value) == 1:
            (value,) = value
    if not isinstance(value, tuple | list) or len(value) > RANK_MAX:
        raise Unexpected("a shape is no short list of numbers")
    return tuple(_number(each) for each in value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LENGTH_MAX:
        raise Unexpected("something is there in place of a length")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unexpected("something is there in place of a name")
    if len(value) > _TEXT_MAX:
        raise Unexpected(f"a name has {len(value)} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unexpected("a name has halves of characters") from error
    return value


def _broken(unit: str, problem: str) -> InvalidFormat:
    return invalid(f"{unit[:200]!r}", f"is no metadata of PyTorch DCP: {problem}")
