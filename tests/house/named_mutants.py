"""Mutations that are always among those of ``make mutants``: each takes away one rule of safety.

Tests of whole daemons saw them, those of the module itself did not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.house.mutations import Mutation
from tests.house.source_tree import Module


class NamedMutant(NamedTuple):
    """A rule, and how a source does without it.

    Attributes:
        rule: Which.
        path: The module that keeps it.
        written: How; stands once in the source.
        instead: What takes its place.
    """

    rule: str
    path: str
    written: str
    instead: str

    def in_module(self, module: Module) -> Mutation:
        """Return it as a mutation of the module as it is now.

        Raises:
            LookupError: The source keeps the rule in other words by now.
        """
        if module.source.count(self.written) != 1:
            raise LookupError(f"{self.rule}: {self.written!r} does not stand once in {self.path}")
        before = module.source.partition(self.written)[0]
        start = len(before.encode())
        return Mutation(
            self.path, self.rule, before.count("\n") + 1,
            start, start + len(self.written.encode()), self.instead,
        )  # fmt: skip


NAMED: Final = (
    NamedMutant(
        "If-Range",
        "net/source/answers.py",
        'if request.fields.get("if-range", fields["ETag"]) == fields["ETag"]:',
        "if True:",
    ),
    NamedMutant(
        "ETag",
        "net/lane/receiving.py",
        'if head.fields.get("etag", etag) != etag:',
        "if False:",
    ),
    NamedMutant(
        "linger",
        "net/source/server.py",
        "        await _linger(self._connection)\n",
        "        pass\n",
    ),
    NamedMutant(
        "last byte",
        "net/source/sending.py",
        "self._send_file(piece, piece.size_bytes - 1)",
        "self._send_file(piece, piece.size_bytes)",
    ),
    NamedMutant(
        "slow reader",
        "net/connection/pace.py",
        "if rate < BODY_RATE_MIN_BYTES_PER_S:",
        "if False:",
    ),
    NamedMutant(
        "giving back what was granted",
        "net/source/sending.py",
        "self._throttle.give_back(self._flow, granted_bytes - sent_bytes)",
        "pass",
    ),
    NamedMutant(
        "giving back a buffer",
        "net/lane/receiving.py",
        "self._pool.release(buffer)",
        "pass",
    ),
    NamedMutant(
        "strikes, whatever a source says",
        "core/state/doubts.py",
        "self.strikes >= options.strikes_max or ",
        "",
    ),
    NamedMutant(
        "a proof of no more than was claimed then",
        "daemon/audit/timetable.py",
        "self.is_right and is_young and claimed_count <= self.block_count",
        "self.is_right and is_young",
    ),
    NamedMutant(
        "a proof for a day",
        "daemon/audit/timetable.py",
        "is_young = now - self.at_ns < PROVEN_NS",
        "is_young = True",
    ),
    NamedMutant(
        "a copy elsewhere that was shown",
        "daemon/retain/asking_holders.py",
        "count += is_proven and path in",
        "count += path in",
    ),
    NamedMutant(
        "blame for a wrong block of an audit",
        "core/peers/audits.py",
        "        question_claim(step, peer, digest, event.block)\n",
        "        pass\n",
    ),
    NamedMutant(
        "doubts of a claim",
        "core/peers/audits.py",
        "peer.standing.doubts and doubted_blocks(state, path, digest)",
        "False",
    ),
    NamedMutant(
        "copies that count for the gauge",
        "daemon/measure/under_replicated.py",
        "if holding.digest in offers and self._is_there(node, holding):",
        "if holding.digest in offers:",
    ),
    NamedMutant(
        "blame by origin",
        "core/peers/claims.py",
        "standing = step.state.standing_of(event.origin)",
        "standing = step.state.standing_of(type(event.origin)(event.path))",
    ),
    NamedMutant(
        "the end of a lane that brought a wrong block",
        "net/lane/receiving.py",
        "if rejected:  # who sends one wrong block has more of them",
        "if False:",
    ),
    NamedMutant(
        "one block first",
        "net/lane/groups.py",
        "if places and (is_full or self._is_first):",
        "if places and is_full:",
    ),
    NamedMutant(
        "quarantine and second chances",
        "core/peers/blame.py",
        " and peer.standing.quarantined_until_ns <= step.now:",
        ":",
    ),
    NamedMutant(
        "link count of a fingerprint",
        "store/files/fingerprints.py",
        " and facts.st_nlink > 0",
        "",
    ),
    NamedMutant(
        "a partial result is permitted by the request",
        "core/stages/unknown.py",
        "if recovery.request.allow_partial:",
        "if True:",
    ),
    NamedMutant(
        "optional units may be missing",
        "core/stages/unknown.py",
        "required = missing - content.optional",
        "required = missing",
    ),
    NamedMutant(
        "what is replaced by a link that is not ckptd's goes back",
        "store/staging/current_link.py",
        "            if not is_ours:\n                confined.exchange(fd, passing, name)\n",
        "",
    ),
    NamedMutant(
        "what an interrupted swap has left is removed only if it is ckptd's",
        "store/staging/current_link.py",
        "        if left.check(ours) is not None:",
        "        if left.look() is not None:",
    ),
    NamedMutant(
        "a job that still writes",
        "store/published/publishing.py",
        "check_same_files(root, relative, candidates, request, inner)",
        "pass",
    ),
    NamedMutant(
        "the mark of a partial version goes",
        "store/staging/target.py",
        "                else:\n                    remove_marker(root, self.path)\n",
        "",
    ),
    NamedMutant(
        "only proven claims are copies",
        "copies/holders.py",
        "if least is not None and is_proven:\n            found.there",
        "if least is not None:\n            found.there",
    ),
    NamedMutant(
        "who is chosen and does nothing is passed over",
        "copies/choosing.py",
        "return found is not None and self.now >= found.since_ns + self.view.grace_ns",
        "return False",
    ),
    NamedMutant(
        "no zone is lost when a copy goes",
        "copies/giving_back.py",
        " or not is_as_spread(have, zone, count)",
        "",
    ),
)
