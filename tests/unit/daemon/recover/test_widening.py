"""What may be wanted besides of a recovery that is under way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.events import ChoiceWidened
from ckptd.daemon.recover.recoveries import DescribedVersion, OpenRecovery
from ckptd.daemon.recover.widening import Widening
from ckptd.errors import Conflict, NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.unit_choice import Choice, format_choice
from ckptd.model.words import Criticality, Stage
from ckptd.store.files.roots import Root
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from tests.support.manifests import make_manifest
from tests.support.stores import journaled

ID = RecoveryId("r-1")
SPACE = AddressSpace(make_manifest({"a/1": b"1", "a/2": b"2", "b/1": b"3"}))
A, B = Choice(("a/*",)), Choice(("b/*",))


class Stages:
    """A scheduler that knows how far a recovery is."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = list(stages)

    def stages(self) -> dict[RecoveryId, Stage]:
        stage = self._stages.pop(0) if len(self._stages) > 1 else self._stages[0]
        return {} if stage.is_ended else {ID: stage}


class Scene:
    """A recovery of some units, and what was reported of it."""

    def __init__(self, database: Database, root: Root, *stages: Stage) -> None:
        self.journal = Journal(database)
        self.reported: list[ChoiceWidened] = []
        record = replace(journaled(ID, root=root.name), choice=format_choice(A))
        self.recovery = OpenRecovery(record, root, "llama/100", 0)
        self.recovery.described = DescribedVersion(Digest("ab" * 32), SPACE)
        self.widening = Widening(
            Stages(*stages or (Stage.TRANSFERRING,)).stages,
            lambda *_: None,
            self.journal,
            self.reported.append,
        )

    async def kept(self) -> tuple[str, bool]:
        (record,) = await self.journal.unfinished()
        return record.choice, record.rest_follows


@pytest.fixture
async def scene(database: Database, root: Root) -> Scene:
    made = Scene(database, root)
    await made.journal.begin(made.recovery.record)
    return made


async def test_what_is_wanted_besides_is_kept_and_reported(scene: Scene) -> None:
    assert await scene.widening.widen(scene.recovery, B)
    assert scene.reported == [ChoiceWidened(ID, BlockSet([(0, 3)]))]
    assert scene.recovery.choice == A.widened(B)
    assert await scene.kept() == (format_choice(A.widened(B)), False)


async def test_everything_may_be_wanted_before_the_units_are_known(scene: Scene) -> None:
    scene.recovery.described = None
    assert await scene.widening.widen(scene.recovery, None)
    assert scene.reported == [ChoiceWidened(ID, None)]
    assert await scene.kept() == ("", False)


async def test_who_wants_the_same_or_less_changes_nothing(scene: Scene) -> None:
    assert await scene.widening.widen(scene.recovery, A) is False
    scene.recovery.record = replace(scene.recovery.record, choice="")
    assert await scene.widening.widen(scene.recovery, B, rest_follows=True) is False
    assert scene.reported == []
    assert scene.recovery.record.rest_follows is False


async def test_that_the_rest_is_to_follow_is_kept(scene: Scene) -> None:
    assert await scene.widening.widen(scene.recovery, A, rest_follows=True) is False
    assert (await scene.kept(), scene.reported) == ((format_choice(A), True), [])
    normal = Choice(min_criticality=Criticality.NORMAL)
    assert await scene.widening.widen(scene.recovery, normal)
    assert await scene.kept() == (format_choice(A.widened(normal)), True)


async def test_a_pattern_that_matches_nothing_changes_nothing(scene: Scene) -> None:
    with pytest.raises(NotFound, match="'c/\\*': matches no unit"):
        await scene.widening.widen(scene.recovery, Choice(("c/*",)))
    assert (await scene.kept(), scene.reported) == ((format_choice(A), False), [])


async def test_other_units_are_refused_while_nobody_knows_which_there_are(scene: Scene) -> None:
    scene.recovery.described = None
    with pytest.raises(Conflict, match="does not know yet which there are"):
        await scene.widening.widen(scene.recovery, B)
    assert await scene.widening.widen(scene.recovery, A, rest_follows=True) is False


@pytest.mark.parametrize(
    "stages",
    [
        (Stage.PLACING,),
        (Stage.DISCARDING,),
        (Stage.COMPLETE,),
        (Stage.TRANSFERRING, Stage.PLACING),
    ],
)
async def test_it_may_be_too_late(
    database: Database, root: Root, stages: tuple[Stage, ...]
) -> None:
    scene = Scene(database, root, *stages)
    assert await scene.widening.widen(scene.recovery, B) is None
    assert (scene.reported, scene.recovery.choice) == ([], A)
