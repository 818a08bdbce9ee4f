"""What somebody lets go that later versions are deltas on: refused, unless these go as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.chains.chain import KnownVersion, Series
from ckptd.config.sections import RetentionSection
from ckptd.control.messages.life_cycle import LetGoRequest, RemoveRequest, RemoveResult
from ckptd.daemon.answer.life_cycle_answers import LifeCycleAnswers
from ckptd.daemon.answer.remove_answers import RemoveAnswers
from ckptd.daemon.retain.needed_bases import check_no_base
from ckptd.errors import Conflict
from ckptd.model.ids import Digest, Version
from ckptd.model.life import LifeCause
from ckptd.store.published import catalog
from tests.support.retaining import NAME, RetainingNode, RetainingNodes


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RetainingNode]:
    """Yield a node with a full version 40, deltas 41 and 42 on it, and a full version 43."""
    async with RetainingNodes(tmp_path) as nodes:
        opened = await nodes.add("a", RetentionSection())
        digest = await opened.save(40)
        for version in (41, 42):
            digest = await opened.save_delta(version, version - 1, digest)
        await opened.save(43)
        yield opened


def answers(node: RetainingNode) -> LifeCycleAnswers:
    storage = cast("Any", SimpleNamespace(catalog=node.catalog))
    return LifeCycleAnswers(storage, node.retention.standings)


async def remove(node: RetainingNode, version: int, **how: Any) -> list[int]:  # noqa: ANN401
    removing = RemoveAnswers(node.catalog, node.retention.removing, node.retention.standings)
    request = RemoveRequest(checkpoint=NAME, version=version, **how)
    events = [event async for event in removing.remove(request)]
    result = events[-1]
    assert isinstance(result, RemoveResult)
    return [row.files for row in result.places]


@pytest.mark.parametrize("verb", ["withdraw", "forget"])
@pytest.mark.parametrize("is_dry_run", [False, True])
@pytest.mark.parametrize(
    ("version", "why"),
    [(40, "llama@40: is needed: 41, 42 are deltas on it"), (41, "llama@41: is needed: 42 is a")],
)
async def test_a_base_is_not_let_go_and_nothing_is_changed(
    node: RetainingNode, verb: str, *, is_dry_run: bool, version: int, why: str
) -> None:
    request = LetGoRequest(checkpoint=NAME, version=version, is_dry_run=is_dry_run)
    with pytest.raises(Conflict, match=why):
        await getattr(answers(node), verb)(request)
    assert node.offered == node.versions == [40, 41, 42, 43]


@pytest.mark.parametrize("verb", ["withdraw", "forget"])
@pytest.mark.parametrize("version", [42, 43, None])
async def test_what_nothing_stands_on_is_let_go_and_so_is_all_of_it_together(
    node: RetainingNode, verb: str, version: int | None
) -> None:
    answer = await getattr(answers(node), verb)(LetGoRequest(checkpoint=NAME, version=version))
    gone = {row.version for row in answer.places}
    assert gone == ({version} if version else {40, 41, 42, 43})
    assert not gone & set(node.offered)


async def test_those_that_go_together_are_looked_at_together(
    node: RetainingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of nine days has ten thousand: each by itself would take minutes."""
    looked_at: list[int] = []
    standing_on = Series.standing_on

    def counted(series: Series, digests: Collection[Digest]) -> tuple[KnownVersion, ...]:
        looked_at.append(len(digests))
        return standing_on(series, digests)

    monkeypatch.setattr(Series, "standing_on", counted)
    await answers(node).forget(LetGoRequest(checkpoint=NAME))
    assert looked_at == [4]


async def test_of_several_that_are_needed_the_latest_is_named(node: RetainingNode) -> None:
    chosen = [*node.retention.standings.chosen(NAME, 43, None)]
    await node.save_delta(44, 43, chosen[0].held.holding.digest)
    for versions, why in (
        ((40, 41), "llama@41: is needed: 42 is a delta on it"),
        ((40, 42), "llama@40: is needed: 41 is a delta on it"),
        ((40, 41, 43), "llama@43: is needed: 44 is a delta on it"),
        ((40, 41, 44), "llama@41: is needed: 42 is a delta on it"),
    ):
        chosen = [
            place
            for version in versions
            for place in node.retention.standings.chosen(NAME, version, None)
        ]
        with pytest.raises(Conflict, match=why):
            await check_no_base(node.catalog, chosen, LifeCause.FORGET)


async def test_what_is_off_offer_is_not_in_the_way_of_withdrawing_its_base(
    node: RetainingNode,
) -> None:
    for version in (42, 41, 40):
        await answers(node).withdraw(LetGoRequest(checkpoint=NAME, version=version))
    assert node.offered == [43]
    with pytest.raises(Conflict, match="41, 42 are deltas on it"):
        await answers(node).forget(LetGoRequest(checkpoint=NAME, version=40))
    with pytest.raises(Conflict, match="41, 42 are deltas on it"):
        await remove(node, 40)


async def test_what_stands_on_one_that_is_off_offer_keeps_the_base_of_that(
    node: RetainingNode,
) -> None:
    (held,) = node.catalog.find(NAME, Version(41))
    await node.catalog.withdraw_all([held.places[0].number])
    with pytest.raises(Conflict, match="is needed: 42 is a delta on it"):
        await answers(node).withdraw(LetGoRequest(checkpoint=NAME, version=40))


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_base_is_not_removed_and_the_latest_delta_is(
    node: RetainingNode, *, overwrite: bool
) -> None:
    for version in (40, 41):
        with pytest.raises(Conflict, match="Let those go first, the latest first"):
            await remove(node, version, overwrite=overwrite)
    assert node.on_disk == [40, 41, 42, 43]
    for version in (42, 41, 40):
        assert await remove(node, version, overwrite=overwrite)
    assert node.on_disk == [43]


async def test_a_delta_that_comes_while_a_base_is_examined_keeps_it(
    node: RetainingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held,) = node.catalog.find(NAME, Version(43))
    examine = node.retention.removing.examine

    async def slow(*arguments: Any) -> AsyncIterator[object]:  # noqa: ANN401
        await node.save_delta(44, 43, held.holding.digest)
        async for each in examine(*arguments):
            yield each

    monkeypatch.setattr(node.retention.removing, "examine", slow)
    with pytest.raises(Conflict, match="44 is a delta on it"):
        await remove(node, 43)
    assert 43 in node.offered


async def test_another_place_of_a_base_is_enough(node: RetainingNode) -> None:
    await node.save(40, as_copy=True)
    place = str(Path(node.root.path, NAME, "40"))
    await answers(node).forget(LetGoRequest(checkpoint=NAME, version=40, place=place))
    assert node.versions == [40, 41, 42, 43]
    with pytest.raises(Conflict, match="41, 42 are deltas on it"):
        await answers(node).forget(LetGoRequest(checkpoint=NAME, version=40))


async def test_a_rival_of_a_base_is_none(node: RetainingNode) -> None:
    await node.save_rival(40)
    place = str(Path(node.root.path, "rivals", "40"))
    await answers(node).forget(LetGoRequest(checkpoint=NAME, version=40, place=place))
    assert node.versions == [40, 41, 42, 43]


async def test_an_unseen_delta_is_looked_at_before(
    node: RetainingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "SEEN_AT_ONCE_BYTES", 0)
    await node.open()
    assert all(held.is_unseen for held in node.catalog.versions())
    chosen = node.retention.standings.chosen(NAME, 40, None)
    with pytest.raises(Conflict, match="41, 42 are deltas on it"):
        await check_no_base(node.catalog, chosen, LifeCause.FORGET)
