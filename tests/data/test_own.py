from __future__ import annotations

import logging

import numpy as np
import pytest

from recon.data.own import Own
from recon.data.solids import solid_mesh
from recon.errors import ConfigError, DataError
from recon.io.clouds import write_cloud
from recon.io.meshes import write_mesh
from recon.io.types import Cloud
from recon.observations import OrientedPoints, Points


def scan(count: int = 100) -> Cloud:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return Cloud(points + 5e6, points / np.linalg.norm(points, axis=1, keepdims=True))


@pytest.mark.parametrize("name", ["a b{c}~=\"d'ü#[1]*.ply", "@a.ply"])
def test_one_file_whatever_its_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cloud(name, scan())
    data = Own(input=name)
    assert data.gives == (OrientedPoints, Points)
    (only,) = data.selected("train")
    assert only == name.removesuffix(".ply")
    scene = data.load(only)
    assert scene.target is None
    np.testing.assert_array_equal(scene.observation.points.numpy(), scan().points)
    assert type(Own(input=name, use_normals=False).load(only).observation) is Points


def test_folder_glob_and_list(tmp_path):
    for place in ("a.ply", "b.xyz", "sub/b.xyz", "sub/c.npy"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        write_cloud(tmp_path / place, scan())
    (tmp_path / "readme.txt").write_text("notes")
    (tmp_path / "list.txt").write_text("# scans\na.ply\n\nsub/c.npy\n")
    assert Own(input=str(tmp_path)).names() == ["a", "b"]
    assert Own(input=f"{tmp_path}/**/*.xyz").names() == [f"{tmp_path.name}_b", "sub_b"]
    write_cloud(tmp_path / "sub/b.ply", scan())
    assert Own(input=f"{tmp_path}/sub").names() == ["b_ply", "b_xyz", "c"]
    listed = Own(input=f"@{tmp_path}/list.txt")
    assert listed.names() == ["a", "c"]
    assert [listed.load(n).index for n in listed.names()] == [0, 1]
    assert listed.load("c").observation.name == "c"


@pytest.mark.parametrize(
    ("text", "match"), [("x.ply\n", "x.ply' is not there"), ("# none\n", "is empty"), (None, "cannot be read")]
)
def test_lists_that_do_not_work(tmp_path, text, match):
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=match):
        Own(input=f"@{tmp_path}/list.txt")


def test_missing_input():
    with pytest.raises(ConfigError, match="no input was given"):
        Own()
    with pytest.raises(DataError, match=r"input=nowhere\*.ply"):
        Own(input="nowhere*.ply")


def test_a_mesh_is_sampled_and_is_then_the_truth(tmp_path, caplog):
    mesh = solid_mesh("bracket", 32)
    write_mesh(tmp_path / "m.obj", mesh)
    with caplog.at_level(logging.WARNING, "recon"):
        scene = Own(input=str(tmp_path / "m.obj"), samples=500).load("m")
    assert "500 points were drawn on it" in caplog.text
    assert isinstance(scene.observation, OrientedPoints)
    assert scene.observation.points.shape == (500, 3)
    np.testing.assert_array_equal(scene.target.surface.faces, mesh.faces)
    bare = Own(input=str(tmp_path / "m.obj"), samples=500, use_normals=False)
    assert bare.gives == (Points,)


def test_truths_of_one_and_of_several(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_cloud(tmp_path / f"in/{name}.ply", scan())
        write_mesh(tmp_path / f"true/{name}.off", solid_mesh("star" if name == "a" else "bracket", 32))
    one = Own(input=f"{tmp_path}/in/a.ply", truth=f"{tmp_path}/true/b.off")
    assert len(one.load("a").target.surface.faces) == len(solid_mesh("bracket", 32).faces)
    both = Own(input=f"{tmp_path}/in", truth=f"{tmp_path}/true")
    assert [len(both.load(n).target.surface.vertices) for n in "ab"] == [22, 14]
    with pytest.raises(ConfigError, match="cannot be the truth of 2 scans"):
        Own(input=f"{tmp_path}/in", truth=f"{tmp_path}/true/b.off").load("a")
    (tmp_path / "true/a.off").unlink()
    with pytest.raises(DataError, match="no truth named 'a'"):
        both.read("a")


def test_a_truth_is_found_for_a_scan_with_two_suffixes(tmp_path):
    (tmp_path / "truth").mkdir()
    mesh = solid_mesh("bracket", 32)
    write_mesh(tmp_path / "truth" / "a_1.5.ply", mesh)
    np.save(tmp_path / "a_1.5.xyz.npy", scan().points)
    (name,) = (data := Own(str(tmp_path / "a_1.5.xyz.npy"), truth=str(tmp_path / "truth"))).names()
    assert len(data.load(name).target.surface.faces) == len(mesh.faces)


def test_bad_points_and_too_few(tmp_path):
    cloud = scan()
    cloud.points[7] = np.nan
    np.savez(tmp_path / "bad.npz", points=cloud.points)
    with pytest.raises(DataError, match=r"(?s)bad\.npz.*1 of 100 points.*data.on_bad_points=drop"):
        Own(input=str(tmp_path / "bad.npz")).load("bad")
    assert len(Own(input=str(tmp_path / "bad.npz"), on_bad_points="drop").load("bad").observation.points) == 99
    write_cloud(tmp_path / "few.xyz", scan(31))
    with pytest.raises(DataError, match=r"'few' has 31 points; at least 32"):
        Own(input=str(tmp_path / "few.xyz")).load("few")
