"""Which blocks of a version are how urgent, and where that comes from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec import structs

from ckptd.copies.fleet import BaseVersion
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.copying.layouts import ClassLayout, NamedContent, VersionLayouts
from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.manifests import Manifests
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import NotSigned
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from tests.support.stores import publish, write_files

CRITICAL, NORMAL, DEFERRED = Criticality
NAME = CheckpointName("llama")
FILES = {"c": b"c" * 100, "n": b"n" * 200, "d": b"d" * 300, "o": b"o" * 50, "empty": b""}


def space_of(root: Root, **words: tuple[str, ...]) -> AddressSpace:
    write_files(Path(root.path, "v"), FILES)
    return AddressSpace(publish(root, "v", checkpoint=NAME, version=1, **words).manifest)  # type: ignore[arg-type]


def blocks_of(space: AddressSpace, *paths: str) -> BlockSet:
    return BlockSet(
        space.unit_run(index)
        for index, unit in enumerate(space.manifest.units)
        if unit.path in paths
    )


def test_the_required_units_of_each_class_are_told_apart(root: Root) -> None:
    space = space_of(root, critical=("c",), deferred=("d", "o"), optional=("o",))
    layout = ClassLayout.of(space, is_trusted=False)
    assert layout.sizes_bytes == {CRITICAL: 100, NORMAL: 200, DEFERRED: 300}
    assert layout.blocks[DEFERRED] == blocks_of(space, "d")
    least = {
        paths: layout.least_of(blocks_of(space, *paths))
        for paths in ("", "n", "nd", "c", "co", "cd", "cn", "cno", "cnd", "cndo")
    }
    assert least == {
        "": None,
        "n": None,
        "nd": None,
        "c": CRITICAL,
        "co": CRITICAL,
        "cd": CRITICAL,
        "cn": NORMAL,
        "cno": NORMAL,
        "cnd": DEFERRED,
        "cndo": DEFERRED,
    }


def test_what_a_version_is_a_delta_on_is_known_by_its_layout(root: Root) -> None:
    space = space_of(root)
    assert ClassLayout.of(space, is_trusted=False).base is None
    said = {"chain.base": "41", "chain.base-digest": "ab" * 32}
    delta = AddressSpace(structs.replace(space.manifest, version=42, annotations=said))
    base = BaseVersion(Version(41), Digest("ab" * 32))
    assert ClassLayout.of(delta, is_trusted=False).base == base


def test_a_class_without_units_is_no_class_and_hinders_nobody(root: Root) -> None:
    space = space_of(root)
    layout = ClassLayout.of(space, is_trusted=True)
    assert list(layout.sizes_bytes) == [NORMAL]
    assert layout.least_of(BlockSet()) is None
    assert layout.least_of(blocks_of(space, "c")) is CRITICAL
    assert layout.least_of(BlockSet.full(space.block_count)) is DEFERRED


def test_a_version_without_bytes_is_whole_wherever_it_is_claimed() -> None:
    assert ClassLayout({}, {}).least_of(BlockSet()) is DEFERRED


class Source:
    """A holder, and what it says when it is asked for a manifest."""

    def __init__(self, catalog: Catalog, space: AddressSpace) -> None:
        self.now = 0
        self.asked: list[str] = []
        self.answers: dict[str, Exception | None] = {"a": None}
        self.quarantined: set[str] = set()
        self._space = space
        no_signatures = asyncio.Future[tuple[()]]()
        no_signatures.set_result(())
        storage = SimpleNamespace(
            catalog=catalog, shelf=SimpleNamespace(find=lambda digest: no_signatures)
        )
        self.layouts = VersionLayouts(
            cast("Storage", storage),
            cast("Manifests", SimpleNamespace(from_peer=self._from_peer)),
            cast("Scheduler", SimpleNamespace(holders=self._holders)),
            cast("SignaturePolicy", SimpleNamespace(is_trusted=lambda signatures, name: False)),
            lambda: self.now,
        )

    def _holders(self, digest: Digest, now: int) -> list[object]:
        del digest, now
        return [
            SimpleNamespace(
                source=SimpleNamespace(path=name),
                quarantined_until_ns=1 if name in self.quarantined else None,
            )
            for name in self.answers
        ]

    async def _from_peer(self, path: str, checkpoint: str, digest: Digest) -> object:
        del checkpoint, digest
        self.asked.append(path)
        answer = self.answers[path]
        if answer is not None:
            raise answer
        return SimpleNamespace(space=self._space, signatures=())

    async def settle(self, *wanted: NamedContent) -> None:
        """Let what is wanted be got, as far as that can be."""
        running = asyncio.create_task(self.layouts.run())
        self.layouts.want(wanted)
        for _ in range(100):
            await asyncio.sleep(0.001)
            if all(each in self.layouts._known for each in wanted):
                break
        running.cancel()


@pytest.fixture
async def source(catalog: Catalog, root: Root) -> Source:
    return Source(catalog, await asyncio.to_thread(space_of, root, critical=("c",)))


WANTED = NamedContent(Digest("ab" * 32), NAME, Version(1))


async def test_a_layout_comes_once_and_is_forgotten_when_nobody_wants_it(source: Source) -> None:
    await source.settle(WANTED)
    found = source.layouts.get(WANTED)
    assert found is not None
    assert found.sizes_bytes[CRITICAL] == 100
    await source.settle(WANTED)
    assert (source.asked, source.layouts.learned_count) == (["a"], 1)
    source.layouts.want([])
    assert source.layouts.get(WANTED) is None


async def test_after_a_failure_another_holder_is_asked_later(source: Source) -> None:
    unsigned = NotSigned("manifest", "is not signed")
    source.answers = {"a": unsigned, "b": None}
    await source.settle(WANTED)
    await source.settle(WANTED)
    assert (source.asked, source.layouts.get(WANTED)) == (["a"], None)
    source.now = 5 * SECOND
    await source.settle(WANTED)
    assert source.asked == ["a", "b"]
    assert source.layouts.get(WANTED) is not None


async def test_who_is_in_quarantine_is_not_asked(source: Source) -> None:
    source.quarantined = {"a"}
    await source.settle(WANTED)
    assert source.asked == []


async def test_a_manifest_of_another_version_has_no_layout(source: Source) -> None:
    lie = WANTED._replace(version=Version(2))
    await source.settle(lie)
    assert (source.asked, source.layouts.get(lie)) == (["a"], None)


async def test_of_what_is_here_nobody_is_asked(
    source: Source, catalog: Catalog, root: Root
) -> None:
    hashed = await asyncio.to_thread(publish, root, "v", checkpoint=NAME, version=1)
    await catalog.add(hashed)
    await source.settle(NamedContent(hashed.digest, NAME, Version(1)))
    assert source.asked == []
    assert source.layouts.learned_count == 1
