"""Roots, published directories and catalogs for tests."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId, Version
from ckptd.model.words import FailureCause, Result
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.pieces import StoredPiece
from ckptd.store.published.publishing import scan_and_hash
from ckptd.store.published.scanning import PublishOrder
from ckptd.store.published.serving import ServedPlace, ServedVersion
from ckptd.store.records.ended import Contribution, EndedRecovery
from ckptd.store.records.journal import JournaledRecovery

CONTENTS = {"weights.bin": b"w" * 300_000, "optimizer/state.bin": b"o" * 5_000, "empty": b""}
SERVED_CONTENTS = {"a": b"1" * 300_000, "b": b"", "c/d": b"22", "e": b"3" * 262_144}
"""What the directory ``v1`` of the tests of what is served consists of."""


def write_files(directory: Path, contents: Mapping[str, bytes] = CONTENTS) -> None:
    for path, content in contents.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def rot(root: Root, hashed: HashedDirectory, unit: int, offset: int = 0) -> HashedDirectory:
    """Change a byte of a unit, and let what was recorded be what its file looks like now."""
    path = Path(root.absolute(hashed.path_of(unit)))
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes((byte[0] ^ 0x40,)))
    files = list(hashed.files)
    recorded = files[unit]
    assert recorded
    files[unit] = recorded._replace(fingerprint=fingerprint_of(path.stat()))
    return replace(hashed, files=UnitFiles(files))


def publish(
    root: Root,
    relative: str,
    *,
    checkpoint: str = "llama/rank-0",
    version: int = 100,
    critical: tuple[str, ...] = (),
    deferred: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    allows_incomplete: bool = False,
    keeps_links: bool = False,
    workers: int = 1,
    **more: Any,  # noqa: ANN401  (words of a PublishOrder)
) -> HashedDirectory:
    request = PublishOrder(
        directory=root.absolute(relative),
        checkpoint=CheckpointName(checkpoint),
        version=Version(version),
        critical=critical,
        deferred=deferred,
        optional=optional,
        exclude=exclude,
        allows_incomplete=allows_incomplete,
        keeps_links=keeps_links,
        **more,
    )
    return scan_and_hash(
        root,
        relative,
        request,
        workers=workers,
        on_progress=lambda _: None,
        is_cancelled=lambda: False,
    )


def served_from(root: Root, hashed: HashedDirectory) -> ServedVersion:
    """Serve a version from one place."""
    return ServedVersion([ServedPlace(1, root, hashed)])


def bytes_of(piece: StoredPiece) -> bytes:
    """What a piece would bring to a receiver."""
    if piece.data is not None:
        return bytes(piece.data)
    return os.pread(piece.fd, piece.size_bytes, piece.offset)


def journaled(
    recovery: str = "r-1",
    *,
    checkpoint: str = "llama/rank-0",
    root: str = "data",
    target: str = "",
    started_at_s: float = 0.0,
) -> JournaledRecovery:
    """What the journal has of a recovery of the newest version that has just begun."""
    return JournaledRecovery(
        recovery=RecoveryId(recovery),
        checkpoint=CheckpointName(checkpoint),
        version=None,
        digest=None,
        root=root,
        target=target,
        patience_ns=None,
        is_paused=False,
        started_at_s=started_at_s,
    )


def ended(recovery: RecoveryId) -> EndedRecovery:
    """What the journal keeps of a recovery that failed."""
    return EndedRecovery(
        recovery=recovery,
        checkpoint=CheckpointName("llama/rank-0"),
        version=Version(100),
        digest=Digest("ab" * 32),
        target="/data/llama/100",
        result=Result.FAILED,
        cause=FailureCause.CRITICAL_MISSING,
        message="nobody has it",
        is_degraded=False,
        missing_units=("a", "b/c"),
        total_bytes=1000,
        placed_bytes=0,
        received_bytes=700,
        resumed_bytes=200,
        wasted_bytes=30,
        wasted_bytes_by_reason={"duplicate": 30},
        sources=(Contribution(node=NodeId("n1"), verified_bytes=670),),
        happenings={"standstill": 2},
        duration_s=5.5,
        critical_s=None,
        predicted_duration_s=4.0,
        predicted_critical_s=0.5,
    )


def open_descriptors() -> set[str]:
    """What the process has open, but for the listing itself."""
    targets = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            targets.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue
    return targets


def read_served(served: ServedVersion, start: int, end: int) -> bytes:
    return b"".join(bytes_of(piece) for piece in served.pieces(start, end))


def change_served(inside: Path, how: str) -> None:
    """Do something to the file ``a`` of the directory ``v1``, or to that."""
    path = inside / "v1/a"
    match how:
        case "overwrite":
            with path.open("r+b") as file:
                file.write(b"1")
        case "touch":
            os.utime(path)
        case "remove":
            path.unlink()
        case "replace":
            write_files(inside, {"new": SERVED_CONTENTS["a"]})
            os.rename(inside / "new", path)
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "link":
            os.rename(path, inside / "moved")
            path.symlink_to(inside / "moved")
        case "directory link":
            os.rename(inside / "v1", inside / "v2")
            (inside / "v1").symlink_to("v2")
        case _:
            os.rename(inside / "v1", inside / "v2")


def mark_changed(catalog: Catalog, digest: Digest, reason: str = "a test says so") -> None:
    """Have everything of a version be known to have changed."""
    held = catalog.held(digest)
    assert held is not None
    for place in held.places:
        catalog.mark_changed(place.number, range(place.unit_count), reason)


async def forget(catalog: Catalog, digest: Digest) -> None:
    """Have the catalog forget all places of a version."""
    held = catalog.held(digest)
    assert held is not None
    for place in held.places:
        await catalog.forget(place.number)


class Everything:
    """Has whatever one asks for: where temporary files are differs from machine to machine."""

    def __contains__(self, _: object) -> bool:
        return True
