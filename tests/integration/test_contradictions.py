"""A manifest with unit digests that are not those of its blocks: its publisher is at fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ckptd.model.manifest import encode_manifest
from ckptd.model.words import FailureCause, Result, SourceState
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.stores import publish

pytestmark = pytest.mark.integration

LARGE = "model-1.safetensors"


def _publish_contradiction(node: Node, directory: str) -> None:
    """Let a node that does not run hold a version whose manifest contradicts itself."""
    root = Root.open("main", node.root)
    hashed = publish(root, directory, checkpoint=NAME, version=100)
    units = tuple(
        msgspec.structs.replace(unit, digest=bytes(32)) if unit.path == LARGE else unit
        for unit in hashed.manifest.units
    )
    manifest = msgspec.structs.replace(hashed.manifest, units=units)
    encoded = encode_manifest(manifest)
    wrong = replace(hashed, manifest=manifest, encoded=encoded, digest=hexdigest_of(encoded))

    async def record() -> None:
        database = Database(f"{node.state_dir}/ckptd.db")
        await database.open()
        catalog = Catalog(database, Roots([root]))
        await catalog.load()
        await catalog.add(wrong)
        await database.close()

    Path(node.state_dir).mkdir(mode=0o700, exist_ok=True)
    asyncio.run(record())
    root.close()


def test_another_version_is_taken_and_nobody_is_blamed(cluster: Cluster) -> None:
    broken = cluster.prepare("broken")
    make_checkpoint(broken.path("100"), seed=2)
    _publish_contradiction(broken, "100")
    broken.start()
    good = cluster.node("good")
    make_checkpoint(good.path("90"))
    good.publish(good.path("90"), version=90)
    broken.wait_ready()
    receiver = cluster.node("r", peers=[broken.address, good.address])
    eventually(lambda: len(receiver.client.checkpoints()) == 2, "both versions are known")

    result = receiver.recover(version=None)
    assert (result.result, result.version) == (Result.COMPLETE, 90)
    assert tree_digest(result.target) == tree_digest(good.path("90"))
    assert receiver.client.peer("broken").state is not SourceState.DISTRUSTED

    named = receiver.recover(version=100)
    assert (named.result, named.cause) == (Result.FAILED, FailureCause.VERIFICATION)
    assert "contradicts itself" in (named.message or "")
    assert named.bytes_received == 0, "it is known by now"
    assert not receiver.path(NAME, "100").exists()
