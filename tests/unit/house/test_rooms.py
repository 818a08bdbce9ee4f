"""The report about the source finds what is above an aim, and who said why."""

from __future__ import annotations

import pytest

from tests.house import rooms
from tests.house.rooms import Reason, Row, read_reasons, report
from tests.house.source_tree import Module

FOUR_ARGUMENTS = "def f(a, b, *, c, d):\n    '''Do.'''\n"
RAISES = "def f():\n    '''Do.'''\n    raise ValueError('no')\n"


def test_a_folder_with_thirteen_modules_is_above_the_aim_and_init_does_not_count() -> None:
    twelve = [Module(f"a/m{n}.py", "") for n in range(12)]
    assert rooms.full_folders([*twelve, Module("a/__init__.py", "")]) == []
    assert rooms.full_folders([*twelve, Module("a/one_more.py", "")]) == [Row("a/", 13)]


def test_modules_of_the_package_itself_are_a_folder() -> None:
    assert rooms.full_folders([Module(f"m{n}.py", "") for n in range(13)]) == [Row("./", 13)]


def test_a_module_of_401_lines_is_above_the_aim() -> None:
    modules = [Module("a.py", "\n" * 400), Module("b.py", "\n" * 401), Module("c.py", "\n" * 500)]
    assert rooms.long_modules(modules) == [Row("c.py", 500), Row("b.py", 401)]


def test_a_method_of_71_lines_is_above_the_aim() -> None:
    def source(lines: int) -> str:
        return "class A:\n    def f(self):\n" + "        x = 1\n" * (lines - 1)

    assert rooms.long_functions([Module("a/b.py", source(70))]) == []
    assert rooms.long_functions([Module("a/b.py", source(71))]) == [Row("a/b.py:A.f", 71)]


@pytest.mark.parametrize(
    "head",
    [
        "@dataclass\nclass A:\n",
        "@dataclass(frozen=True)\nclass A:\n",
        "class A(msgspec.Struct):\n",
        "class A(NamedTuple):\n",
    ],
)
def test_a_record_of_21_fields_is_above_the_aim(head: str) -> None:
    twenty = "".join(f"    f{n}: int = 0\n" for n in range(20))
    assert rooms.wide_records([Module("a.py", head + twenty)]) == []
    assert rooms.wide_records([Module("a.py", head + twenty + "    g: ClassVar[int]\n")]) == []
    assert rooms.wide_records([Module("a.py", head + twenty + "    g: int\n")]) == [
        Row("a.py:A", 21)
    ]


def test_a_class_that_is_no_record_may_declare_what_it_likes() -> None:
    source = "class A:\n" + "".join(f"    f{n}: int\n" for n in range(30))
    assert rooms.wide_records([Module("a.py", source)]) == []


def test_a_name_of_classes_in_two_modules_is_found() -> None:
    modules = [Module("a.py", "class A: ...\nclass B: ...\n"), Module("b/c.py", "class A: ...\n")]
    assert rooms.classes_twice(modules) == [Row("A", 2, "a, b.c")]


def test_a_name_of_two_modules_is_found_and_init_is_none() -> None:
    modules = [Module(path, "") for path in ("a/x.py", "b/x.py", "a/__init__.py", "b/__init__.py")]
    assert rooms.stems_twice(modules) == [Row("x", 2, "a/, b/")]


def test_a_small_module_with_one_user_is_a_function_of_its_neighbour() -> None:
    small = Module("a/small.py", '"""Comments and docstrings are no code."""\n# so\nX = 1\n')
    one = Module("a/one.py", "from ckptd.a.small import X\n" * 41)
    two = Module("b/two.py", "from ckptd.a import small\n" * 41)
    assert rooms.functions_of_their_neighbour([small, one]) == [
        Row("a/small.py", 1, "only for a/one.py")
    ]
    assert rooms.functions_of_their_neighbour([small, one, two]) == []
    assert rooms.functions_of_their_neighbour([small]) == []


