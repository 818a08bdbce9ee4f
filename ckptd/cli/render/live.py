"""Shows progress until something ends: in place on a terminal, as lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TextIO, TypeAlias, TypeVar

from ckptd.cli.render.life_cycle_text import removing_picture
from ckptd.cli.render.materialise_text import materialising_picture
from ckptd.cli.render.recoveries_text import progress_picture
from ckptd.cli.render.text import (
    WIDTH,
    Picture,
    json_line,
    picture_of,
    printable,
    publishing_picture,
)
from ckptd.cli.render.verify_text import verifying_picture
from ckptd.control.client import ControlClient
from ckptd.control.messages.checkpoints import (
    PublishProgress,
    PublishRequest,
    PublishResult,
    PublishUnits,
    PublishWanted,
)
from ckptd.control.messages.life_cycle import RemoveProgress, RemoveRequest, RemoveResult
from ckptd.control.messages.materialising import (
    MaterialiseProgress,
    MaterialiseRequest,
    MaterialiseResult,
)
from ckptd.control.messages.recovery_results import (
    RecoveryMilestone,
    RecoveryProgress,
    RecoveryResult,
)
from ckptd.control.messages.retention import CollectedRow, CollectRequest, CollectResult
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.control.messages.verifications import (
    BadUnit,
    RepairBegun,
    VerifyProgress,
    VerifyRequest,
    VerifyResult,
)
from ckptd.errors import DaemonUnreachable

LINE_INTERVAL_S: Final = 10.0
"""Often enough to see that it is alive, rarely enough not to fill a log."""

RECONNECT_TIMEOUT_S: Final = 30.0
"""A daemon that restarts is back within seconds; it goes on with its recoveries by itself."""

_RECONNECT_INTERVAL_S: Final = 0.5
_LOOK_S: Final = 1.0
"""As often as a stream reports progress."""

Show: TypeAlias = Callable[[Picture], None]
_Event = TypeVar("_Event")


class PlainLines:
    """A line at each change of stage, and every 10 s."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage = ""
        self._next_s = 0.0

    def show(self, picture: Picture) -> None:
        """Print the picture's line, if it is time."""
        now_s = self._clock()
        if picture.stage != self._stage or now_s >= self._next_s:
            print(picture.line, file=self._stream, flush=True)
            self._stage = picture.stage
            self._next_s = now_s + LINE_INTERVAL_S


@contextlib.contextmanager
def showing() -> Iterator[Show]:
    """Show pictures on standard error for as long as the context lasts."""
    if not sys.stderr.isatty():
        yield PlainLines(sys.stderr).show
        return
    # rich doubles the start time of a command; scripts do not need it.
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True)
    if console.no_color or console.is_dumb_terminal:
        yield PlainLines(sys.stderr).show
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(picture: Picture) -> None:
            text = Text("\n".join(picture.lines), no_wrap=True, overflow="ellipsis")
            text.stylize("bold", 0, len(picture.lines[0]))
            live.update(text, refresh=True)

        yield show


@contextlib.contextmanager
def silence() -> Iterator[Show]:
    """Show nothing: the events themselves are the output."""
    yield lambda _: None


def follow_recovery(
    client: ControlClient, recovery: str, *, as_json: bool, timeout_s: float | None
) -> RecoveryResult:
    """Show a recovery until it ends.

    Args:
        client: Whom to ask.
        recovery: Which one.
        as_json: Print each event on standard output instead of showing it.
        timeout_s: How long at most; ``None`` for as long as it takes.

    Raises:
        TimeoutError: It has not ended by then.
        DaemonUnreachable: The daemon was away for 30 s.
    """
    client = client.until(None if timeout_s is None else time.monotonic() + timeout_s)
    with silence() if as_json else showing() as show:
        for event in across_restarts(lambda: client.watch(recovery)):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case RecoveryProgress():
                    show(picture_of(event.view, _width()))
                case RecoveryMilestone():
                    pass  # the pictures of its phases say it
                case RecoveryResult():
                    return event
    raise AssertionError("a watch ends with a result or raises")


def follow_recoveries(
    client: ControlClient,
    views: Sequence[RecoveryView],
    *,
    as_json: bool,
    deadline_s: float | None = None,
) -> Iterator[RecoveryResult]:
    """Show several recoveries in one table until all have ended.

    Args:
        client: Whom to ask.
        views: Which ones.
        as_json: Print the events of each on standard output instead.
        deadline_s: Until when, by ``time.monotonic()``; ``None``: for as long as it takes.

    Yields:
        How each ended, when it has.

    Raises:
        TimeoutError: They have not all ended by then.
        DaemonUnreachable: The daemon was away for 30 s.
    """
    client = client.until(deadline_s)
    shown = {view.recovery: view for view in views}
    waited_for = list(shown)
    with silence() if as_json else showing() as show:
        while True:
            known = {
                view.recovery: view for view in across_restarts(lambda: iter(client.recoveries()))
            }
            shown |= {recovery: known[recovery] for recovery in shown if recovery in known}
            show(progress_picture(list(shown.values()), _width()))
            for recovery in list(waited_for):
                if recovery in known and not known[recovery].stage.is_ended:
                    if as_json:
                        print(json_line(RecoveryProgress(view=known[recovery])), flush=True)
                    continue
                waited_for.remove(recovery)
                yield _result_of(client, recovery, as_json=as_json)
            if not waited_for:
                return
            left_s = math.inf if deadline_s is None else max(deadline_s - time.monotonic(), 0)
            time.sleep(min(_LOOK_S, left_s))  # noqa: TID251 -- a command has nothing else to do


