"""Which files a ``source=`` means and what they are called."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.data.synthesis.sources import alternatives, find_meshes, named
from recon.errors import ConfigError


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    for name in (
        "chair/a.obj",
        "chair/a.off",
        "chair/b.ply",
        "table/deep/c.stl",
        "table/note.txt",
        "odd {x},[y]/d.glb",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.{obj,off}", ["chair/a.obj", "chair/a.off"]),
        ("{chair,table/deep}/*", ["chair/a.obj", "chair/a.off", "chair/b.ply", "table/deep/c.stl"]),
        ("", ["chair/a.obj", "chair/a.off", "chair/b.ply", "odd {x},[y]/d.glb", "table/deep/c.stl"]),
        ("odd {x},[y]/d.glb", ["odd {x},[y]/d.glb"]),
        ("odd {x},[y]", ["odd {x},[y]/d.glb"]),
    ],
)
def test_files_of_a_source(meshes, pattern, expected):
    assert [f.relative_to(meshes).as_posix() for f in find_meshes(str(meshes / pattern))] == expected


def test_a_list_names_files_from_where_it_lies(meshes):
    (meshes / "list.txt").write_text("# two\nchair/b.ply\n\nchair/a.obj\n")
    assert [f.name for f in find_meshes(f"@{meshes / 'list.txt'}")] == ["a.obj", "b.ply"]
    (meshes / "list.txt").write_text("chair/none.ply\n")
    with pytest.raises(ConfigError, match=r"none\.ply.*1 of 1"):
        find_meshes(f"@{meshes / 'list.txt'}")


@pytest.mark.parametrize("source", [None, "nowhere/*.obj", "@no.txt", "nowhere"])
def test_no_source_is_an_error(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        find_meshes(source)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text("ab{},*", max_size=40))
def test_braces_never_hang(pattern):
    try:
        found = alternatives(pattern)
    except ConfigError:
        return
    assert 1 <= len(found) <= 1000


def test_alternatives_may_be_nested_and_many_are_refused():
    assert alternatives("a.{b,c{d,e}}") == ["a.b", "a.cd", "a.ce"]
    assert alternatives("a{b}") == ["a{b}"]
    with pytest.raises(ConfigError, match="too many"):
        alternatives("{a,b}" * 11)


def test_names_are_those_of_folders_that_say_something():
    files = ["/d/03001627/1a6f/models/model_normalized.obj", "/d/chair/train/chair_0001.off", "/d/lamp/x.ply"]
    assert list(named([Path(f) for f in files])) == [("03001627", "1a6f"), ("chair", "chair_0001"), ("lamp", "x")]
    assert list(named([Path(files[2])], "light")) == [("light", "x")]


def test_names_are_unique_and_fit_for_folders():
    files = [Path(p) for p in ("/a/chair/x.obj", "/a/chair/x.off", "/b/chair/x.obj", "/b/ch air/ü?.obj", "/b/c/...obj")]
    names = list(named(files))
    assert names[:4] == [("chair", "x_obj"), ("chair", "x_off"), ("chair", "x_2"), ("ch_air", "ü_")]
    assert len(set(names)) == 5
    assert all(part not in ("", ".", "..") and "/" not in part for name in names for part in name)
