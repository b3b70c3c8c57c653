"""One row an item, means that say what they cover, and the files both go to (csv, and parquet where possible)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from recon.errors import need
from recon.io.files import atomic, write_csv

LABELS = ("item", "category", "status")


class ResultTable:
    """Rows of an evaluation.

    Args:
        strict: whether an infinite value (an empty or missing prediction) makes a mean infinite; otherwise means
            are taken over the finite values, and the rows of counts say over how many.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.rows: list[dict[str, Any]] = []

    def add(self, item: str, row: Mapping[str, Any], category: str = "", status: str = "ok") -> None:
        """Append one item.

        Args:
            item: its name.
            row: its numbers, and texts if there are any; items may have different ones.
            category: its class, or "".
            status: ``"ok"``, ``"empty"`` or ``"missing"`` (see `recon.metrics.protocols.status`).
        """
        self.rows.append({"item": item, "category": category, "status": status, **row})

    @property
    def names(self) -> list[str]:
        """Names of all numbers, in order of first appearance; texts are kept in the rows but have no mean."""
        names = dict.fromkeys(name for row in self.rows for name in row if name not in LABELS)
        return [n for n in names if all(isinstance(row[n], SupportsFloat) for row in self.rows if n in row)]

    def means(self) -> list[dict[str, Any]]:
        """A row ``mean`` and a row ``count`` for each category and for ``all`` items, then a ``class_mean``.

        Each tells ``n_items``, ``n_empty`` and ``n_missing``; a ``count`` is the number of items a mean covers;
        ``class_mean`` is the unweighted mean of the categories' means.
        """
        categories = list(dict.fromkeys(row["category"] for row in self.rows))
        several = categories if len(categories) > 1 else []
        result, class_means = [], []
        for category in several:
            summary = self._summary(category, [row for row in self.rows if row["category"] == category])
            class_means.append(summary[0])
            result += summary
        result += self._summary("all", self.rows)
        if several:
            counts = _counts(self.rows)
            merged = {name: self._mean([row[name] for row in class_means])[0] for name in self.names}
            result.append({"category": "all", "statistic": "class_mean", **counts, **merged})
        return result

    def write(self, folder: str | Path, stem: str = "metrics", parquet: bool | None = None) -> list[Path]:
        """Write the items to ``<stem>.csv`` and the means to ``<stem>_means.csv``, and both as parquet.

        Args:
            folder: made if missing.
            stem: of the files' names.
            parquet: None writes parquet where pyarrow is installed.

        Returns:
            The files written.

        Raises:
            ConfigError: if `parquet` is True and pyarrow is not installed.
            DataError: if a file cannot be written.
        """
        files = []
        for name, rows in ((stem, self.rows), (f"{stem}_means", self.means())):
            files.append(Path(folder) / f"{name}.csv")
            write_csv(files[-1], rows)
            if parquet or (parquet is None and find_spec("pyarrow") is not None):
                files.append(Path(folder) / f"{name}.parquet")
                write_parquet(files[-1], rows)
        return files

    def _summary(self, category: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        found = {name: self._mean([row.get(name, float("nan")) for row in rows]) for name in self.names}
        head = {"category": category, **_counts(rows)}
        return [
            {**head, "statistic": "mean", **{name: mean for name, (mean, _) in found.items()}},
            {**head, "statistic": "count", **{name: count for name, (_, count) in found.items()}},
        ]

    def _mean(self, values: Sequence[float]) -> tuple[float, int]:
        """The mean and how many values it covers; infinite if strict or if nothing is finite, NaN if undefined."""
        array = np.asarray(values, dtype=np.float64)
        finite = array[np.isfinite(array)]
        if np.isinf(array).any() and (self.strict or len(finite) == 0):
            return float("inf"), len(finite)
        return (float(finite.mean()) if len(finite) else float("nan")), len(finite)


def write_parquet(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one line a row, whole or not at all; what a row lacks is null.

    Raises:
        ConfigError: if pyarrow is not installed.
    """
    arrow, parquet = need("pyarrow", extra="view"), need("pyarrow.parquet", extra="view")
    header = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in header}
    with atomic(path) as temporary:
        parquet.write_table(arrow.table(columns), temporary)


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    states = [row["status"] for row in rows]
    return {"n_items": len(rows), "n_empty": states.count("empty"), "n_missing": states.count("missing")}