def _result_of(client: ControlClient, recovery: str, *, as_json: bool) -> RecoveryResult:
    """Return how a recovery ended that has; its watch has nothing else to say."""
    for event in across_restarts(lambda: client.watch(recovery)):
        if isinstance(event, RecoveryResult):
            if as_json:
                print(json_line(event), flush=True)
            return event
    raise AssertionError("a watch ends with a result or raises")


def _width() -> int:
    """Return how wide a picture may be on this terminal."""
    with contextlib.suppress(OSError, ValueError):
        return min(max(os.get_terminal_size(sys.stderr.fileno()).columns, 1), WIDTH)
    return WIDTH


def across_restarts(begin: Callable[[], Iterator[_Event]]) -> Iterator[_Event]:
    """Yield the events of a stream; retry for 30 s when the daemon does not answer.

    Raises:
        DaemonUnreachable: It was away for longer.
    """
    lost_s: float | None = None
    while True:
        try:
            for event in begin():
                lost_s = None
                yield event
        except DaemonUnreachable as error:
            now_s = time.monotonic()
            if lost_s is None:
                lost_s = now_s
                print(
                    f"ckptctl: {printable(str(error))} "
                    f"Trying again for {RECONNECT_TIMEOUT_S:.0f}s.",
                    file=sys.stderr,
                )
            if now_s - lost_s >= RECONNECT_TIMEOUT_S:
                raise
            time.sleep(_RECONNECT_INTERVAL_S)  # noqa: TID251 -- a command has nothing else to do
        else:
            return


def follow_publishing(
    client: ControlClient, request: PublishRequest, *, as_json: bool
) -> PublishResult:
    """Publish a directory and show the progress.

    Args:
        client: The daemon.
        request: What to publish, and whether files are passed that the daemon may not open.
        as_json: Print each event.

    Raises:
        CkptdError: It cannot be published.
    """
    with silence() if as_json else showing() as show:
        publish = client.publish_passing if request.passes_files else client.publish
        for event in publish(request):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case PublishProgress():
                    show(publishing_picture(event))
                case PublishResult():
                    return event
                case PublishUnits():
                    pass  # asked for as JSON alone
                case PublishWanted():
                    raise AssertionError("is asked of those only who pass files")
    raise AssertionError("a publishing ends with a result or raises")


def follow_materialising(
    client: ControlClient, request: MaterialiseRequest, *, as_json: bool
) -> MaterialiseResult:
    """Make a full version of a chain and show the progress.

    Raises:
        CkptdError: It cannot be made.
    """
    with silence() if as_json else showing() as show:
        for event in client.materialise(request):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case MaterialiseProgress():
                    show(materialising_picture(event))
                case MaterialiseResult():
                    return event
    raise AssertionError("materialising ends with a result or raises")


def follow_removing(
    client: ControlClient, request: RemoveRequest, *, as_json: bool
) -> RemoveResult:
    """Remove a version and show the progress.

    Raises:
        CkptdError: It cannot be removed.
    """
    with silence() if as_json else showing() as show:
        for event in client.remove(request):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case RemoveProgress():
                    show(removing_picture(event))
                case RemoveResult():
                    return event
    raise AssertionError("a removal ends with a result or raises")


def follow_collecting(
    client: ControlClient, request: CollectRequest, *, as_json: bool
) -> tuple[list[CollectedRow], CollectResult]:
    """Remove what nothing keeps; return what became of each version, and the sum.

    Raises:
        CkptdError: It cannot be removed.
    """
    rows: list[CollectedRow] = []
    for event in client.collect(request):
        if as_json:
            print(json_line(event), flush=True)
        match event:
            case CollectedRow():
                rows.append(event)
            case CollectResult():
                return rows, event
    raise AssertionError("it ends with a result or raises")


def follow_verifying(
    client: ControlClient, request: VerifyRequest, *, as_json: bool
) -> tuple[list[BadUnit], list[RepairBegun], VerifyResult]:
    """Verify what is on offer and show the progress; return what is not right, and the sum.

    Returns:
        What is not right, what is put right, and the sum.

    Raises:
        CkptdError: It cannot be verified.
    """
    bad: list[BadUnit] = []
    repairs: list[RepairBegun] = []
    with silence() if as_json else showing() as show:
        for event in client.verify(request):
            if as_json:
                print(json_line(event), flush=True)
            match event:
                case VerifyProgress():
                    show(verifying_picture(event))
                case BadUnit():
                    bad.append(event)
                case RepairBegun():
                    repairs.append(event)
                case VerifyResult():
                    return bad, repairs, event
    raise AssertionError("a verification ends with a result or raises")
