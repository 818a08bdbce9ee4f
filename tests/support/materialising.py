"""Chains below a root, as what makes a copy of them reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ckptd.chains.delta_index import DELTA_INDEX, read_delta_index
from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.materialising.chain_files import ChainFiles, ChainVersion, chain_files
from ckptd.store.materialising.made_note import MadeNote
from ckptd.store.materialising.making import CopyTarget, make_copy
from ckptd.store.materialising.verified_blocks import VerifiedBlocks
from ckptd.store.trees.finishing import Finishing
from tests.support.stores import publish, served_from

NAME = CheckpointName("policy")
OF = Digest("ab" * 32)


def hashed_versions(root: Root, versions: Sequence[int]) -> list[HashedDirectory]:
    """Hash versions, each in a directory named by its number."""
    return [
        publish(root, str(number), checkpoint=NAME, version=number, allows_incomplete=True)
        for number in versions
    ]


def chain_of(root: Root, hashed: Sequence[HashedDirectory]) -> list[ChainVersion]:
    """Return some versions as what reads them."""
    found = []
    for each in hashed:
        index = Path(root.absolute(each.directory), DELTA_INDEX)
        said = read_delta_index(index.read_bytes()) if index.exists() else None
        found.append(ChainVersion(Version(each.manifest.version), served_from(root, each), said))
    return found


def files_of(root: Root, versions: Sequence[int]) -> ChainFiles:
    """Return what a chain makes."""
    return chain_files(chain_of(root, hashed_versions(root, versions)), VerifiedBlocks())


def target_at(root: Root, directory: str, version: int = 1) -> CopyTarget:
    """Return a target for a copy."""
    staging = RecoveryId("r-0123456789ab")
    return CopyTarget(root, directory, staging, NAME, Version(version), OF)


def made(
    root: Root,
    versions: Sequence[int],
    directory: str = "made",
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> MadeNote:
    """Make a copy of a chain."""
    chain = chain_of(root, hashed_versions(root, versions))
    finishings = [Finishing(each.served.space.manifest) for each in chain]
    files = chain_files(chain, VerifiedBlocks())
    return make_copy(target_at(root, directory, versions[-1]), files, finishings, on_progress)
