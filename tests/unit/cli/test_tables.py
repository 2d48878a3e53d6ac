from __future__ import annotations

from knarr.cli.tables import align


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert align("ID\tNAME\tX\nabcdefghijkl\tb\ty\n") == "ID             NAME      X\nabcdefghijkl   b         y\n"


def test_what_follows_the_last_tab_is_no_column() -> None:
    assert align("a\tvery long text without a tab\nb\tc\n") == "a         very long text without a tab\nb         c\n"


def test_a_column_ends_where_a_line_has_no_cell_in_it() -> None:
    assert align("a long cell of text\tx\nnone\nb\tx\n") == "a long cell of text   x\nnone\nb         x\n"


def test_width_is_counted_in_characters() -> None:
    assert align("ÆØÅ…\tx\n", least=0) == "ÆØÅ…   x\n"
