"""Looks at a pickle without unpickling it: what would be made is written down, and nothing is made.

A pickle is a program for a machine with a stack. This one knows texts, numbers, tuples, lists and
dictionaries; where the program would import a name or call something, it puts down which name and
with what. So no code runs, whoever wrote the pickle, and what a caller gets are values without
methods.

Nothing here goes down into values: they can be nested without end, or hold themselves, in few
bytes. For the same reason a dictionary is a list of pairs, for what has to be hashed is gone down
into. Whoever takes values apart knows how deep they should be.

Source: the comments of ``pickletools``, which also takes the bytes apart; it executes none of them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Final, NamedTuple

STEPS_MAX: Final = 2**23
"""Some ten seconds, and a hundred bytes for each at most. Metadata of 130,000 parts has as many."""

_IGNORED: Final = frozenset({"PROTO", "FRAME"})
_VALUES: Final = frozenset(
    {
        "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE",
        "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    }
)  # fmt: skip
"""What puts its argument onto the stack."""
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORING: Final = frozenset({"BINPUT", "LONG_BINPUT"})
_RECALLING: Final = frozenset({"BINGET", "LONG_BINGET"})


class Unexpected(Exception):
    """A pickle, or what is in it, is not what it should be."""


class Name(NamedTuple):
    """What would be imported.

    Attributes:
        module: From where.
        name: What.
    """

    module: str
    name: str


class Pairs(list[tuple[object, object]]):
    """A dictionary: its keys and values in the order in which they were put in."""

    __slots__ = ()


class Made:
    """What would be made by a call.

    Attributes:
        by: What would be called, as a rule a :class:`Name`.
        arguments: With what.
        state: What it would get then; ``None`` if nothing.
        pairs: What would be put into it by keys; ``None`` if nothing.
        elements: What would be appended to it; ``None`` if nothing.
    """

    __slots__ = ("arguments", "by", "elements", "pairs", "state")

    def __init__(self, by: object, arguments: object) -> None:
        self.by = by
        self.arguments = arguments
        self.state: object = None
        self.pairs: Pairs | None = None
        self.elements: list[object] | None = None


def outline_of(data: bytes) -> object:
    """Return what a pickle would make, as values that do nothing.

    Args:
        data: Protocol 2 or later.

    Raises:
        Unexpected: It is no pickle, or has more than :data:`STEPS_MAX` steps, or one that objects
            of data do not need.

    Cost: a microsecond for each step.
    """
    return _run(data, _Machine())


def persistent_ids_of(data: bytes) -> list[object]:
    """Return by which ids a pickle would ask for what is stored beside it, in their order.

    Args:
        data: Protocol 2 or later.

    Raises:
        Unexpected: As for :func:`outline_of`.
    """
    ids: list[object] = []
    _run(data, _Machine(ids))
    return ids


def _run(data: bytes, machine: _Machine) -> object:
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= STEPS_MAX:
                raise Unexpected(f"it has more than {STEPS_MAX} steps")
            if opcode.name == "STOP":
                break
            machine.take(opcode.name, argument)
    except ValueError as error:
        raise Unexpected(f"it is no pickle: {str(error)[:200]}") from error
    return machine.result()


class _Machine:
    """A stack, those that marks put aside, and the memo.

    Args:
        ids: Takes persistent ids; ``None``: there may be none.
    """

    def __init__(self, ids: list[object] | None = None) -> None:
        self._ids = ids
        self._stack: list[object] = []
        self._aside: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._steps: dict[str, Callable[[], None]] = {
            "MARK": self._mark,
            "POP": self._pop_one,
            "POP_MARK": self._pop_mark,
            "DUP": self._double,
            "MEMOIZE": self._memoize,
            "TUPLE": self._tuple,
            "EMPTY_LIST": self._empty_list,
            "EMPTY_SET": self._empty_list,
            "LIST": self._list,
            "FROZENSET": self._list,
            "APPEND": self._append,
            "APPENDS": self._append_all,
            "ADDITEMS": self._append_all,
            "EMPTY_DICT": self._empty_dict,
            "DICT": self._dict,
            "SETITEM": self._set,
            "SETITEMS": self._set_all,
            "STACK_GLOBAL": self._name,
            "NEWOBJ": self._make,
            "NEWOBJ_EX": self._make_by_names,
            "REDUCE": self._make,
            "BUILD": self._build,
        }
        if ids is not None:
            self._steps["BINPERSID"] = self._ask

    def take(self, step: str, argument: object) -> None:
        """Take a step.

        Raises:
            Unexpected: There is nothing that it could be taken with, or it is not known.
        """
        if step in self._steps:
            self._steps[step]()
        elif step in _VALUES:
            self._stack.append(argument)
        elif step in _RECALLING and isinstance(argument, int):
            self._stack.append(self._recalled(argument))
        elif step in _STORING and isinstance(argument, int):
            self._memo[argument] = self._top()
        elif step in _CONSTANTS:
            self._stack.append(_CONSTANTS[step])
        elif step in _TUPLES:
            self._put_tuple(_TUPLES[step])
        elif step == "GLOBAL" and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            self._stack.append(Name(module, name))
        elif step not in _IGNORED:
            raise Unexpected(f"it has the step {step}")

    def result(self) -> object:
        """Return what is on top in the end.

        Raises:
            Unexpected: Nothing is.
        """
        return self._pop()

    def _recalled(self, at: int) -> object:
        if at not in self._memo:
            raise Unexpected(f"nothing has the number {at} in its memo")
        return self._memo[at]

    def _top(self) -> object:
        if not self._stack:
            raise Unexpected("its stack is empty")
        return self._stack[-1]

    def _pop(self) -> object:
        top = self._top()
        self._stack.pop()
        return top

    def _items(self) -> list[object]:
        """Return what was put onto the stack since the last mark."""
        if not self._aside:
            raise Unexpected("it has no mark")
        items, self._stack = self._stack, self._aside.pop()
        return items

    def _mark(self) -> None:
        self._aside.append(self._stack)
        self._stack = []

    def _pop_one(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._items()

    def _pop_mark(self) -> None:
        self._items()

    def _double(self) -> None:
        self._stack.append(self._top())

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def _put_tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise Unexpected("its stack is empty")
        items = tuple(self._stack[-count:])
        self._stack[-count:] = [items]

    def _tuple(self) -> None:
        items = tuple(self._items())
        self._stack.append(items)

    def _empty_list(self) -> None:
        self._stack.append([])

    def _list(self) -> None:
        items = self._items()
        self._stack.append(items)

    def _append(self) -> None:
        item = self._pop()
        self._sequence().append(item)

    def _append_all(self) -> None:
        items = self._items()
        self._sequence().extend(items)

    def _empty_dict(self) -> None:
        self._stack.append(Pairs())

    def _dict(self) -> None:
        pairs = _paired(self._items())
        self._stack.append(pairs)

    def _set(self) -> None:
        value, key = self._pop(), self._pop()
        self._mapping().append((key, value))

    def _set_all(self) -> None:
        pairs = _paired(self._items())
        self._mapping().extend(pairs)

    def _sequence(self) -> list[object]:
        top = self._top()
        if isinstance(top, Made):
            top.elements = [] if top.elements is None else top.elements
            return top.elements
        if not isinstance(top, list) or isinstance(top, Pairs):
            raise Unexpected("it appends to what is no list")
        return top

    def _mapping(self) -> Pairs:
        top = self._top()
        if isinstance(top, Made):
            top.pairs = Pairs() if top.pairs is None else top.pairs
            return top.pairs
        if not isinstance(top, Pairs):
            raise Unexpected("it sets items of what is no dictionary")
        return top

    def _name(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Unexpected("it imports what is no name")
        self._stack.append(Name(module, name))

    def _make(self) -> None:
        arguments, by = self._pop(), self._pop()
        self._stack.append(Made(by, arguments))

    def _make_by_names(self) -> None:
        names, arguments, by = self._pop(), self._pop(), self._pop()
        self._stack.append(Made(by, (arguments, names)))

    def _ask(self) -> None:
        assert self._ids is not None
        asked = self._pop()
        self._ids.append(asked)
        self._stack.append(Made(None, asked))

    def _build(self) -> None:
        state = self._pop()
        top = self._top()
        if not isinstance(top, Made) or top.state is not None:
            raise Unexpected("it gives a state to what was not just made")
        top.state = state


def _paired(items: list[object]) -> Pairs:
    if len(items) % 2:
        raise Unexpected("it has a key without a value")
    return Pairs(zip(items[::2], items[1::2], strict=True))
