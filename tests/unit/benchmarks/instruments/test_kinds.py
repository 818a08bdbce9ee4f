"""Stacks, sorted into kinds of work."""

from __future__ import annotations

import pytest

from tests.benchmarks.instruments.kinds import Frame, Kind, Sample, kind_of, parse_samples, shares

KERNEL = "[kernel.kallsyms]"

SCRIPT = """\
 4711
\tffffffffa1 copy_to_user ([kernel.kallsyms])
\tffffffffa2 tcp_recvmsg ([kernel.kallsyms])
\tffffffffa3 __x64_sys_recvfrom ([kernel.kallsyms])
\t7f01 [unknown] (/usr/lib/libc.so.6)

 4712
\t7f02 blake3_hash_many (/site-packages/blake3/blake3.abi3.so)

 4711
\t7f03 a name with spaces (/usr/lib/libpython3.11.so.1.0)
"""


def test_samples_are_read_with_their_stacks() -> None:
    samples = list(parse_samples(SCRIPT))
    assert [sample.pid for sample in samples] == [4711, 4712, 4711]
    assert samples[0].stack[2] == Frame("__x64_sys_recvfrom", KERNEL)
    assert samples[0].stack[3] == Frame("[unknown]", "/usr/lib/libc.so.6")
    assert samples[2].stack == (Frame("a name with spaces", "/usr/lib/libpython3.11.so.1.0"),)


def test_nothing_recorded_is_no_sample() -> None:
    assert list(parse_samples("")) == []
    assert list(parse_samples("\n\n")) == []


@pytest.mark.parametrize(
    ("functions", "kind"),
    [
        (("copy_to_user", "tcp_recvmsg", "__x64_sys_recvfrom"), Kind.RECEIVING),
        (("net_rx_action", "__do_softirq", "tcp_sendmsg", "__x64_sys_sendfile64"), Kind.SENDING),
        (("shmem_write_begin", "__x64_sys_pwrite64"), Kind.WRITING),
        (
            ("rwsem_down_write_slowpath", "shmem_file_write_iter", "__x64_sys_pwrite64"),
            Kind.WAITING,
        ),
        (("futex_wake", "__x64_sys_futex"), Kind.WAITING),
        (("clear_page", "asm_exc_page_fault"), Kind.FAULTS),
        (("run_timer", "asm_sysvec_apic_timer_interrupt"), Kind.INTERRUPTS),
        (("do_epoll_wait", "__x64_sys_epoll_wait"), Kind.KERNEL),
    ],
)
def test_work_of_the_kernel_is_of_the_call_that_it_was_done_for(
    functions: tuple[str, ...], kind: Kind
) -> None:
    assert kind_of([Frame(name, KERNEL) for name in functions]) == kind


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/x/blake3/blake3.cpython-311.so", Kind.HASHING),
        ("/usr/lib/libcrypto.so.3", Kind.CRYPTO),
        ("/usr/lib/libssl.so.3", Kind.CRYPTO),
        ("/usr/lib/libc.so.6", Kind.COPYING),
        ("/usr/lib/libpython3.11.so.1.0", Kind.INTERPRETER),
        ("/blake3/libpython3.11.so.1.0", Kind.INTERPRETER),
        ("/x/msgspec/_core.so", Kind.INTERPRETER),
    ],
)
def test_work_outside_the_kernel_is_of_the_innermost_file(file: str, kind: Kind) -> None:
    caller = Frame("_PyEval_EvalFrameDefault", "/usr/lib/libpython3.11.so.1.0")
    assert kind_of([Frame("f", file), caller]) == kind


def test_a_sample_without_a_stack_is_the_interpreters() -> None:
    assert kind_of(()) == Kind.INTERPRETER


def test_shares_begin_with_the_most() -> None:
    sent = Sample(1, (Frame("__x64_sys_sendfile64", KERNEL),))
    other = Sample(1, (Frame("schedule", KERNEL),))
    assert list(shares([other, sent, sent, sent]).items()) == [
        (Kind.SENDING, 0.75),
        (Kind.KERNEL, 0.25),
    ]
    assert shares([]) == {}
