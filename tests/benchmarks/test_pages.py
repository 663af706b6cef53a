"""Blocks of figures in pages."""

import pytest
from pages import with_block

PAGE = "before\n<!-- table -->\nold\n<!-- end -->\nafter\n<!-- table 2 -->\nother\n<!-- end -->\n"


def test_a_page_receives_its_table_between_its_marks():
    assert with_block(PAGE, "table", "new | \\1\n\nmore") == PAGE.replace("old", "new | \\1\n\nmore")
    assert with_block(PAGE, "table 2", "new") == PAGE.replace("other", "new")


@pytest.mark.parametrize("page", ["", "<!-- table -->\nold\n", "<!-- other -->\nold\n<!-- end -->\n"])
def test_a_page_without_the_marks_is_refused(page):
    with pytest.raises(ValueError, match="has no <!-- table --> ... <!-- end -->"):
        with_block(page, "table", "new")
