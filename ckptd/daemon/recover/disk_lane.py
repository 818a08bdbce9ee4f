"""A lane to this node's own disks: copies blocks that lie here already to where they belong.

To the scheduler it is a lane like those of :mod:`ckptd.net.lane`: orders are carried out one after
another, each with reports of what came, and ended by exactly one ``RangeEnded``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ckptd.core.events import RangeEnded, RangeProgressed, Refusal, Reporting
from ckptd.daemon.host.disk_calls import DiskCalls
from ckptd.errors import CkptdError, StorageError, shortage_of
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import OWN_DISKS, TransferId
from ckptd.model.space import AddressSpace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.lane.groups import Groups
from ckptd.net.lane.reports import ReportQueue
from ckptd.net.throttle import Throttle
from ckptd.observe.logs import get_logger
from ckptd.store.staging.area import Staging
from ckptd.store.trees.local_blocks import BlockCopier, LocalBlock
from ckptd.traffic.buckets import Flow

_log = get_logger()


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """A range to be copied.

    Attributes:
        transfer: Names it in reports.
        blocks: Which blocks.
        space: The version's address space.
        urgency: How urgent it is.
        staging: Knows where they lie, and where they belong.
    """

    transfer: TransferId
    blocks: BlockRun
    space: AddressSpace
    urgency: Urgency
    staging: Staging


class DiskLane:
    """One thread that copies; made and used on the event loop.

    The owner runs ``run`` as a task of its own. When it returns every order has been reported as
    ended.

    Args:
        report: Called on the loop with progress and ends of orders.
        disk_write: Says when blocks may be written.
        disk_calls: Hears of every call.
        note_wrong: Called on the loop with blocks that are not what a place was thought to have.
    """

    def __init__(
        self,
        *,
        report: Reporting,
        disk_write: Throttle,
        disk_calls: DiskCalls,
        note_wrong: Callable[[LocalBlock], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports = ReportQueue(self._loop, report)
        self._disk_write = disk_write
        self._disk_calls = disk_calls
        self._note_wrong = note_wrong
        self._orders: SimpleQueue[CopyOrder | None] = SimpleQueue()
        self._groups = Groups()
        self._copier: tuple[Staging, BlockCopier] | None = None
        self._is_closed = False

    def request(self, order: CopyOrder) -> None:
        """Have a range copied."""
        self._orders.put(order)

    def close(self) -> None:
        """End. Every order that has not ended ends as ``CLOSED``, the current one after a group."""
        self._is_closed = True
        self._orders.put(None)

    async def run(self) -> None:
        """Copy until the lane is closed."""
        over = asyncio.Event()

        def work() -> None:
            try:
                while (order := self._orders.get()) is not None:
                    self._carry_out(order)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    self._loop.call_soon_threadsafe(over.set)

        # A daemon thread, because a disk that hangs must not keep the process from ending.
        thread = threading.Thread(target=work, name="disk lane", daemon=True)
        refusal: Refusal | None = None
        try:
            thread.start()
            await over.wait()
        except RuntimeError as error:
            shortage = shortage_of(error, "lane")
            if shortage is None:
                raise
            refusal = Refusal.of(shortage)
        finally:
            self._is_closed = True
            self._end_waiting(refusal)
            self._orders.put(None)  # a thread that still waits ends, too
            self._reports.flush()

    def _end_waiting(self, refusal: Refusal | None) -> None:
        outcome = RangeOutcome.CLOSED if refusal is None else RangeOutcome.STORE_FAILED
        with contextlib.suppress(Empty):
            while True:
                order = self._orders.get_nowait()  # the thread may take the last one before
                if order is not None:
                    self._reports.put(RangeEnded(order.transfer, outcome, refusal=refusal))

    def _carry_out(self, order: CopyOrder) -> None:
        try:
            outcome, refusal = self._copy(order), None
        except Exception as error:  # noqa: BLE001 -- edge: effect → event
            known = error if isinstance(error, CkptdError) else shortage_of(error)
            if known is None:
                _log.exception("staging.copy_failed")
                known = StorageError("staging", repr(error))
            outcome, refusal = RangeOutcome.STORE_FAILED, Refusal.of(known)
        self._reports.put(RangeEnded(order.transfer, outcome, refusal=refusal))

    def _copy(self, order: CopyOrder) -> RangeOutcome:
        """Copy a range in groups of blocks.

        Raises:
            CkptdError: See :meth:`Staging.take`.
        """
        copier, received_bytes = self._copier_of(order.staging), 0
        for places, size_bytes in self._groups.of(order.space, order.blocks):
            self._wait_to_write(order, size_bytes)
            if self._is_closed:
                return RangeOutcome.CLOSED
            began_ns = time.monotonic_ns()
            with self._disk_calls.call():
                rejected = order.staging.take(places, copier)
            self._groups.adapt(size_bytes, time.monotonic_ns() - began_ns)
            received_bytes += size_bytes
            self._reports.put(
                RangeProgressed(order.transfer, received_bytes, places[-1].block + 1, rejected)
            )
            for wrong in copier.wrong:
                self._loop.call_soon_threadsafe(self._note_wrong, wrong)
            copier.wrong.clear()
        return RangeOutcome.DELIVERED

    def _copier_of(self, staging: Staging) -> BlockCopier:
        """Return what this lane copies with, with its buffer; another staging has another one."""
        if self._copier is None or self._copier[0] is not staging:
            self._copier = staging, staging.copier()
        return self._copier[1]

    def _wait_to_write(self, order: CopyOrder, size_bytes: int) -> None:
        flow = Flow(order.urgency, OWN_DISKS)
        while size_bytes and self._disk_write.is_limiting and not self._is_closed:
            size_bytes -= self._disk_write.take(flow, size_bytes, unless=lambda: self._is_closed)
