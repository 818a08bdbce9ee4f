"""Who was asked for the manifest of a version, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.model.ids import Digest, PathId


@dataclass(slots=True)
class ManifestSearch:
    """The search for a manifest.

    Attributes:
        asked: Who was asked and has not answered, with the digest; ``None`` is this node.
        ask_again_at_ns: One more source is asked at this moment.
        tried: Sources that did not deliver it, since the last pause.
        own_missed: Versions of which this node has no manifest that can be used, or not the
            blocks that it was said to have.
        unsigned_by: Those of them whose manifest was refused for its signatures.
        unsigned: Versions that nobody could deliver with signatures that suffice.
        signature_refusal: Why the last of them was refused; empty if none was.
    """

    asked: dict[PathId | None, Digest] = field(default_factory=dict)
    ask_again_at_ns: int | None = None
    tried: set[PathId] = field(default_factory=set)
    own_missed: set[Digest] = field(default_factory=set)
    unsigned_by: set[PathId] = field(default_factory=set)
    unsigned: set[Digest] = field(default_factory=set)
    signature_refusal: str = ""
