"""Modes and times come from here, else from whoever holds the version, else from nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from ckptd.config.sections import SignaturesSection
from ckptd.daemon.recover import attribute_search
from ckptd.daemon.recover.attribute_search import HOLDERS_ASKED_MAX, AttributeSearch, Wanted
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import ProtocolViolation, StorageError
from ckptd.limits import MS
from ckptd.model.attributes import Attributes, encode_attributes
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId
from ckptd.model.signatures import Signature
from ckptd.model.words import RefusalReason
from ckptd.net.small_answers import TurnedAway
from ckptd.wire.attribute_answers import encode_answer
from tests.support.manifests import make_manifest

DIGEST = Digest("ab" * 32)
WANTED = Wanted(CheckpointName("llama/rank-0"), DIGEST, make_manifest({"a": b"1"}))
R = RecoveryId("r-1")

Answer = Callable[[], bytes | None]


def document(mode: int, time_ns: int = 1) -> bytes:
    return encode_attributes(DIGEST, (mode, 0o700), (time_ns, 2))


def says(mode: int, time_ns: int = 1) -> Answer:
    return lambda: encode_answer(document(mode, time_ns), ())


def fails(error: Exception) -> Answer:
    def answer() -> bytes:
        raise error

    return answer


class Shelf:
    def __init__(self, kept: bytes | None = None) -> None:
        self.kept = kept
        self.is_broken = False

    async def find(self, _: Digest) -> tuple[bytes, tuple[Signature, ...]] | None:
        return None if self.kept is None else (self.kept, ())

    async def put(self, _: Digest, put: bytes, signatures: tuple[Signature, ...]) -> None:
        assert signatures == ()
        if self.is_broken:
            raise StorageError("database", "is full")
        self.kept = put


class Peers:
    """Holders by their names; what each of them answers, and who was asked."""

    def __init__(self, answers: Mapping[str, Answer], *, silent: tuple[str, ...] = ()) -> None:
        self._answers = answers
        self._silent = silent
        self.asked: list[str] = []

    def peers(self) -> list[Any]:
        return [
            SimpleNamespace(
                address=(name, 1),
                holdings=SimpleNamespace(
                    node=NodeId(name), holdings=(SimpleNamespace(digest=DIGEST),)
                ),
            )
            for name in self._answers
        ] + [SimpleNamespace(address=("gone", 1), holdings=None)]

    async def attributes(self, address: tuple[str, int], digest: Digest, _: int) -> bytes | None:
        assert digest == DIGEST
        self.asked.append(address[0])
        if address[0] in self._silent:
            await asyncio.Event().wait()
        return self._answers[address[0]]()


def search_of(peers: Peers, shelf: Shelf) -> AttributeSearch:
    parts: Any = (peers, peers, SimpleNamespace(attributes=shelf))
    return AttributeSearch(SignaturePolicy(SignaturesSection()), *parts)


def mode_of(found: Attributes | None) -> int | None:
    return None if found is None else found.mode(0)


async def test_what_is_kept_here_counts_and_nobody_is_asked() -> None:
    peers = Peers({"b": says(0o600)})
    assert mode_of(await search_of(peers, Shelf(document(0o644))).find(WANTED)) == 0o644
    assert peers.asked == []


@pytest.mark.parametrize("answers", [(0o644, 0o600), (0o600, 0o644)])
async def test_of_what_holders_say_the_narrowest_counts_and_is_kept(
    answers: tuple[int, int],
) -> None:
    shelf = Shelf()
    found = await search_of(Peers({"b": says(answers[0]), "c": says(answers[1])}), shelf).find(
        WANTED
    )
    assert mode_of(found) == 0o600
    assert shelf.kept == document(0o600)


async def test_what_is_damaged_here_is_had_from_others() -> None:
    assert mode_of(await search_of(Peers({"b": says(0o600)}), Shelf(b"junk")).find(WANTED)) == 0o600


@pytest.mark.parametrize(
    "answer",
    [
        lambda: None,
        lambda: b"junk",
        lambda: encode_answer(encode_attributes(Digest("00" * 32), (0, 0), (0, 0)), ()),
        fails(ProtocolViolation("answer", "makes no sense")),
        fails(ConnectionError("gone")),
        fails(TimeoutError("slow")),
    ],
    ids=["none", "junk", "of another", "nonsense", "gone", "slow"],
)
async def test_a_holder_without_attributes_is_passed_over(answer: Answer) -> None:
    shelf = Shelf()
    assert await search_of(Peers({"b": answer}), shelf).find(WANTED) is None
    assert shelf.kept is None
    found = await search_of(Peers({"b": answer, "c": says(0o640)}), shelf).find(WANTED)
    assert mode_of(found) == 0o640


async def test_a_silent_holder_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribute_search, "_OTHERS_S", 0.01)
    peers = Peers({"b": says(0o600), "c": says(0o640)}, silent=("b",))
    assert mode_of(await search_of(peers, Shelf()).find(WANTED)) == 0o640
    monkeypatch.setattr(attribute_search, "_PATIENCE_S", 0.01)
    assert await search_of(Peers({"b": says(0)}, silent=("b",)), Shelf()).find(WANTED) is None


async def test_an_answer_that_comes_as_the_time_runs_out_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(work: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401
        return work(*given)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    monkeypatch.setattr(attribute_search, "_PATIENCE_S", 0.0)
    assert mode_of(await search_of(Peers({"b": says(0o640)}), Shelf()).find(WANTED)) == 0o640


async def test_a_holder_that_has_no_place_is_asked_again() -> None:
    away = [TurnedAway(RefusalReason.ADDRESS, MS)]

    def answer() -> bytes | None:
        if away:
            raise away.pop()
        return says(0o640)()

    assert mode_of(await search_of(Peers({"b": answer}), Shelf()).find(WANTED)) == 0o640


async def test_a_few_holders_are_enough() -> None:
    peers = Peers({f"n{number:02}": says(0o640) for number in range(HOLDERS_ASKED_MAX + 5)})
    await search_of(peers, Shelf()).find(WANTED)
    assert sorted(peers.asked) == [f"n{number:02}" for number in range(HOLDERS_ASKED_MAX)]


async def test_what_cannot_be_kept_counts_all_the_same() -> None:
    shelf = Shelf()
    shelf.is_broken = True
    assert mode_of(await search_of(Peers({"b": says(0o640)}), shelf).find(WANTED)) == 0o640


async def test_a_search_runs_beside_and_is_made_once_more_if_it_finds_nothing() -> None:
    answers: list[Answer] = [says(0o640), lambda: None]

    def answer() -> bytes | None:
        return answers.pop()()

    peers = Peers({"b": answer})
    search = search_of(peers, Shelf())
    running = asyncio.ensure_future(search.run())
    await asyncio.sleep(0)
    noted: list[Attributes | None] = []
    search.begin(R, WANTED, noted.append)
    assert mode_of(await search.result(R, WANTED)) == 0o640
    assert noted == [None]
    search.begin(R, WANTED, noted.append)
    search.end(R)
    search.end(R)
    assert mode_of(await search.result(R, WANTED)) == 0o640  # kept meanwhile
    running.cancel()
