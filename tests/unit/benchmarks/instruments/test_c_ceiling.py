"""What the ceiling prints of a turn, and that it says what it does not do."""

from __future__ import annotations

from tests.benchmarks.instruments.c_ceiling import Ceiling, Spent, parse_spent


def test_a_turn_is_a_time_and_processor_time_by_kind() -> None:
    assert parse_spent("1.5 0.25 0.5 0.75\n") == Spent(1.5, 0.25, 0.5, 0.75)


def test_without_a_library_it_says_that_nothing_is_hashed() -> None:
    assert "without hashing" in Ceiling().what


def test_tls_needs_more_than_a_compiler() -> None:
    assert Ceiling().programs == ("cc",)
    assert Ceiling(uses_tls=True).programs == ("cc", "openssl")
