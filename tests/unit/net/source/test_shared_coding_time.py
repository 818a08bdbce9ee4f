"""Threads that code share the processor time that may be spent on it."""

from concurrent.futures import ThreadPoolExecutor

from ckptd.limits import MS
from ckptd.net.source.shared_coding_time import SharedCodingTime
from ckptd.traffic.coding_time import BURST_NS


def test_what_one_thread_spends_the_others_do_not_have() -> None:
    moments = [0]
    shared = SharedCodingTime(1.0, lambda: moments[0])

    def spend() -> bool:
        may_code = shared.may_code()
        if may_code:
            shared.spend(2 * BURST_NS)
        return may_code

    with ThreadPoolExecutor(4) as threads:
        assert any(each.result() for each in [threads.submit(spend) for _ in range(8)])
        assert not threads.submit(spend).result()
    moments[0] += 8 * BURST_NS + MS
    assert shared.may_code()
