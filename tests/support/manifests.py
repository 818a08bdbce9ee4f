"""Manifests for tests, made from contents."""

from collections.abc import Collection, Mapping

from blake3 import blake3

from ckptd.model.manifest import FORMAT, Manifest, Unit, block_size_for, urgency
from ckptd.model.words import Criticality


def make_unit(
    path: str,
    content: bytes,
    *,
    criticality: Criticality = Criticality.NORMAL,
    block_size_bytes: int | None = None,
) -> Unit:
    size = block_size_bytes or block_size_for(len(content))
    return Unit(
        path=path,
        size_bytes=len(content),
        digest=blake3(content).digest(),
        block_size_bytes=size,
        block_digests=b"".join(
            blake3(content[start : start + size]).digest() for start in range(0, len(content), size)
        ),
        criticality=criticality,
    )


def make_manifest(
    contents: Mapping[str, bytes],
    *,
    checkpoint: str = "llama/rank-0",
    version: int = 100,
    critical: Collection[str] = (),
    deferred: Collection[str] = (),
    block_size_bytes: int | None = None,
) -> Manifest:
    def criticality_of(path: str) -> Criticality:
        if path in critical:
            return Criticality.CRITICAL
        return Criticality.DEFERRED if path in deferred else Criticality.NORMAL

    units = [
        make_unit(
            path,
            content,
            criticality=criticality_of(path),
            block_size_bytes=block_size_bytes,
        )
        for path, content in contents.items()
    ]
    return Manifest(
        format=FORMAT,
        checkpoint=checkpoint,
        version=version,
        units=tuple(sorted(units, key=urgency)),
    )
