"""Who needs a unit that is here, and cannot have it, hears why."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.control.messages.prioritized import NeedEvent, NeedRequest, NeedResult
from ckptd.daemon.answer.prioritize_answers import PrioritizeAnswers
from ckptd.daemon.retain.leases import Leases
from ckptd.errors import Conflict, ContentChanged, NotFound
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.retention_records import ReadDirectory, RetentionRecords
from tests.support.compressing import COPIED_CONTENTS, compress
from tests.support.stores import publish, write_files

UNIT = "weights.bin"


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(RetentionRecords(database))


@pytest.fixture
def answers(catalog: Catalog, root: Root, leases: Leases) -> PrioritizeAnswers:
    runtime = SimpleNamespace(now=lambda: 0, report=lambda _: None)
    recovering = SimpleNamespace(scheduler=None, runtime=runtime, book=())
    storage = SimpleNamespace(catalog=catalog, roots=Roots([root]))
    return PrioritizeAnswers(cast("Any", recovering), cast("Any", storage), leases)


async def need(
    answers: PrioritizeAnswers, root: Root, unit: str = UNIT, directory: str = "v100"
) -> list[NeedEvent]:
    return await asked(answers, root.absolute(f"{directory}/{unit}"))


async def asked(answers: PrioritizeAnswers, path: str) -> list[NeedEvent]:
    events = answers.need(NeedRequest(path=path), cast("Any", None), cast("Any", None))
    return [event async for event in events]


async def test_a_unit_that_cannot_be_had_from_here_is_said_to_be_so_with_the_reason(
    answers: PrioritizeAnswers, catalog: Catalog, root: Root, hashed: HashedDirectory
) -> None:
    number = (await catalog.add(hashed)).places[0].number
    (unit,) = [index for index, each in enumerate(hashed.manifest.units) if each.path == UNIT]
    (result,) = await need(answers, root)
    assert isinstance(result, NeedResult)
    catalog.mark_suspect(number, [unit], "looks different")
    with pytest.raises(Conflict, match="is hashed again first"):
        await need(answers, root)
    catalog.mark_changed(number, [unit], "differs")
    with pytest.raises(ContentChanged, match="is not what was published"):
        await need(answers, root)
    with pytest.raises(NotFound, match="is no unit of a version"):
        await need(answers, root, "none")
    await catalog.withdraw(hashed.digest)
    with pytest.raises(NotFound, match="is no unit of a version"):
        await need(answers, root)


async def test_who_was_given_a_path_has_a_lease_of_its_version(
    answers: PrioritizeAnswers,
    catalog: Catalog,
    root: Root,
    hashed: HashedDirectory,
    leases: Leases,
) -> None:
    await catalog.add(hashed)
    read = ReadDirectory(hashed.root, hashed.directory)
    assert not leases.is_read(read)
    await need(answers, root)
    assert leases.is_read(read)


async def test_of_what_is_kept_compressed_another_place_is_named_or_none(
    answers: PrioritizeAnswers, catalog: Catalog, root: Root
) -> None:
    for directory in ("copy", "placed"):
        write_files(Path(root.absolute(directory)), COPIED_CONTENTS)
    plain = publish(root, "copy")
    number = (await catalog.add(plain)).places[0].number
    kept = compress(root, plain)
    (unit,) = kept.files.compressed()
    made = kept.files[unit]
    assert made is not None
    await catalog.settle(number, {unit: made}, {})
    (result,) = await need(answers, root, "small", "copy")
    assert isinstance(result, NeedResult)
    for path in (root.absolute("copy/model"), "llama/rank-0@100:model"):
        with pytest.raises(Conflict, match=r"is kept compressed, in a copy: .*/copy/model\.zst"):
            await asked(answers, path)
    await catalog.add(publish(root, "placed"))
    (result,) = await asked(answers, "llama/rank-0@100:model")
    assert isinstance(result, NeedResult)
    assert result.path == root.absolute("placed/model")