def test_a_module_of_41_lines_of_code_stands_for_itself() -> None:
    user = Module("b.py", "from ckptd.a import X\n" * 50)
    assert rooms.functions_of_their_neighbour([Module("a.py", "X = 1\n" * 41), user]) == []


@pytest.mark.parametrize(
    ("source", "lacking"),
    [
        (FOUR_ARGUMENTS, "Args:"),
        (RAISES, "Raises:"),
        ("async " + RAISES, "Raises:"),
        ("class A:\n    def f(self, a, b, c, d): ...\n", "Args:"),
        ("def f(a, b, c, d):\n    raise ValueError\n", "Args: Raises:"),
    ],
)
def test_a_public_function_lacks_sections(source: str, lacking: str) -> None:
    (row,) = rooms.undocumented([Module("a.py", source)])
    assert row.detail == lacking


@pytest.mark.parametrize(
    "source",
    [
        FOUR_ARGUMENTS.replace("Do.", "Do.\n\n    Args:\n        a: One.\n    "),
        RAISES.replace("Do.", "Do.\n\n    Raises:\n        ValueError: Always.\n    "),
        FOUR_ARGUMENTS.replace("def f", "def _f"),
        "class _A:\n    def f(self, a, b, c, d): ...\n",
        "class A:\n    def f(self, a, b, c): ...\n",
        "def f():\n    try:\n        g()\n    except OSError:\n        raise\n",
        "def f():\n    def g():\n        raise ValueError\n",
    ],
)
def test_a_function_that_is_documented_or_needs_nothing_is_no_row(source: str) -> None:
    assert rooms.undocumented([Module("a.py", source)]) == []


REASONS = f"""# Title

* `not/here.py`: another list.

{rooms.REASONS_HEADING}

What the report shows.

* `a.py`, `sim/*`: they are long
  for a reason: this.
* `Lane`: both ends have one.

## Next

* `b.py`: not a reason.
"""


def test_reasons_are_the_items_below_their_heading() -> None:
    assert read_reasons(REASONS) == [
        Reason(("a.py", "sim/*"), "they are long for a reason: this."),
        Reason(("Lane",), "both ends have one."),
    ]


def test_a_document_without_the_heading_has_no_reasons() -> None:
    assert read_reasons("* `a.py`: no.\n") == []


def test_rows_without_a_reason_stand_first_and_unneeded_reasons_last() -> None:
    modules = [Module("a.py", "\n" * 900), Module("b.py", "\n" * 401)]
    reasons = [Reason(("a.py",), "It is a table."), Reason(("gone.py",), "It was long.")]
    lines = list(report(modules, reasons))
    first = lines.index("lines of a module (aim: 400): 2, 1 without a reason")
    assert lines[first + 1 : first + 3] == [
        "   401  b.py  NO REASON",
        "   900  a.py  (It is a table.)",
    ]
    assert lines[-2:] == ["reasons that nothing needs: 1", "  gone.py"]


def test_a_topic_is_at_most_a_screen() -> None:
    modules = [Module(f"m{n:03}/x.py", "\n" * 401) for n in range(100)]
    lines = list(report(modules, []))
    first = next(n for n, line in enumerate(lines) if line.startswith("lines of a module"))
    topic = lines[first : lines.index("", first)]
    assert len(topic) == 1 + rooms.ROWS_MAX + 1
    assert topic[-1] == "        and 60 more"


def test_no_line_is_wider_than_a_screen() -> None:
    reasons = [Reason(("*",), "word " * 100)]
    lines = list(report([Module("a.py", "\n" * 401)], reasons))
    assert max(map(len, lines)) == rooms.WIDTH


def test_the_report_about_ckptd_runs(capsys: pytest.CaptureFixture[str]) -> None:
    rooms.main()
    printed = capsys.readouterr().out
    assert all(topic.title in printed for topic in rooms.TOPICS)
