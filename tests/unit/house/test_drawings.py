"""Drawings in the documents are as the tables in the code say."""

from __future__ import annotations

import pytest

from ckptd.model.life import drawing
from tests.house.drawings import LIFE, PROJECT, with_drawing


def test_the_life_of_a_version_is_drawn_as_the_table_says() -> None:
    document = (PROJECT / LIFE).read_text()
    assert with_drawing(document) == document, "make manual"
    assert drawing() in document


def test_a_drawing_that_is_not_as_the_table_says_is_written_again() -> None:
    document = (PROJECT / LIFE).read_text()
    assert with_drawing(document.replace("activate, recover --activate", "magic")) == document


def test_a_document_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_drawing("nothing")
