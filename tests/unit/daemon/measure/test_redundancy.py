from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec import structs

from ckptd.daemon.measure.redundancy import Copies, Redundancy
from ckptd.limits import KIB
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, Version
from ckptd.model.manifest import OPTIONAL_FLAG, Manifest, encode_manifest
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import forget, mark_changed, publish, write_files

BLOCKS = 4
CRITICAL = BlockSet([(0, 1)])


def hashed(root: Root, version: int = 100) -> HashedDirectory:
    """One critical block and three that are not."""
    write_files(
        Path(root.path, f"v{version}"),
        {"a.bin": b"a" * 10, "b.bin": b"b" * (2 * 256 * KIB + version)},
    )
    return publish(root, f"v{version}", version=version, critical=("a.bin",))


class Scene:
    """A version on offer here, and what peers have of it."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.peers: tuple[tuple[Holding, ...], ...] = ()
        self.unproven: set[NodeId] = set()
        self.is_listed = False
        self.redundancy = Redundancy(
            catalog,
            lambda: [(NodeId(str(index)), held) for index, held in enumerate(self.peers)],
            lambda node, _: node not in self.unproven,
            lambda _: self.is_listed,
        )

    async def add(self, hashed: HashedDirectory) -> Holding:
        await self.catalog.add(hashed)
        await self.redundancy.refresh()
        return self.catalog.holdings()[-1]

    def copies(self, *peers: tuple[Holding, ...]) -> Copies:
        self.peers = peers
        return self.redundancy.copies()


@pytest.fixture
def scene(catalog: Catalog) -> Scene:
    return Scene(catalog)


def part(held: Holding, *runs: tuple[int, int]) -> Holding:
    return replace(held, blocks=BlockSet(runs))


async def test_where_nothing_is_held_nothing_can_be_said(scene: Scene) -> None:
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(None, None)


async def test_nodes_that_have_all_are_counted(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))
    assert held.block_count == BLOCKS
    assert scene.copies() == Copies(1, 1)
    assert scene.copies((held,), (), (held,)) == Copies(3, 3)


async def test_of_what_is_listed_only_the_loss_of_all_copies_is_said_here(
    scene: Scene, root: Root
) -> None:
    """``deferred = 1`` asks for one copy: nobody is to be warned of it for good."""
    held = await scene.add(hashed(root))
    scene.is_listed = True
    assert (scene.copies(), scene.redundancy.scarce()) == (Copies(None, 1), [])
    assert scene.copies((held,)).required is None
    mark_changed(scene.catalog, held.digest)
    assert scene.copies().required == 0
    ((_, copies, _),) = scene.redundancy.scarce()
    assert copies == 0


async def test_what_does_not_count_is_no_copy_and_no_newer_version(
    scene: Scene, root: Root
) -> None:
    held = await scene.add(hashed(root))
    scene.unproven = {NodeId("0")}
    assert scene.copies((held,), (held,)) == Copies(2, 2)
    mark_changed(scene.catalog, held.digest)
    newer = replace(held, version=Version(held.version + 1), digest=Digest("ab" * 32))
    scene.peers = ((newer,),)
    await forget(scene.catalog, held.digest)
    await scene.redundancy.refresh()
    assert scene.copies((newer,)) == Copies(0, 0)
    scene.unproven = set()
    await scene.redundancy.refresh()
    assert scene.copies((newer,)) == Copies(None, None)


async def test_a_copy_in_parts_counts_when_all_parts_are_there(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))
    assert scene.copies((part(held, (1, 4)),)) == Copies(1, 1), "the first block is nowhere else"
    assert scene.copies((part(held, (1, 4)),), (part(held, (0, 2)),)) == Copies(2, 2)
    assert scene.copies((part(held, (1, 3)),), (part(held, (3, 4)),)) == Copies(1, 1)


async def test_of_copies_in_parts_the_rarest_block_counts(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))
    parts = [(part(held, (0, 3)),)] * 3 + [(part(held, (3, 4)),)] * 2
    assert scene.copies(*parts).required == 1 + 2
    many = [(part(held, (0, 2)),)] * 9 + [(part(held, (2, 4)),)] * 9
    assert scene.copies(*many).required == 1 + 3, "more make no difference to anybody"


async def test_critical_units_alone_are_not_all_that_must_be_there(
    scene: Scene, root: Root
) -> None:
    held = await scene.add(hashed(root))
    assert scene.copies((replace(held, blocks=CRITICAL),)) == Copies(1, 2)


async def test_the_fewest_copies_of_any_newest_version_count(scene: Scene, root: Root) -> None:
    old = await scene.add(hashed(root, 100))
    new = await scene.add(hashed(root, 101))
    assert scene.copies((old,)) == Copies(1, 1)
    assert scene.copies((new,)) == Copies(2, 2), "the old one is not the newest any more"


async def test_a_version_whose_last_copy_was_lost_here_is_still_watched(
    scene: Scene, root: Root
) -> None:
    held = await scene.add(hashed(root))
    mark_changed(scene.catalog, held.digest)
    assert scene.copies() == Copies(0, 0)
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(0, 0)
    assert scene.copies((held,)) == Copies(1, 1)


async def test_the_last_copy_is_missed_when_it_goes_and_nobody_wanted_that(
    scene: Scene, root: Root
) -> None:
    held = await scene.add(hashed(root))
    await forget(scene.catalog, held.digest)
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(0, 0)
    await scene.redundancy.refresh()
    assert scene.copies((held,)) == Copies(1, 1), "others may have it"


async def test_what_somebody_wanted_to_go_is_not_missed(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))
    await forget(scene.catalog, held.digest)
    await scene.redundancy.refresh()
    scene.redundancy.let_go(held.digest)
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(None, None)


async def test_what_went_is_missed_until_a_newer_version_is_whole_somewhere(
    scene: Scene, root: Root
) -> None:
    held = await scene.add(hashed(root))
    await forget(scene.catalog, held.digest)
    newer = replace(held, version=Version(101), digest=Digest("cd" * 32))
    older = replace(newer, version=Version(99))
    for peers in ((part(newer, (0, 2)),), (older,)):
        scene.peers = (peers,)
        await scene.redundancy.refresh()
        assert scene.redundancy.copies().required == 0
    scene.peers = ((newer,),)
    await scene.redundancy.refresh()
    assert scene.redundancy.copies() == Copies(None, None)


async def test_an_older_version_that_is_still_here_does_not_make_up_for_it(
    scene: Scene, root: Root
) -> None:
    await scene.add(hashed(root, 100))
    new = await scene.add(hashed(root, 101))
    await forget(scene.catalog, new.digest)
    await scene.redundancy.refresh()
    assert scene.copies().required == 0


async def test_an_optional_unit_is_not_missed(scene: Scene, root: Root) -> None:
    whole = hashed(root)
    first, second = whole.manifest.units
    optional = structs.replace(second, flags=(OPTIONAL_FLAG,))
    manifest = structs.replace(whole.manifest, units=(first, optional))
    encoded = encode_manifest(manifest)
    digest = Digest(blake3(encoded).hexdigest())
    held = await scene.add(replace(whole, manifest=manifest, encoded=encoded, digest=digest))
    assert scene.copies((part(held, (0, 1)),)).required == 2
    assert scene.copies((part(held, (1, 4)),)).required == 1


async def test_of_what_was_not_looked_at_yet_nothing_is_counted(
    database: Database, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Catalog(database, Roots([root]))
    await before.load()
    held = await before.add(hashed(root))
    monkeypatch.setattr("ckptd.store.published.catalog.SEEN_AT_ONCE_BYTES", 0)
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    redundancy = Redundancy(catalog, lambda: ())
    await redundancy.refresh()
    assert redundancy.copies() == Copies(None, None), "that would be an alert"
    await catalog.see(held.holding.digest)
    await redundancy.refresh()
    assert redundancy.copies().required == 1


async def test_what_was_withdrawn_is_not_watched(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))
    await scene.catalog.withdraw(held.digest)
    scene.redundancy.let_go(held.digest)
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(None, None)


async def test_every_content_of_the_newest_version_is_watched(scene: Scene, root: Root) -> None:
    one = await scene.add(hashed(root))
    write_files(Path(root.path, "other"), {"a.bin": b"other"})
    await scene.catalog.add(publish(root, "other", version=100), is_published=False)
    await scene.redundancy.refresh()
    assert len(scene.catalog.holdings()) == 2
    other = next(held for held in scene.catalog.holdings() if held.digest != one.digest)
    assert scene.copies((one,)).required == 1
    assert scene.copies((other,)).required == 1
    assert scene.copies((one, other)).required == 2


async def test_versions_with_fewer_copies_than_two_are_scarce(scene: Scene, root: Root) -> None:
    held = await scene.add(hashed(root))

    def scarce(*peers: tuple[Holding, ...]) -> list[tuple[int, int, bool]]:
        scene.peers = peers
        found = scene.redundancy.scarce()
        return [(each.holding.version, each.copies, each.is_here) for each in found]

    assert scarce() == [(100, 1, True)]
    assert scarce((held,)) == []
    await forget(scene.catalog, held.digest)
    await scene.redundancy.refresh()
    assert scarce() == [(100, 0, False)]
    assert scarce((held,)) == [(100, 1, False)]
    assert scarce((held,), (held,)) == []


async def test_what_goes_while_it_is_looked_at_is_not_missed_afterwards(
    scene: Scene, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.catalog.add(hashed(root))
    [held] = scene.catalog.holdings()
    manifest_of = scene.catalog.manifest

    async def let_go_then_return(digest: Digest) -> Manifest:
        manifest = await manifest_of(digest)
        await forget(scene.catalog, digest)
        scene.redundancy.let_go(digest)
        return manifest

    monkeypatch.setattr(scene.catalog, "manifest", let_go_then_return)
    await scene.redundancy.refresh()
    assert scene.copies() == Copies(None, None)
    await scene.redundancy.refresh()
    assert scene.copies((held,)) == Copies(None, None)
