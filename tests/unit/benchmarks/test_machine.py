"""Facts of a machine, as the kernel prints them."""

from __future__ import annotations

from tests.benchmarks.machine import chosen, machine_facts


def test_the_chosen_word_stands_in_brackets() -> None:
    assert chosen("always [madvise] never\n") == "madvise"
    assert chosen("within_size\n") == "within_size"


def test_facts_name_what_another_reader_must_know() -> None:
    facts = machine_facts("/dev/shm")
    assert {"processor", "processors", "kernel", "tcp", "huge_pages"} <= facts.keys()
    assert all(facts[name] for name in ("processor", "kernel", "tcp", "huge_pages"))
