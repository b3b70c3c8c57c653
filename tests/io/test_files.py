from __future__ import annotations

import csv

import pytest

from recon.errors import DataError
from recon.io.files import atomic, write_csv, write_text

NAME = "a b{c}~=\"d'ü#.txt"


def test_atomic_writes_whole_files_under_awkward_names(tmp_path):
    with atomic(tmp_path / "new folder" / NAME) as temporary:
        assert temporary.suffix == ".txt"
        assert not (tmp_path / "new folder" / NAME).exists()
        temporary.write_text("whole")
    assert (tmp_path / "new folder" / NAME).read_text() == "whole"
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == [NAME]


def test_atomic_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(ValueError, match="broken"), atomic(path) as temporary:
        temporary.write_text("half")
        raise ValueError("broken")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("culprit", ["file/x.txt", "folder"])
def test_atomic_names_a_target_that_cannot_be_written(tmp_path, culprit):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="Cannot write"), atomic(tmp_path / culprit) as temporary:
        temporary.write_text("x")


def test_csv(tmp_path):
    write_csv(tmp_path / "x.csv", [{"a": 1}, {"a": 2, "b": "x,y"}])
    with (tmp_path / "x.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"a": "1", "b": ""}, {"a": "2", "b": "x,y"}]
