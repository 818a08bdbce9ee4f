"""``.metadata`` of PyTorch DCP as its writer pickles it, without PyTorch.

Classes are known by their names, so stand-ins with the same names are pickled.
"""

from __future__ import annotations

import pickle


class Size(tuple[int, ...]):
    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        return Size, (tuple(self),)


class Metadata:
    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


class MetadataIndex(Metadata): ...


class _StorageInfo(Metadata): ...


class TensorStorageMetadata(Metadata): ...


class ChunkStorageMetadata(Metadata): ...


class TensorProperties(Metadata): ...


class BytesStorageMetadata: ...


class float32: ...  # noqa: N801 - as PyTorch has it


def tensor(
    size: tuple[int, ...], *chunks: tuple[tuple[int, ...], tuple[int, ...]]
) -> TensorStorageMetadata:
    return TensorStorageMetadata(
        properties=TensorProperties(dtype=float32, new=1),
        size=Size(size),
        chunks=[ChunkStorageMetadata(offsets=Size(at), sizes=list(each)) for at, each in chunks],
        new=[],
    )


def index(fqn: object, offset: object = None) -> MetadataIndex:
    return MetadataIndex(fqn=fqn, offset=offset)


def info(
    path: object = "__0_0.distcp", offset: object = 0, length: object = 8, **more: object
) -> _StorageInfo:
    return _StorageInfo(relative_path=path, offset=offset, length=length, **more)


def metadata(storage: object, state: object = None, **more: object) -> bytes:
    whole = Metadata(state_dict_metadata=state or {}, storage_data=storage, **more)
    return pickle.dumps(whole, protocol=2)
