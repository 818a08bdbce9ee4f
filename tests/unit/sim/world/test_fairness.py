import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.limits import MIB
from ckptd.model.words import Urgency
from ckptd.sim.world.fairness import Pipe, Share, connected, work_out
from ckptd.traffic.allowance import ALLOWANCE_MIN_BYTES_PER_S

Path = tuple[int, int]

CRITICAL, NORMAL, DEFERRED, BACKGROUND = Urgency
TRICKLE = ALLOWANCE_MIN_BYTES_PER_S / MIB


def shares_of(
    egresses: Sequence[float],
    ingresses: Sequence[float],
    paths: Sequence[Path],
    limits: Sequence[float] = (),
    classes: Sequence[Urgency] = (),
) -> list[Share]:
    """Lay flows from sources to receivers and work out their rates."""
    outs = [Pipe(index, rate) for index, rate in enumerate(egresses)]
    ins = [Pipe(len(outs) + index, rate) for index, rate in enumerate(ingresses)]
    shares: list[Share] = []
    for index, (source, receiver) in enumerate(paths):
        share = Share(outs[source], ins[receiver])
        share.limit_bytes_per_s = limits[index] if limits else math.inf
        share.urgency = classes[index] if classes else NORMAL
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


def mib_rates(
    egresses: Sequence[int],
    ingresses: Sequence[int],
    paths: Sequence[Path],
    classes: Sequence[Urgency],
    limits: Sequence[float] = (),
) -> list[float]:
    """Work out rates in MiB/s."""
    out, into = ([MIB * rate for rate in known] for known in (egresses, ingresses))
    shares = shares_of(out, into, paths, [MIB * limit for limit in limits], classes)
    return [share.fair_bytes_per_s / MIB for share in shares]


def test_what_is_less_urgent_has_a_trickle_as_long_as_its_source_sends_what_is_more() -> None:
    paths, classes = [(0, 0), (0, 1), (0, 2)], [NORMAL, CRITICAL, DEFERRED]
    half = TRICKLE / 2
    assert mib_rates([90], [1000] * 3, paths, classes) == [half, 90 - TRICKLE, half]


def test_classes_take_turns_in_what_the_more_urgent_ones_leave() -> None:
    # The critical flow takes 10, the normal one 20; the background ones share the rest.
    paths = [(0, 2), (0, 1), (0, 0), (0, 2)]
    classes = [BACKGROUND, NORMAL, CRITICAL, BACKGROUND]
    assert mib_rates([90], [10, 20, 1000], paths, classes) == pytest.approx([30, 20, 10, 30])


def test_receivers_share_evenly_between_sources_whatever_these_send() -> None:
    paths, classes = [(0, 0), (1, 0)], [CRITICAL, BACKGROUND]
    assert mib_rates([100, 100], [60], paths, classes) == [30, 30]


def test_what_gives_way_at_its_source_has_what_others_leave_at_the_receiver() -> None:
    # The first source could send 50 more, but the receiver is busy with the second one.
    paths, classes = [(0, 0), (0, 1), (1, 1)], [CRITICAL, DEFERRED, DEFERRED]
    got = mib_rates([100, 100], [50, 70], paths, classes)
    assert got == pytest.approx([50, TRICKLE, 70 - TRICKLE])


def test_a_trickle_is_no_more_than_a_fair_share_or_what_a_flow_takes() -> None:
    slow = shares_of([30_000], [10_000, 10_000], [(0, 0), (0, 1)], (), [CRITICAL, DEFERRED])
    assert [share.fair_bytes_per_s for share in slow] == [10_000, 10_000]
    paths, classes = [(0, 0), (0, 1)], [CRITICAL, DEFERRED]
    assert mib_rates([100], [1000, 1000], paths, classes, [math.inf, 0]) == [100, 0]


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


@given(networks(), st.data())
def test_nothing_is_wasted_and_classes_cost_more_urgent_ones_a_trickle(
    network: tuple[list[int], list[int], list[Path], list[float]], data: st.DataObject
) -> None:
    """Each flow has its limit or a full pipe; those whose turn comes later change little."""
    egresses, ingresses, paths, limits = network
    classes = [data.draw(st.sampled_from(Urgency)) for _ in paths]
    got = mib_rates(egresses, ingresses, paths, classes, limits)
    out, into = [0.0] * len(egresses), [0.0] * len(ingresses)
    for (source, receiver), rate in zip(paths, got, strict=True):
        out[source] += rate
        into[receiver] += rate
    for pipes, sums in ((egresses, out), (ingresses, into)):
        assert all(used <= rate * (1 + 1e-6) for rate, used in zip(pipes, sums, strict=True))
    about = len(paths) * TRICKLE
    for (source, receiver), rate, limit in zip(paths, got, limits, strict=True):
        is_full = out[source] == pytest.approx(egresses[source], abs=about)
        is_full = is_full or into[receiver] == pytest.approx(ingresses[receiver], abs=about)
        assert is_full or rate == pytest.approx(limit)

    first = [
        urgency
        is min(other for path, other in zip(paths, classes, strict=True) if path[0] == source)
        for (source, _), urgency in zip(paths, classes, strict=True)
    ]
    alone = mib_rates(
        egresses,
        ingresses,
        [path for path, is_first in zip(paths, first, strict=True) if is_first],
        (),
        [limit for limit, is_first in zip(limits, first, strict=True) if is_first],
    )
    beside = [rate for rate, is_first in zip(got, first, strict=True) if is_first]
    assert beside == pytest.approx(alone, abs=about)


def test_a_change_concerns_only_what_flows_join_to_it() -> None:
    pipes = [Pipe(index, 100) for index in range(6)]
    for egress, ingress in [(0, 1), (2, 1), (4, 5)]:
        share = Share(pipes[egress], pipes[ingress])
        pipes[egress].flows[share] = pipes[ingress].flows[share] = None

    assert [pipe.index for pipe in connected([pipes[0]], 1)] == [0, 1, 2]
    assert [pipe.index for pipe in connected([pipes[5], pipes[3]], 2)] == [5, 3, 4]
