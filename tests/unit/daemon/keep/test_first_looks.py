"""What was not looked at before the daemon was ready: who waits for it, and for what of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.control.routes import Api
from ckptd.daemon.keep.first_looks import ORDERS, FirstLooks
from ckptd.errors import StorageError
from ckptd.model.ids import CheckpointName, Digest
from ckptd.store.published.catalog import Catalog


class Unseen:
    """A catalog that has not looked at some versions."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def unseen(self) -> tuple[Digest, ...]:
        return (Digest("a"), Digest("bad"), Digest("b"))

    async def see(self, digest: Digest) -> None:
        if digest == "bad":
            raise StorageError("database", "does not answer")
        self.seen.append(digest)

    async def see_family(self, checkpoint: CheckpointName | None = None) -> None:
        self.seen.append(f"all of {checkpoint}")


@pytest.fixture
def catalog() -> Unseen:
    return Unseen()


@pytest.fixture
def looks(catalog: Unseen) -> FirstLooks:
    return FirstLooks(cast("Catalog", catalog))


def test_what_waits_are_rows_of_the_api() -> None:
    assert {name for name in ORDERS if not hasattr(Api, name)} == set()


async def test_all_is_looked_at_whatever_one_version_says(
    looks: FirstLooks, catalog: Unseen
) -> None:
    await looks.run()
    assert catalog.seen == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "checkpoint", "seen"),
    [
        ("recover", "llama", ["all of llama"]),
        ("verify", "", ["all of None"]),
        ("verify", None, ["all of None"]),
        ("checkpoints", "llama", []),
        ("status", "", []),
    ],
)
async def test_orders_wait_for_what_they_are_about_and_questions_do_not(
    looks: FirstLooks, catalog: Unseen, row: str, checkpoint: str | None, seen: list[str]
) -> None:
    await looks.before(row, ["r-1", SimpleNamespace(checkpoint=checkpoint)])
    assert catalog.seen == seen
