"""Facts of a machine, as the kernel prints them."""

from __future__ import annotations

import socket

from ckptd.net.source.congestion import AUTO, Congestion, control_of
from tests.benchmarks.machine import chosen, congestion_of_ckptd, machine_facts


def test_the_chosen_word_stands_in_brackets() -> None:
    assert chosen("always [madvise] never\n") == "madvise"
    assert chosen("within_size\n") == "within_size"


def test_facts_name_what_another_reader_must_know() -> None:
    facts = machine_facts("/dev/shm")
    names = ("processor", "processors", "kernel", "tcp", "tcp_of_ckptd", "huge_pages")
    assert all(facts[name] for name in names)


def test_what_ckptd_sends_with_is_said_as_doctor_says_it() -> None:
    congestion = Congestion(AUTO)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        system = control_of(listening)
        congestion.listen(listening)
        over_loopback = control_of(listening)
    said = congestion_of_ckptd()
    assert said == f"{congestion} (auto)"
    assert over_loopback in said
    assert system in said
