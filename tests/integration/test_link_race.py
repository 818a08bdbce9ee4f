from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files import confined
from tests.support.link_race import LinkRace

pytestmark = pytest.mark.integration

ROUNDS = 300


@pytest.fixture
def race(tmp_path: Path) -> Iterator[LinkRace]:
    scene = LinkRace(tmp_path)
    yield scene
    scene.close()


@pytest.mark.parametrize("way", ["openat2", "walk"])
def test_no_link_that_is_swapped_in_leads_out(
    race: LinkRace, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "walk":
        monkeypatch.setattr(confined, "_OPENAT2", 100_000)  # ENOSYS from any kernel
    with race.swapping():
        for _ in range(ROUNDS):
            race.run_round()
    race.check()


def test_without_a_race_nothing_is_refused(race: LinkRace) -> None:
    race.run_round()
    race.check()
    assert not [name for name in race.counts if name.endswith("refused")]
