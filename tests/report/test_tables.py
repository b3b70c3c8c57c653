"""Tables: the same values in four renderings, the best of each column marked once and rightly."""

import csv
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from recon.report.tables import Column, Table, decimals_for, number

ROWS = [
    {"method": "spline", "chamfer_l1": 0.00055, "iou": 0.981, "faces": 123456, "seconds": 21.5},
    {"method": "poisson | <b>", "chamfer_l1": 0.0021, "iou": 0.99, "faces": None, "seconds": 2.0},
    {"method": "igr", "chamfer_l1": float("nan"), "iou": np.float64(0.5), "faces": 7},
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00055, "0.000550"),
        (12.3456, "12.3"),
        (3.0, "3"),
        (-2, "−2"),
        (1234567, "1\u202f234\u202f567"),
        (3.2e-12, "3.20e-12"),
        (-3.2e-12, "−3.20e-12"),
        (float("nan"), "nan"),
        (float("-inf"), "−∞"),
        (123.456, "123"),
    ],
)
def test_numbers_have_sensible_digits(value, text):
    assert number(value) == text


def test_a_column_shares_its_decimals():
    cells = Table(ROWS).cells()
    assert [row[1][0] for row in cells] == ["0.000550", "0.002100", "nan"]
    assert [row[2][0] for row in cells] == ["0.981", "0.990", "0.500"]
    assert decimals_for([0.0, 0.02, 5.0]) == 4


def test_one_tiny_value_does_not_spread():
    cells = Table([{"x": v} for v in (1e-9, 0.5, 0.7)]).cells()
    assert all(len(text) <= 7 for ((text, _),) in cells)


def test_the_best_is_marked_by_direction():
    best = [[mark for _, mark in row] for row in Table(ROWS).cells()]
    assert best == [[False, True, False, False, False], [False, False, True, False, True], [False] * 5]
    turned = Table(ROWS, [Column("chamfer_l1", better="max"), Column("faces")])
    assert [row[0][1] for row in turned.cells()] == [False, True, False]
    assert not any(mark for row in Table(ROWS[:1]).cells() for _, mark in row)  # alone is not best


@pytest.mark.parametrize(
    ("key", "better"),
    [("chamfer_l1", "min"), ("val/iou", "max"), ("fscore@0.01", "max"), ("seconds", "min"), ("faces", None)],
)
def test_directions_are_read_off_names(key, better):
    assert Column.guess(key).better == better


def test_csv_keeps_every_digit_and_leaves_missing_values_empty():
    rows = list(csv.DictReader(io.StringIO(Table(ROWS).csv())))
    assert float(rows[0]["chamfer_l1"]) == 0.00055
    assert rows[1]["faces"] == ""
    assert rows[2]["seconds"] == ""
    assert rows[1]["method"] == "poisson | <b>"
    assert rows[2]["iou"] == "0.5"


def test_markdown_survives_bars_and_tags():
    lines = Table(ROWS, title="t", caption="c").markdown().splitlines()
    body = [line for line in lines if line.startswith("|")]
    assert len(body) == 5
    assert "poisson \\| &lt;b>" in body[3]
    assert "**0.000550**" in body[2]
    assert lines[0] == "**t**"
    assert lines[-1] == "c"


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_html_escapes_and_marks():
    parser = _Cells()
    parser.feed(Table(ROWS, [Column("method"), Column("chamfer_l1", "Chamfer", "m", "min")]).html())
    assert "b" not in parser.tags
    assert "poisson | <b>" in parser.texts
    assert parser.tags.count("strong") == 1
    assert parser.tags.count("td") == 6
    assert "m" in parser.texts


def test_rich_shows_what_users_wrote_and_not_their_markup():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(Table([{"path": "[bold]a[/bold].ply", "x": 1.5}], title="a [red]title").rich())
    text = console.export_text()
    assert "[bold]a[/bold].ply" in text
    assert "a [red]title" in text


def test_an_empty_table_is_a_table():
    assert Table([], [Column("a")]).csv() == "a\n"
    assert Table([]).markdown()
    assert "<table>" in Table([], [Column("a")]).html()
