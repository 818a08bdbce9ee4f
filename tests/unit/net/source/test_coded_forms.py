"""A coded form is made once, found by who asks for the same, and kept while there is room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ckptd.limits import KIB
from ckptd.model.words import Coder
from ckptd.net.source.coded_forms import FORM_BYTES, CodedForm, CodedForms, FormKey

CODERS = frozenset({Coder.DELTA, Coder.ZSTD})
KEY = FormKey(b"block", b"base", CODERS)
OTHERS = (
    KEY._replace(block=b"another"),
    KEY._replace(base=b""),
    KEY._replace(coders=frozenset({Coder.DELTA})),
)


def form(size_bytes: int = 4) -> CodedForm:
    return CodedForm(Coder.DELTA, 2, (bytes(size_bytes),))


def make(forms: CodedForms, key: FormKey, made: CodedForm | None) -> None:
    assert forms.claim(key) is None, "nobody made it before"
    forms.release(key, made)


def kept(forms: CodedForms, *keys: FormKey) -> list[bool]:
    """Return whether there are forms; what is claimed for that is released."""
    found = []
    for key in keys:
        there = forms.claim(key)
        if there is None:
            forms.release(key, None)
        found.append(there is not None)
    return found


def test_what_was_made_is_found_by_who_asks_for_the_same() -> None:
    forms, made = CodedForms(), form()
    make(forms, KEY, made)
    assert [forms.claim(KEY) for _ in range(2)] == [made] * 2
    assert (forms.made, forms.shared) == (1, 2)


@pytest.mark.parametrize("other", OTHERS, ids=["block", "base", "coders"])
def test_what_differs_in_anything_is_made_by_itself(other: FormKey) -> None:
    forms = CodedForms()
    make(forms, KEY, form())
    assert kept(forms, KEY, other) == [True, False]


def test_of_those_who_come_together_one_makes_it_and_others_wait_for_it() -> None:
    forms, made = CodedForms(), form()
    with ThreadPoolExecutor(3) as threads:
        assert forms.claim(KEY) is None
        waiting = [threads.submit(forms.claim, KEY) for _ in range(3)]
        forms.release(KEY, made)
        assert [each.result() for each in waiting] == [made] * 3
    assert (forms.made, forms.shared) == (1, 3)


def test_where_nothing_was_made_each_who_waits_may_try() -> None:
    forms, made = CodedForms(), form()
    tries = iter((None, made))

    def follow() -> CodedForm | None:
        found = forms.claim(KEY)
        if found is None:
            forms.release(KEY, next(tries))
        return found

    with ThreadPoolExecutor(3) as threads:
        assert forms.claim(KEY) is None
        waiting = [threads.submit(follow) for _ in range(3)]
        forms.release(KEY, None)
        found = [each.result() for each in waiting]
    assert sorted(found, key=bool) == [None, None, made]
    assert (forms.made, forms.shared) == (1, 1)


def test_the_oldest_ones_go_when_there_is_no_room() -> None:
    forms = CodedForms(2 * (FORM_BYTES + KIB))
    for key in (KEY, *OTHERS[:2]):
        make(forms, key, form(KIB))
    assert kept(forms, KEY, *OTHERS) == [False, True, True, False]


def test_what_has_no_room_at_all_is_not_kept_and_drives_nothing_out() -> None:
    forms = CodedForms(FORM_BYTES + KIB)
    make(forms, KEY, form(KIB))
    make(forms, OTHERS[0], form(KIB + 1))
    assert kept(forms, KEY, OTHERS[0]) == [True, False]


def test_what_was_forgotten_is_made_again_and_has_all_of_the_room() -> None:
    forms = CodedForms(FORM_BYTES + KIB)
    make(forms, KEY, form(KIB))
    forms.clear()
    assert kept(forms, KEY) == [False]
    make(forms, KEY, form(KIB))
    assert kept(forms, KEY) == [True]


def test_what_is_being_made_while_all_is_forgotten_still_counts() -> None:
    forms = CodedForms()
    assert forms.claim(KEY) is None
    forms.clear()
    forms.release(KEY, form())
    assert kept(forms, KEY) == [True]
