"""What a recogniser returns."""

from __future__ import annotations

from collections.abc import Mapping

from ckptd.model.policy.recognition import Proposal, Read
from ckptd.model.policy.rules import Policy, Rule


def test_a_recogniser_is_a_function_of_names_sizes_and_a_reader() -> None:
    def recognise(listing: Mapping[str, int], read: Read) -> Proposal | None:
        if read("format") != b"mine":
            return None
        rules = (Rule((min(listing),), phase="core", origin="recognised: mine"),)
        return Proposal("mine", Policy(("core",), rules))

    proposal = recognise({"b": 1, "a": 2}, lambda _: b"mine")
    assert proposal is not None
    assert proposal.format == "mine"
    assert proposal.policy.rules[0].paths == ("a",)
    assert recognise({}, lambda _: None) is None
