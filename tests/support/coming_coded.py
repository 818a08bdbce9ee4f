"""Versions that come one after the other until blocks of one came coded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.support.cluster import WAIT_S, Node
from tests.support.metrics_page import samples


class CameCoded(NamedTuple):
    """What came coded.

    Attributes:
        version: Until which version; the last one of which some came.
        plain_bytes: How long those blocks are.
        sent_bytes: How many bytes they were on their way.
    """

    version: int
    plain_bytes: float
    sent_bytes: float


def until_coded(receiver: Node, recover: Callable[[int], object], *, first: int) -> CameCoded:
    """Recover one version after the other until one comes coded; mostly that is the first one.

    Whether coding pays is measured, and again after ten seconds and more where it did not: on a
    slow machine that counts, and so does that what decodes is not loaded when all is here already.

    Args:
        receiver: Who recovers.
        recover: Makes a version of a number and recovers it.
        first: The number of the first one.
    """
    deadline_s = time.monotonic() + 2 * WAIT_S
    for version in itertools.count(first):
        was = _came(receiver)
        recover(version)
        plain, sent = (now - before for now, before in zip(_came(receiver), was, strict=True))
        if plain:
            return CameCoded(version, plain, sent)
        assert time.monotonic() < deadline_s, f"not even {version} came coded"
    raise AssertionError("there is no last number")


def _came(node: Node) -> tuple[float, float]:
    plain, sent = (samples(node, f"coded_{kind}_bytes_total") for kind in ("plain", "sent"))
    return sum(plain.values()), sum(sent.values())
