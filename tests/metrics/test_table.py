import csv
import math
import sys

import pytest

from recon.errors import ConfigError
from recon.metrics import table
from recon.metrics.table import ResultTable, write_parquet


def filled(strict=False):
    results = ResultTable(strict)
    results.add("a", {"cd": 1.0, "fscore": 0.5}, "chair")
    results.add("b", {"cd": 2.0, "fscore": 0.7}, "chair")
    results.add("c", {"cd": 6.0, "iou": 0.4}, "lamp")
    results.add("d", {"cd": math.inf, "fscore": 0.0}, "lamp", "empty")
    results.add("e", {"cd": math.inf, "fscore": 0.0}, "lamp", "missing")
    return results


def by_kind(results):
    return {(row["category"], row["statistic"]): row for row in results.means()}


def test_means_a_category_and_over_all_with_their_counts():
    found = by_kind(filled())
    assert list(found) == [
        ("chair", "mean"),
        ("chair", "count"),
        ("lamp", "mean"),
        ("lamp", "count"),
        ("all", "mean"),
        ("all", "count"),
        ("all", "class_mean"),
    ]
    assert (found["lamp", "mean"]["cd"], found["lamp", "count"]["cd"]) == (6, 1)
    assert (found["all", "mean"]["cd"], found["all", "count"]["cd"]) == (3, 3)
    assert (found["all", "mean"]["fscore"], found["all", "count"]["fscore"]) == (pytest.approx(0.3), 4)
    assert found["all", "class_mean"]["cd"] == 3.75
    assert math.isnan(found["chair", "mean"]["iou"])
    for kind in ("mean", "count", "class_mean"):
        row = found["all", kind]
        assert (row["n_items"], row["n_empty"], row["n_missing"]) == (5, 1, 1)


def test_strict_means_are_infinite():
    found = by_kind(filled(strict=True))
    assert found["all", "mean"]["cd"] == found["all", "class_mean"]["cd"] == math.inf
    assert found["chair", "mean"]["cd"] == 1.5


def test_one_category_gives_no_rows_of_its_own():
    results = ResultTable()
    results.add("a", {"cd": 1.0})
    assert [(row["category"], row["statistic"]) for row in results.means()] == [("all", "mean"), ("all", "count")]


def test_texts_are_kept_but_have_no_mean(tmp_path):
    results = ResultTable()
    results.add("a", {"method": "igr", "cd": 1, "closed": True})
    results.add("b", {"method": "poisson", "cd": 2.5, "closed": False})
    assert results.names == ["cd", "closed"]
    assert by_kind(results)["all", "mean"]["closed"] == 0.5
    assert "poisson" in results.write(tmp_path)[0].read_text()


def test_files_hold_every_item_and_the_means(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    files = filled().write(tmp_path / "new", parquet=True)
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "new").iterdir())
    with (tmp_path / "new" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item"] for row in rows] == list("abcde")
    assert (rows[2]["fscore"], rows[3]["cd"], rows[4]["status"]) == ("", "inf", "missing")
    stored = parquet.read_table(tmp_path / "new" / "metrics.parquet").to_pylist()
    assert [row["cd"] for row in stored] == [1, 2, 6, math.inf, math.inf]
    assert stored[0]["iou"] is None
    means = parquet.read_table(tmp_path / "new" / "metrics_means.parquet").to_pylist()
    assert [row["n_items"] for row in means] == [2, 2, 3, 3, 5, 5, 5]


def test_without_pyarrow_there_is_csv_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert [path.suffix for path in filled().write(tmp_path)] == [".csv", ".csv"]


def test_parquet_asked_for_without_pyarrow_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="optional library 'pyarrow'"):
        write_parquet(tmp_path / "x.parquet", [{"cd": 1.0}])


def test_an_empty_table_has_counts_and_no_means(tmp_path):
    results = ResultTable()
    assert [row["n_items"] for row in results.means()] == [0, 0]
    assert len(results.write(tmp_path, parquet=False)) == 2
