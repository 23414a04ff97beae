"""Tables at any width: every word and id can be read."""

import pytest

from volano.cli import output
from volano.cli.output import print_table

ID = "chatcmpl-0123456789abcdef0123456789abcdef"


@pytest.fixture
def columns_wide(monkeypatch):
    from rich.console import Console

    def at(width):
        monkeypatch.setattr(output, "console", lambda: Console(highlight=False, width=width))

    return at


def print_findings():
    rows = [("F1", "wrong name of a function", "1,234", "56", "78", "12.3 % [10.0, 14.6]")]
    numbers = ["cases", "held out", "of its kind", "of all judged"]
    print_table(["finding", "what", *numbers], rows, title="What fails", right=numbers)


def test_a_table_that_would_tear_its_words_becomes_a_block_for_each_row(capsys, columns_wide):
    columns_wide(60)
    print_findings()
    said = capsys.readouterr().out
    assert "What fails\n\nfinding: F1\nwhat: wrong name of a function\ncases: 1,234\n" in said
    columns_wide(90)
    print_findings()
    assert "│ F1 " in capsys.readouterr().out


def test_ids_and_times_stay_on_one_line_and_markup_is_text_at_any_width(capsys, columns_wide):
    for width in (40, 70, 120):
        columns_wide(width)
        row = (f"2026-01-31 12:00:00\n{ID}", "a long text " * 9, "[b]hi[/x]")
        print_table(["time, request", "asked", "said"], [row], whole=["time, request"])
        said = capsys.readouterr().out
        assert ID in said
        assert "2026-01-31 12:00:00" in said
        assert "[b]hi[/x]" in said
        assert "\\[b]" not in said
