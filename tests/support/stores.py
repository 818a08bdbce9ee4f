"""Roots, published directories and catalogs for tests."""

import os
from collections.abc import Mapping
from pathlib import Path

from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.publishing import PublishRequest, scan_and_hash
from ckptd.store.published.serving import Piece

CONTENTS = {"weights.bin": b"w" * 300_000, "optimizer/state.bin": b"o" * 5_000, "empty": b""}


def write_files(directory: Path, contents: Mapping[str, bytes] = CONTENTS) -> None:
    for path, content in contents.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def publish(
    root: Root,
    relative: str,
    *,
    checkpoint: str = "llama/rank-0",
    version: int = 100,
    critical: tuple[str, ...] = (),
    deferred: tuple[str, ...] = (),
    workers: int = 1,
) -> HashedDirectory:
    request = PublishRequest(
        directory=root.absolute(relative),
        checkpoint=CheckpointName(checkpoint),
        version=Version(version),
        critical=critical,
        deferred=deferred,
    )
    return scan_and_hash(
        root,
        relative,
        request,
        workers=workers,
        on_progress=lambda _: None,
        is_cancelled=lambda: False,
    )


def bytes_of(piece: Piece) -> bytes:
    """What a piece would bring to a receiver."""
    if piece.data is not None:
        return bytes(piece.data)
    return os.pread(piece.fd, piece.size_bytes, piece.offset)


def open_descriptors() -> set[str]:
    """What the process has open, but for the listing itself."""
    targets = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            targets.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue
    return targets
