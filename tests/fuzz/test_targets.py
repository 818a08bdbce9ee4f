"""Every parser on its corpus and on a few thousand drawn inputs, the same in each run."""

import pytest

from tests.fuzz.judging import allocated, execute, fuzz
from tests.fuzz.mutating import Mutator
from tests.fuzz.targets import CORPUS, TARGETS

_EXECUTIONS = 1500
"""Less than a second for each; ``make fuzz`` runs more."""


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(TARGETS) == sorted(path.name for path in CORPUS.iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    places = [execute(target, seed) for seed in target.seeds()]
    assert () in places, "something of it is accepted"
    for seed in target.seeds():
        allocated(target, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_drawn_inputs_are_read_or_refused(name: str) -> None:
    tally = fuzz(TARGETS[name], _EXECUTIONS, seed=1)
    assert 0 < tally.accepted < _EXECUTIONS


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_draws_the_same_again(name: str) -> None:
    first, second = (Mutator(TARGETS[name], seed=5) for _ in range(2))
    assert [first.draw() for _ in range(200)] == [second.draw() for _ in range(200)]
