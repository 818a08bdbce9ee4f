"""Which method answers which row of the API; wrong ones are found when the daemon starts."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Final, TypeAlias, get_type_hints

from ckptd.control.roles import Caller
from ckptd.control.routes import ROUTES, Route
from ckptd.control.server.handing import Handing

Answering: TypeAlias = Callable[..., object]

CALLER: Final = "caller"
"""A method with a parameter of this name is given who asks."""
HANDING: Final = "handing"
"""One with a parameter of this name can let descriptors go with messages."""


def methods_by_name(parts: Iterable[object]) -> dict[str, Answering]:
    """Return the public methods of what answers. Functions that it was only given are none.

    Raises:
        TypeError: Two have the same name.
    """
    found: dict[str, Answering] = {}
    for part in parts:
        for name, _ in inspect.getmembers(type(part), inspect.isroutine):
            if name.startswith("_"):
                continue
            if name in found:
                raise TypeError(f"{name!r} is answered by {part!r} and {found[name]!r}")
            found[name] = getattr(part, name)
    return found


def bind(methods: Mapping[str, Answering]) -> dict[Route[..., object], Answering]:
    """Return what answers each row.

    Args:
        methods: The methods by name: all and only those that are named as a row, each with the
            parameters and the answer of that row. It may be a coroutine; of a stream it is an
            asynchronous generator.

    Raises:
        TypeError: A row has no method, a method has no row, or they do not fit.
    """
    wrong = methods.keys() ^ {route.name for route in ROUTES}
    if wrong:
        raise TypeError(f"only a row or only a method: {', '.join(sorted(wrong))}")
    for route in ROUTES:
        _check(route, methods[route.name])
    return {route: methods[route.name] for route in ROUTES}


def _check(route: Route[..., object], method: Answering) -> None:
    """Compare a method with its row.

    Raises:
        TypeError: It takes or answers something else.
    """
    hints = get_type_hints(method)
    answers = hints.pop("return", None)
    taken = [(name, hints.get(name)) for name in inspect.signature(method).parameters]
    for given in ((CALLER, Caller), (HANDING, Handing)):
        if given in taken:
            taken.remove(given)
    shape = route.shape
    expected: list[tuple[str, object]] = [(name, str) for name in shape.names]
    if shape.request is not None:
        name = taken[-1][0] if taken else "request"
        expected.append((name, shape.request))
    answer = AsyncGenerator[shape.answer, None] if shape.is_stream else shape.answer  # type: ignore[name-defined]
    if (taken, answers) != (expected, answer):
        raise TypeError(
            f"{route.name!r} takes {taken} and answers {answers}; "
            f"its row takes {expected} and answers {answer}"
        )
