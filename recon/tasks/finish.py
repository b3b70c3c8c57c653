"""What every verb ends with: the table of metrics, and where everything lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recon.io.files import write_csv, write_text
from recon.metrics.table import ResultTable
from recon.report.tables import Column, Table
from recon.tasks.folder import RunFolder
from recon.tasks.pages import comparison_page, run_page
from recon.tasks.scenes import Result, failed
from recon.tasks.start import console, show

Row = dict[str, Any]
SHOWN = (
    Column("chamfer_l1_exact", "CD", better="min"),
    Column("normal_consistency_exact", "NC", better="max"),
    Column("fscore_1pct_exact", "F@1%", better="max"),
    Column("iou", "IoU", better="max"),
    Column("iou_views1", "IoU 1 view", better="max"),
    Column("iou_views3", "3 views", better="max"),
    Column("iou_views5", "5 views", better="max"),
    Column("scan_to_mesh_mean", "scan", better="min"),
    Column("faces"),
    Column("seconds", "time", "s", "min"),
    Column("cpu_seconds", "CPU", "s", "min"),
    Column("peak_mib", "memory", "MiB", "min"),
)
LEGEND = (
    "CD: Chamfer L1, exact, in the data's unit. NC: normal consistency. F@1%: F-score at 1 % of the longest side. "
    "scan: mean distance from the input to the mesh."
)


def finish(
    cfg: DictConfig,
    folder: RunFolder,
    results: Sequence[Result],
    places: Sequence[Path] = (),
    skipped: Mapping[str, str] | None = None,
) -> None:
    """Write and show the metrics of some scenes, write the report, and say where the meshes are.

    Args:
        cfg: the whole configuration.
        folder: of the run.
        results: what came of the scenes.
        places: where their meshes were written besides the run folder, if they were.
        skipped: scenes that could not be read, and why; they count as missing.
    """
    lost = [failed(name, reason) for name, reason in (skipped or {}).items()]
    rows = [*(result.row for result in results), *lost]
    write_rows(folder, rows)
    show_rows(rows, "")
    for place in places or [result.file for result in results]:
        console().print(f"mesh     {place}")
    if cfg.report:
        console().print(f"report   {write_report(cfg, folder, results, skipped=skipped)}")
    console().print(f"run      {folder.path}")


def write_rows(folder: RunFolder, rows: Sequence[Row]) -> None:
    """One row an item (metrics.csv, parquet where it is installed) and means that count what they leave out."""
    table = _result_table(rows)
    table.write(folder.path)


def _result_table(rows: Sequence[Row]) -> ResultTable:
    table = ResultTable()
    for row in rows:
        numbers = {k: v for k, v in row.items() if k not in ("scene", "category", "status")}
        table.add(str(row["scene"]), numbers, str(row.get("category", "")), str(row.get("status", "ok")))
    return table


def show_rows(rows: Sequence[Row], title: str) -> None:
    """What matters most, on the terminal: one scene as a list, several as a table; metrics.csv has everything."""
    if len(rows) > 1:
        show(Table([*rows, *means(rows)], columns(rows), title, LEGEND))
        return
    for key, value in rows[0].items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        if value not in (None, "") and not (isinstance(value, float) and math.isnan(value)):
            console().print(f"{key:<28} {text}")


def columns(rows: Sequence[Row]) -> list[Column]:
    """Names first, then the scores that are there and the costs; for protocols with names of their own, all of them."""
    names = [Column(k) for k in ("method", "scene", "n_items", "n_empty", "n_missing", "error") if _present(rows, k)]
    found = [c for c in SHOWN if _present(rows, c.key)]
    if any(_present(rows, c.key) for c in SHOWN[:3]):
        return names + found
    known = {c.key for c in SHOWN} | {"scan_to_mesh_rms", "scan_to_mesh_max"}
    others = [k for row in rows for k, v in row.items() if isinstance(v, float) and k not in known]
    return [*names, *(Column.guess(k) for k in dict.fromkeys(others)), *found]


def means(rows: Sequence[Row]) -> list[Row]:
    """Mean rows for the terminal; each says how many items it is of, and how many of those gave no mesh."""
    found = [m for m in _result_table(rows).means() if m["statistic"] != "count"]
    names = {"mean": "mean of", "class_mean": "mean of classes of"}
    return [m | {"scene": f"{names[m['statistic']]} {m['category']}"} for m in found]


def _means_of_methods(rows: Sequence[Row]) -> list[Row]:
    """One row a method, if there are several scenes: its mean over them, and how many gave no mesh."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        mean = next(m for m in _result_table(own).means() if (m["category"], m["statistic"]) == ("all", "mean"))
        lost = mean["n_empty"] + mean["n_missing"]
        scene = f"mean of {len(own)}" + (f", {lost} without a mesh" if lost else "")
        found.append(mean | {"method": method, "scene": scene, "n_items": None, "n_empty": None, "n_missing": None})
    return found if len(found) < len(rows) else []


def _present(rows: Sequence[Row], key: str) -> bool:
    values = [r.get(key) for r in rows]
    return any(v not in (None, "") and not (isinstance(v, float) and math.isnan(v)) for v in values)


def finish_comparison(
    cfg: DictConfig, folder: RunFolder, rows: list[Row], results: dict[tuple[str, str], Result]
) -> None:
    """One table of all methods on all scenes, as md, csv and html, and on the terminal."""
    table = Table([*rows, *_means_of_methods(rows)], columns(rows), "Methods compared", LEGEND)
    write_text(folder.path / "comparison.md", table.markdown())
    write_csv(folder.path / "comparison.csv", rows)
    page = comparison_page(cfg, folder, table, results)
    show(table)
    console().print(f"tables   {folder.path}/comparison.md, comparison.csv, {page.name}")


def write_report(
    cfg: DictConfig,
    folder: RunFolder,
    results: Sequence[Result],
    histories: Sequence[Path] = (),
    skipped: Mapping[str, str] | None = None,
) -> Path:
    """The report.html of a run."""
    rows = [result.row for result in results]
    table = Table(rows, columns(rows), caption=LEGEND) if rows else None
    curves = [*histories, *(r.history for r in results if r.history)]
    return run_page(cfg, folder, results, table, curves, skipped or {})
