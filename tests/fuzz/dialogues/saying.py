"""What a misbehaving source says: of its holdings, its manifests, its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from blake3 import blake3

from ckptd.store.files.keys import SigningKey
from ckptd.wire.attribute_answers import encode_answer
from ckptd.wire.byte_ranges import parse_range
from ckptd.wire.signature_lines import encode_signatures
from tests.fuzz.dialogues.answers import Reply
from tests.fuzz.dialogues.truth import (
    NAME,
    VERSION,
    Entry,
    Truth,
    encode,
    is_usable,
    junk_manifest,
    sly_manifest,
    twisted_document,
)

_FOREIGN_KEY: Final = SigningKey.draw()
_ENTRIES_MAX: Final = 3000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        digest: Of what; the end of its target.
        fields: Of its head, named in lower case.
        wildness: How often this source says something wrong to such a request.
    """

    digest: str
    fields: dict[str, str]
    wildness: float


class Saying:
    """What one source says; it remembers, so that lies go on.

    Args:
        node: Who it is.
        truth: What it knows.
        may_forge: It may make up versions that somebody could take for genuine.

    Attributes:
        epoch: Which life of it this is.
    """

    def __init__(self, node: str, truth: Truth, *, may_forge: bool) -> None:
        self.epoch = 1
        self._node = node
        self._truth = truth
        self._may_forge = may_forge
        self._revision = 1
        self._entries: list[Entry] = [truth.entry()]
        self._manifests = {truth.digest: truth.encoded}

    def answer(self, step: str, rng: Random, twist: str, asked: Asked) -> Reply:
        """Say something.

        Args:
            step: What is asked for.
            rng: Draws what is left to draw.
            twist: What of it is to be wrong; empty: nothing.
            asked: The request.
        """
        match step:
            case "holdings":
                return self._holdings(rng, twist, asked)
            case "manifest":
                return self._manifest(rng, twist, asked)
            case "signatures":
                return self._signatures(rng, twist, asked)
            case "attributes":
                return self._attributes(rng, twist, asked)
            case "range":
                return self._range(rng, twist, asked)
            case _:
                return self._question(rng, twist, asked)

    def _holdings(self, rng: Random, twist: str, asked: Asked) -> Reply:
        if twist in {"nothing new", "unchanged"}:
            return Reply(304, {"ETag": asked.fields.get("if-none-match", '"1-1"')})
        self._revision += 1
        more: dict[str, object] = {}
        match twist:
            case "epoch":
                self.epoch = rng.choice((self.epoch + 1, 0, 2**63 - 1, rng.getrandbits(62)))
            case "back":
                self._revision = rng.choice((0, 1, self._revision - 2))
            case "id":
                more["node"] = rng.choice(("node-a", "node-r", f"x-{rng.random()}", "", "a/b"))
            case "delta":
                more["since"] = rng.choice((0, self._revision - 1, self._revision, 2**62))
                more["gone"] = rng.choice(([], [self._truth.digest], ["x"]))
            case _:
                self._change_entries(rng, twist)
        known = {"node": self._node, "epoch": self.epoch, "revision": self._revision}
        body = encode({**known, "holdings": self._entries, **more})
        if twist == "mutated":
            body = twisted_document(rng, body)
        etag = f'"{self.epoch}-{self._revision}"'
        if rng.random() < asked.wildness / 4:
            etag = rng.choice(('""', "", '"1-1"', "x" * 500))
        return Reply(200, {"ETag": etag, "Content-Type": "application/json"}, body)

    def _change_entries(self, rng: Random, twist: str) -> None:
        match twist:
            case "invent":
                for _ in range(rng.choice((1, 3, 40))):
                    self._invent(rng)
            case "contradict":
                self._contradict(rng)
            case "fewer":
                runs = [[0, rng.randint(0, 9)], [rng.randint(0, 9), rng.randint(0, 9)]]
                self._entries[0:1] = [self._truth.entry(blocks=rng.choice((runs, runs[:1], [])))]
            case "none":
                self._entries = rng.choice(([], self._entries[:1], [self._truth.entry()]))
            case "many":
                self._entries[1:] = [
                    self._truth.entry(version=number, digest=f"{number:064x}")
                    for number in range(VERSION + 1, VERSION + rng.choice((300, _ENTRIES_MAX)))
                ]
            case _:
                pass

    def _invent(self, rng: Random) -> None:
        """Claim to have a version that nobody has."""
        version = rng.choice((VERSION, VERSION + 1, VERSION + rng.randint(1, 2**40), 2**63 - 1))
        encoded = junk_manifest(rng, self._truth, version)
        digest = blake3(encoded).hexdigest()
        if is_usable(encoded) and not self._may_forge:
            digest = f"{rng.getrandbits(256):064x}"  # and nothing has that
        self._manifests[digest] = encoded
        checkpoint = rng.choice((NAME, NAME, NAME, "llama/rank-1"))
        self._entries.append(
            self._truth.entry(checkpoint=checkpoint, version=version, digest=digest)
        )
        del self._entries[1:-_ENTRIES_MAX]

    def _contradict(self, rng: Random) -> None:
        """Say something of the version that its manifest does not say."""
        changes: tuple[Entry, ...] = (
            {"size_bytes": rng.choice((0, 1, 2**62))},
            {"block_count": rng.choice((0, 1, 2**21)), "blocks": "all"},
            {"version": rng.choice((0, VERSION + 1, 2**63 - 1))},
            {"checkpoint": rng.choice(("llama/rank-1", "x"))},
            {"digest": f"{rng.getrandbits(256):064x}"},
            {"blocks": [[0, 2**21]]},
            {"optional": [[0, rng.randint(0, 9)]], "blocks": []},
        )
        entry = self._truth.entry(**rng.choice(changes))
        if rng.random() < 0.5:
            self._entries[0:1] = [entry]
        else:
            self._entries.append(entry)

    def _manifest(self, rng: Random, twist: str, asked: Asked) -> Reply:
        encoded = self._manifests.get(asked.digest)
        match twist:
            case "junk":
                encoded = junk_manifest(rng, self._truth, VERSION)
            case "sly":
                encoded = sly_manifest(rng, self._truth)
            case "missing":
                encoded = None
            case "other":
                encoded = rng.choice([*self._manifests.values()])
            case "empty":
                encoded = b""
            case _:
                pass
        return Reply(rng.choice((404, 410))) if encoded is None else Reply(200, {}, encoded)

    def _signatures(self, rng: Random, twist: str, asked: Asked) -> Reply:
        known = self._truth.signatures
        match twist:
            case "foreign":
                known = encode_signatures([_FOREIGN_KEY.sign(self._truth.encoded)])
            case "junk":
                known = known[:17] + rng.randbytes(60).hex().encode() + b"0" * 8 + b"\n"
            case "empty":
                known = b""
            case _:
                pass
        if twist == "missing" or (asked.digest != self._truth.digest and rng.random() < 0.5):
            return Reply(404)
        return Reply(200, {}, known)

    def _attributes(self, rng: Random, twist: str, asked: Asked) -> Reply:
        known = self._truth.attributes
        match twist:
            case "foreign":
                document = self._truth.document(0o777)
                known = encode_answer(document, [_FOREIGN_KEY.sign_attributes(document)])
            case "junk":
                cut = rng.randrange(len(known))
                known = known[:cut] + rng.randbytes(rng.choice((0, 1, 60))) + known[cut + 1 :]
            case "empty":
                known = b""
            case _:
                pass
        if twist == "missing" or asked.digest != self._truth.digest:
            return Reply(404)
        return Reply(200, {}, known)

    def _range(self, rng: Random, twist: str, asked: Asked) -> Reply:
        match twist:
            case "denied":
                blocks = {"Ckptd-Blocks": f"0-{rng.randint(0, 9)}"} if rng.random() < 0.5 else {}
                return Reply(rng.choice((404, 410)), blocks)
            case "busy":
                after = {"Retry-After": rng.choice(("0", "1", "30", "x", "9999999"))}
                return Reply(rng.choice((429, 503)), after)
            case "broken":
                return Reply(rng.choice((500, 502, 400, 416, 421)))
            case "whole":
                return Reply(200, {"ETag": f'"{asked.digest}"'}, self._truth.data)
            case _:
                return self._body(rng, twist, asked)

    def _body(self, rng: Random, twist: str, asked: Asked) -> Reply:
        data, size = self._truth.data, len(self._truth.data)
        byte_range = parse_range(asked.fields.get("range", ""), size)
        assert byte_range is not None, f"the receiver asks for {asked.fields.get('range')}"
        start, end = byte_range.start, byte_range.end
        body, etag = data[start:end], asked.digest
        match twist:
            case "one block":
                at = rng.randrange(len(body))
                body = body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]
            case "all":
                body = bytes(len(body))
            case "after the first":
                body = body[: self._truth.space.block_start(1)].ljust(len(body), b"\0")
            case "shifted":
                body = data[start + 1 : end + 1].ljust(len(body), b"\0")
            case "other range":
                start = rng.choice((0, min(start + 1, end - 1)))
            case "other version":
                etag = "x"
            case _:
                pass
        about = {"Content-Range": f"bytes {start}-{end - 1}/{size}", "ETag": f'"{etag}"'}
        return Reply(206, about, body)

    def _question(self, rng: Random, twist: str, asked: Asked) -> Reply:
        match twist:
            case "denied":
                return Reply(rng.choice((404, 410)))
            case "denied blocks":
                blocks = rng.choice((asked.fields.get("ckptd-blocks", ""), "0", "0-99999", "x"))
                return Reply(rng.choice((200, 410)), {"Ckptd-Blocks": blocks})
            case "no answer":
                return Reply(rng.choice((500, 503, 302)))
            case "unknown":
                return Reply(rng.choice((204, 206, 304, 405)))
            case _:
                return Reply(200, {"ETag": f'"{self._truth.digest}"'})
