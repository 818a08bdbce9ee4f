import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.sim.fairness import Pipe, Share, connected, work_out

Path = tuple[int, int]


def shares_of(
    egresses: Sequence[float],
    ingresses: Sequence[float],
    paths: Sequence[Path],
    limits: Sequence[float] = (),
) -> list[Share]:
    """Lay flows from sources to receivers and work out their rates."""
    outs = [Pipe(index, rate) for index, rate in enumerate(egresses)]
    ins = [Pipe(len(outs) + index, rate) for index, rate in enumerate(ingresses)]
    shares: list[Share] = []
    for index, (source, receiver) in enumerate(paths):
        share = Share(outs[source], ins[receiver])
        share.limit_bytes_per_s = limits[index] if limits else math.inf
        share.egress.flows[share] = share.ingress.flows[share] = None
        shares.append(share)
    work_out([*outs, *ins])
    return shares


def rates(*arguments: Sequence[float] | Sequence[Path]) -> list[float]:
    return [share.fair_bytes_per_s for share in shares_of(*arguments)]  # type: ignore[arg-type]


def test_flows_through_one_pipe_share_it_evenly() -> None:
    assert rates([90], [1000, 1000, 1000], [(0, 0), (0, 1), (0, 2)]) == [30, 30, 30]


def test_what_one_cannot_use_the_others_get() -> None:
    # The first receiver takes 10; the two others share the rest.
    assert rates([90], [10, 1000, 1000], [(0, 0), (0, 1), (0, 2)]) == [10, 40, 40]


def test_a_limit_of_its_own_holds_a_flow_back() -> None:
    assert rates([90], [1000, 1000], [(0, 0), (0, 1)], [20, math.inf]) == [20, 70]


def test_a_flow_that_may_not_move_gets_nothing() -> None:
    assert rates([90], [1000, 1000], [(0, 0), (0, 1)], [0, math.inf]) == [0, 90]


def test_a_textbook_network() -> None:
    # One receiver drains two sources, one of which also serves another receiver.
    assert rates([100, 100], [60, 100], [(0, 0), (1, 0), (1, 1)]) == [30, 30, 70]


NUMBERS = st.integers(min_value=1, max_value=1000)


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[int], list[int], list[Path], list[float]]:
    egresses = draw(st.lists(NUMBERS, min_size=1, max_size=5))
    ingresses = draw(st.lists(NUMBERS, min_size=1, max_size=5))
    path = st.tuples(st.integers(0, len(egresses) - 1), st.integers(0, len(ingresses) - 1))
    paths = draw(st.lists(path, min_size=1, max_size=12))
    limit = st.one_of(st.just(math.inf), NUMBERS.map(float))
    limits = draw(st.lists(limit, min_size=len(paths), max_size=len(paths)))
    return egresses, ingresses, paths, limits


@given(networks())
def test_nobody_gets_less_than_somebody_it_shares_a_full_pipe_with(
    network: tuple[list[int], list[int], list[Path], list[float]],
) -> None:
    """The definition of max-min fairness, with a full pipe or a limit for each flow."""
    shares = shares_of(*network)
    for share in shares:
        rate = share.fair_bytes_per_s
        is_limited = rate == pytest.approx(share.limit_bytes_per_s)
        assert rate <= share.limit_bytes_per_s * (1 + 1e-6)
        bottlenecks = []
        for pipe in (share.egress, share.ingress):
            used = [other.fair_bytes_per_s for other in pipe.flows]
            assert sum(used) <= pipe.rate_bytes_per_s * (1 + 1e-6)
            is_full = sum(used) == pytest.approx(pipe.rate_bytes_per_s)
            bottlenecks.append(is_full and rate >= max(used) * (1 - 1e-6))
        assert is_limited or any(bottlenecks)


def test_a_change_concerns_only_what_flows_join_to_it() -> None:
    pipes = [Pipe(index, 100) for index in range(6)]
    for egress, ingress in [(0, 1), (2, 1), (4, 5)]:
        share = Share(pipes[egress], pipes[ingress])
        pipes[egress].flows[share] = pipes[ingress].flows[share] = None

    assert [pipe.index for pipe in connected([pipes[0]], 1)] == [0, 1, 2]
    assert [pipe.index for pipe in connected([pipes[5], pipes[3]], 2)] == [5, 3, 4]
