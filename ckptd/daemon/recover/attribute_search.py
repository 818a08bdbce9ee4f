"""Finds the modes and times that a version's files shall get: here, or at those who hold it.

They come while the bytes do, and nothing waits for them but the placing. Without any a version is
private to its owner; so whatever is wrong with a document is no error, and no blame either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.asking_again import ask_again
from ckptd.daemon.recover.peering import Peering
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import CkptdError
from ckptd.model.addresses import Address
from ckptd.model.attributes import (
    Attributes,
    decode_attributes,
    encoded_bytes_max,
    join_attributes,
    narrowest,
)
from ckptd.model.ids import CheckpointName, Digest, NodeId, RecoveryId
from ckptd.model.manifest import Manifest
from ckptd.model.signatures import Signature
from ckptd.net.inquiry import Inquirer
from ckptd.observe.logs import get_logger
from ckptd.wire.attribute_answers import answer_bytes_max, decode_answer

HOLDERS_ASKED_MAX: Final = 8
_PATIENCE_S: Final = 5.0
"""For all holders together; one that is silent delays a version no longer than that."""
_MEMBERS_AT_ONCE: Final = 16
"""Of a joined version; each asks up to eight holders."""
_OTHERS_S: Final = 0.5
"""For the others once one has answered, so that the choice does not depend on who was first."""

_log = get_logger()


class _Found(NamedTuple):
    attributes: Attributes
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose attributes are looked for.

    Attributes:
        checkpoint: Of which checkpoint.
        digest: Which version.
        manifest: What it consists of.
        parts: Of a joined version its members, and which unit of it each of their units is.
    """

    checkpoint: CheckpointName
    digest: Digest
    manifest: Manifest
    parts: tuple[tuple[Wanted, Sequence[int]], ...] = ()


class AttributeSearch:
    """Looks for attribute documents, one search for each recovery that needs one.

    Args:
        policy: Which signatures count.
        peering: Knows who holds what.
        inquirer: Asks.
        storage: Where what was found is kept.
    """

    def __init__(
        self, policy: SignaturePolicy, peering: Peering, inquirer: Inquirer, storage: Storage
    ) -> None:
        self._policy = policy
        self._peering = peering
        self._inquirer = inquirer
        self._shelf = storage.attributes
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: dict[RecoveryId, asyncio.Task[Attributes | None]] = {}

    async def run(self) -> None:
        """Search beside the recoveries until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.get_running_loop().create_future()

    def begin(
        self, recovery: RecoveryId, wanted: Wanted, note: Callable[[Attributes | None], None]
    ) -> None:
        """Look for the attributes of a recovery's version, in place of a search before.

        Args:
            recovery: Which recovery.
            wanted: Its version.
            note: Given what was found.
        """
        self.end(recovery)

        async def search() -> Attributes | None:
            found = await self.find(wanted)
            note(found)
            return found

        assert self._tasks is not None, "searches are taken only while the service runs"
        self._under_way[recovery] = self._tasks.create_task(search())

    async def result(self, recovery: RecoveryId, wanted: Wanted) -> Attributes | None:
        """Return what was found; look once more if that is nothing."""
        task = self._under_way.get(recovery)
        if task is not None:
            await asyncio.wait((task,))
            if not task.cancelled() and (found := task.result()) is not None:
                return found
        return await self.find(wanted)

    def end(self, recovery: RecoveryId) -> None:
        """Forget a search."""
        task = self._under_way.pop(recovery, None)
        if task is not None:
            task.cancel()

    async def find(self, wanted: Wanted) -> Attributes | None:
        """Return the attributes of a version; ``None`` if nobody has any that count here.

        A joined version has some if all its members have.
        """
        if wanted.parts:
            return await self._find_joined(wanted)
        try:
            kept = await self._shelf.find(wanted.digest)
            if kept is not None:
                return (await asyncio.to_thread(self._checked, wanted, *kept)).attributes
        except CkptdError as error:
            self._pass_over(wanted, "", error)
        found = await self._ask_holders(wanted)
        chosen = narrowest(each.attributes for each in found)
        for each in found:
            if each.attributes is chosen:
                try:
                    await self._shelf.put(wanted.digest, chosen.encoded, each.signatures)
                except CkptdError as error:  # then it is not passed on, and that is all
                    _log.warning("attributes.not_kept", digest=wanted.digest, why=str(error))
        return chosen

    async def _find_joined(self, wanted: Wanted) -> Attributes | None:
        at_once = asyncio.Semaphore(_MEMBERS_AT_ONCE)

        async def find(member: Wanted) -> Attributes | None:
            async with at_once:
                return await self.find(member)

        async with asyncio.TaskGroup() as finding:
            tasks = [finding.create_task(find(member)) for member, _ in wanted.parts]
        found = [
            (attributes, units)
            for task, (_, units) in zip(tasks, wanted.parts, strict=True)
            if (attributes := task.result()) is not None
        ]
        if len(found) < len(wanted.parts):
            return None
        return await asyncio.to_thread(join_attributes, wanted.digest, wanted.manifest, found)

    def _holders(self, digest: Digest) -> Mapping[NodeId, Address]:
        holders: dict[NodeId, Address] = {}
        for peer in self._peering.peers():
            held = peer.holdings.holdings if peer.holdings is not None else ()
            if peer.holdings is not None and any(each.digest == digest for each in held):
                holders.setdefault(peer.holdings.node, peer.address)
        return {node: holders[node] for node in sorted(holders)[:HOLDERS_ASKED_MAX]}

    async def _ask_holders(self, wanted: Wanted) -> list[_Found]:
        document_bytes_max = await asyncio.to_thread(encoded_bytes_max, wanted.manifest)
        holders = self._holders(wanted.digest) if document_bytes_max else {}
        bytes_max = answer_bytes_max(document_bytes_max)
        found: list[_Found] = []
        try:
            async with asyncio.timeout(_PATIENCE_S) as deadline, asyncio.TaskGroup() as asking:

                async def ask(node: NodeId, address: Address) -> None:
                    answer = await self._ask(node, address, bytes_max, wanted)
                    if answer is not None:
                        # One that came as the time ran out counts, and moves its end no more.
                        if not found and not deadline.expired():
                            deadline.reschedule(asyncio.get_running_loop().time() + _OTHERS_S)
                        found.append(answer)

                for node, address in holders.items():
                    asking.create_task(ask(node, address))
        except TimeoutError:
            pass  # what is here counts
        return found

    async def _ask(
        self, node: NodeId, address: Address, bytes_max: int, wanted: Wanted
    ) -> _Found | None:
        try:
            question = partial(self._inquirer.attributes, address, wanted.digest, bytes_max)
            answer = await ask_again(question, node)
            if answer is None:
                return None
            return await asyncio.to_thread(self._checked, wanted, *decode_answer(answer))
        except (CkptdError, OSError) as error:
            self._pass_over(wanted, node, error)
            return None

    def _checked(
        self, wanted: Wanted, document: bytes, signatures: tuple[Signature, ...]
    ) -> _Found:
        # Before a byte of it is parsed.
        verified = self._policy.verify_attributes(document, signatures, wanted.checkpoint)
        return _Found(decode_attributes(document, wanted.digest, wanted.manifest), verified)

    def _pass_over(self, wanted: Wanted, source: str, error: Exception) -> None:
        _log.warning("attributes.refused", digest=wanted.digest, source=source, why=str(error))
