"""How a recogniser is asked what it knows of a version, by the files that it has.

The recognisers themselves are in :mod:`ckptd.model.recognisers`. They only propose: rules that
people write go before theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from ckptd.limits import MIB
from ckptd.model.policy.rules import Policy

RECOGNISED: Final = "recognised: "
"""How the origin of a rule begins that a recogniser proposes."""

RECOGNISED_BYTES_MAX: Final = 64 * MIB
"""Of all files of a version together that are read to recognise its format."""

Read: TypeAlias = Callable[[str], bytes | None]
"""Returns what is in a file; ``None`` if it cannot be read, or with those before it is more than
:data:`RECOGNISED_BYTES_MAX`."""


class Proposal(NamedTuple):
    """What a recogniser makes of a version.

    Attributes:
        format: The name of the format, for people: ``Hugging Face``; of several, all.
        policy: What it proposes; the origin of its rules begins with :data:`RECOGNISED`.
    """

    format: str
    policy: Policy
