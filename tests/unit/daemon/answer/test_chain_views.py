"""What is answered of chains, by a real catalog."""

from __future__ import annotations

from pathlib import Path

from ckptd.chains.chain_links import ChainLink
from ckptd.config.sections import RetentionSection
from ckptd.control.messages.chains import ChainView
from ckptd.daemon.answer.chain_views import ChainViews
from ckptd.model.ids import CheckpointName, Digest, Version
from tests.support.retaining import NAME, RetainingNodes


def facts(view: ChainView | None) -> tuple[int, int, int | None, int | None]:
    assert view is not None
    return view.base, view.deltas, view.full, view.lacking


async def test_a_chain_is_said_down_to_its_full_version_or_to_what_is_not_here(
    tmp_path: Path,
) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        digests = [await node.save(37)]
        for version in range(38, 43):
            digests.append(await node.save_delta(version, version - 1, digests[-1]))
        lost = await node.save_delta(60, 59, Digest("ab" * 32))
        after = await node.save_delta(61, 60, lost)
        views = ChainViews(node.catalog)
        found = [views.held(NAME, digest) for digest in digests]
        assert found[0] is None
        assert [facts(view) for view in found[1:]] == [
            (base, base - 36, 37, None) for base in range(37, 42)
        ]
        assert facts(views.held(NAME, after)) == (60, 2, None, 59)
        assert facts(views.held(NAME, lost)) == (59, 1, None, 59)
        assert found[-1] is not None
        assert (found[-1].base_digest, found[-1].encoding) == (digests[-2], "xor")


async def test_the_latest_version_can_be_asked_for_first(tmp_path: Path) -> None:
    async with RetainingNodes(tmp_path) as nodes:
        node = await nodes.add("a", RetentionSection())
        first = await node.save_delta(2, 1, await node.save(1))
        second = await node.save_delta(3, 2, first)
        views = ChainViews(node.catalog)
        assert facts(views.held(NAME, second)) == (2, 2, 1, None)
        assert facts(views.held(NAME, first)) == (1, 1, 1, None)
        assert facts(views.of(NAME, ChainLink(Version(3), second))) == (3, 3, 1, None)
        assert facts(views.of(CheckpointName("opt"), ChainLink(Version(3)))) == (3, 1, None, 3)
