"""`Table`: one table, four renderings (terminal, markdown, csv, html), the best value of a column in bold.

Numbers of one column share their decimals, so that they can be compared at a glance; csv keeps all digits.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from rich.markup import escape as rich_escape
from rich.table import Table as RichTable

DIGITS = 3  # significant digits of the smallest value of a column that are shown
MISSING = "–"
MINUS = "\N{MINUS SIGN}"

LOWER_IS_BETTER = (
    "chamfer",
    "hausdorff",
    "accuracy",
    "completeness",
    "error",
    "loss",
    "seconds",
    "time",
    "memory",
    "distance",
    "rmse",
)
HIGHER_IS_BETTER = ("iou", "fscore", "f_score", "normal_consistency", "psnr", "ssim", "precision", "recall")


@dataclass(frozen=True)
class Column:
    """A column of numbers or words.

    Attributes:
        key: the name in the rows.
        title: the heading; the key where none is given.
        unit: shown behind the heading.
        better: which value is the best; None marks none.
    """

    key: str
    title: str = ""
    unit: str = ""
    better: Literal["min", "max"] | None = None

    @classmethod
    def guess(cls, key: str) -> Column:
        """A column whose direction is read off a metric's name, e.g. ``chamfer_l1`` or ``val/iou``."""
        name = key.lower().rsplit("/", 1)[-1]
        if any(word in name for word in HIGHER_IS_BETTER):
            return cls(key, better="max")
        return cls(key, better="min" if any(word in name for word in LOWER_IS_BETTER) else None)

    @property
    def heading(self) -> str:
        return f"{self.title or self.key} [{self.unit}]" if self.unit else self.title or self.key


@dataclass(frozen=True)
class Table:
    """Rows with named values.

    Attributes:
        rows: one mapping a row; a key that is absent or None is a missing value.
        columns: in the order shown; None takes every key of the rows and guesses directions.
        title: said above the table.
        caption: said below it.
    """

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Column] | None = None
    title: str = ""
    caption: str = ""
    _columns: tuple[Column, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        keys = dict.fromkeys(key for row in self.rows for key in row)
        columns = self.columns if self.columns is not None else [Column.guess(key) for key in keys]
        object.__setattr__(self, "_columns", tuple(columns))

    def cells(self) -> list[list[tuple[str, bool]]]:
        """Per row and column, the text and whether it is the best of its column."""
        columns = [_column_cells([row.get(c.key) for row in self.rows], c.better) for c in self._columns]
        return [list(row) for row in zip(*columns, strict=True)] if columns else []

    def rich(self) -> RichTable:
        """For a rich console."""
        table = RichTable(title=rich_escape(self.title) or None, caption=rich_escape(self.caption) or None)
        for column in self._columns:
            table.add_column(rich_escape(column.heading), justify="right" if self._is_number(column) else "left")
        for row in self.cells():
            table.add_row(*[f"[bold]{rich_escape(text)}[/bold]" if best else rich_escape(text) for text, best in row])
        return table

    def markdown(self) -> str:
        """As a GitHub table."""
        lines = [f"**{_md(self.title)}**", ""] if self.title else []
        lines.append("| " + " | ".join(_md(c.heading) for c in self._columns) + " |")
        lines.append("|" + "|".join(" ---: " if self._is_number(c) else " :--- " for c in self._columns) + "|")
        for row in self.cells():
            lines.append("| " + " | ".join(f"**{_md(text)}**" if best else _md(text) for text, best in row) + " |")
        return "\n".join([*lines, *(["", _md(self.caption)] if self.caption else [])]) + "\n"

    def csv(self) -> str:
        """Keys as header, all digits, missing values empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([c.key for c in self._columns])
        writer.writerows([_plain(row.get(c.key)) for c in self._columns] for row in self.rows)
        return stream.getvalue()

    def html(self) -> str:
        """A ``<table>`` for the report; what users wrote is escaped."""
        heads = "".join(
            f'<th scope="col"{self._aligned(c)}>{escape(c.title or c.key)}'
            + (f' <span class="unit">{escape(c.unit)}</span>' if c.unit else "")
            + "</th>"
            for c in self._columns
        )
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{self._aligned(c)}>{f'<strong>{escape(text)}</strong>' if best else escape(text)}</td>"
                for c, (text, best) in zip(self._columns, row, strict=True)
            )
            + "</tr>"
            for row in self.cells()
        )
        title = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        note = f'<p class="note">{escape(self.caption)}</p>' if self.caption else ""
        table = f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="scroll" tabindex="0">{table}</div>{note}'

    def _aligned(self, column: Column) -> str:
        return ' class="number"' if self._is_number(column) else ""

    def _is_number(self, column: Column) -> bool:
        values = [row.get(column.key) for row in self.rows]
        return any(_is_number(v) for v in values) and all(v is None or _is_number(v) for v in values)


def number(value: float, decimals: int | None = None) -> str:
    """A number as people read it: sensible digits, a true minus sign, powers of ten only where they help."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if isinstance(value, int) or (float(value).is_integer() and decimals is None and abs(value) < 1e15):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)
    decimals = decimals_for([value]) if decimals is None else decimals
    text = f"{value:.{DIGITS - 1}e}" if decimals > 7 or abs(value) >= 1e9 else f"{value:.{decimals}f}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def decimals_for(values: Sequence[float]) -> int:
    """Decimals that show `DIGITS` significant digits of the smallest value that is not 0, or of the range."""
    sizes = [abs(v) for v in values if v and math.isfinite(v)]
    if not sizes:
        return 0
    return max(0, DIGITS - 1 - math.floor(math.log10(min(sizes))))


def _column_cells(values: Sequence[Any], better: str | None) -> list[tuple[str, bool]]:
    numbers = [v for v in values if _is_number(v)]
    finite = [float(v) for v in numbers if math.isfinite(v)]
    whole = all(isinstance(v, int) or float(v).is_integer() for v in numbers if math.isfinite(v))
    # One tiny value must not give all others ten decimals: it is the median that decides how many there are.
    decimals = None if whole else min(decimals_for(finite), decimals_for([_median(finite)]) + 2)
    best = None
    if better and len(finite) > 1:
        best = min(finite) if better == "min" else max(finite)
    return [(_text(v, decimals), _is_number(v) and v == best) for v in values]


def _median(values: Sequence[float]) -> float:
    return sorted(abs(v) for v in values)[len(values) // 2] if values else 0.0


def _text(value: Any, decimals: int | None) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value)
    # An int keeps no decimals even in a column of floats, where it is an exact count; np.float64 is a float.
    return number(value if decimals is None else float(value), decimals)


def _is_number(value: Any) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or _is_numpy_number(value)


def _is_numpy_number(value: Any) -> bool:
    return hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 and value.dtype.kind in "iuf"


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value.item() if _is_numpy_number(value) else value


def _md(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
