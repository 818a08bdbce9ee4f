"""The version that a dialogue is about, and what can be said of it that is not so."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec
from blake3 import blake3
from msgspec import msgpack

from ckptd.errors import InvalidManifest
from ckptd.limits import KIB
from ckptd.model.attributes import directories_in, encode_attributes
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest, encode_manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.keys import SigningKey
from ckptd.wire.attribute_answers import encode_answer
from ckptd.wire.signature_lines import encode_signatures
from tests.fuzz.mutating import Mutator
from tests.fuzz.targets import TARGETS
from tests.support.manifests import make_manifest

NAME: Final = "llama/rank-0"
VERSION: Final = 100

Entry = dict[str, object]


@dataclass(frozen=True, slots=True)
class Truth:
    """The version as it is.

    Attributes:
        contents: Its files.
        manifest: Describes it.
        encoded: The manifest's bytes.
        digest: Its identity.
        data: All of it, in the order of the manifest.
        signatures: The document of its signatures.
        attributes: The answer with its attribute document, signed.
    """

    contents: dict[str, bytes]
    manifest: Manifest
    encoded: bytes
    digest: str
    data: bytes
    signatures: bytes
    attributes: bytes

    @classmethod
    def make(cls, key: SigningKey) -> Truth:
        """Make some files: little ones, one of several blocks, one that is empty."""
        rng = Random(15)
        sizes = {"config.json": 700, "empty": 0, "a/b": 90 * KIB, "model": 4400 * KIB + 1}
        contents = {path: rng.randbytes(size) for path, size in sizes.items()}
        # As :class:`FileContent` describes them.
        manifest = make_manifest(contents)
        encoded = encode_manifest(manifest)
        digest = Digest(blake3(encoded).hexdigest())
        document = cls.document_of(digest, manifest, 0o640)
        return cls(
            contents,
            manifest,
            encoded,
            digest,
            b"".join(contents[unit.path] for unit in manifest.units),
            encode_signatures([key.sign(encoded)]),
            encode_answer(document, [key.sign_attributes(document)]),
        )

    @staticmethod
    def document_of(digest: Digest, manifest: Manifest, mode: int) -> bytes:
        """Return an attribute document in which all has one mode and one time."""
        directories = directories_in(manifest)
        assert directories is not None
        count = len(manifest.units) + len(directories)
        return encode_attributes(digest, [mode] * count, [1] * count)

    def document(self, mode: int) -> bytes:
        """Return an attribute document of this version."""
        return self.document_of(Digest(self.digest), self.manifest, mode)

    @property
    def space(self) -> AddressSpace:
        return AddressSpace(self.manifest)

    def entry(self, **more: object) -> Entry:
        """Return what a holder says of it in its holdings, with changes."""
        space = self.space
        return {
            "checkpoint": NAME,
            "version": VERSION,
            "digest": self.digest,
            "size_bytes": space.size_bytes,
            "block_count": space.block_count,
            "blocks": "all",
            **more,
        }


def junk_manifest(rng: Random, truth: Truth, version: int) -> bytes:
    """Return bytes that are no manifest of the checkpoint, or hardly one."""
    match rng.randrange(5):
        case 0:
            return rng.randbytes(rng.choice((0, 1, 300, 70_000)))
        case 1:
            return truth.encoded[: rng.randrange(len(truth.encoded))]
        case 2:
            tree = msgpack.decode(truth.encoded)
            tree["units"] = tree["units"] * rng.choice((2, 500))
            return msgpack.encode(tree)
        case 3:
            tree = msgpack.decode(truth.encoded)
            tree.update(version=version, annotations={"x" * 3000: "y" * 3000})
            for unit in tree["units"]:
                unit["path"] = rng.choice(("../x", "/etc/x", "a/" * 300 + "a", "", "a\0b"))
            return msgpack.encode(tree)
        case _:
            mutator = Mutator(TARGETS["manifest"], rng.randrange(2**32))
            mutator._pool = [truth.encoded, *mutator._pool[:2]]
            return mutator.draw()


def sly_manifest(rng: Random, truth: Truth) -> bytes:
    """Return a manifest that could be that of the version, and is of another one."""
    tree = msgpack.decode(truth.encoded)
    match rng.randrange(3):
        case 0:
            rng.choice(tree["units"])["path"] += "x"
        case 1:
            tree["units"].pop()
        case _:
            tree["annotations"] = {"x": "y"}
    return msgpack.encode(tree)


def is_usable(encoded: bytes) -> bool:
    """Return whether somebody could take these bytes for a version."""
    try:
        decode_manifest(encoded)
    except InvalidManifest:
        return False
    return True


def twisted_document(rng: Random, document: bytes) -> bytes:
    """Return a holdings document with something wrong in it."""
    mutator = Mutator(TARGETS["holdings"], rng.randrange(2**32))
    mutator._pool = [document[: 16 * KIB], *mutator._pool[:2]]
    return mutator.draw()


def encode(document: dict[str, object]) -> bytes:
    return msgspec.json.encode(document)
