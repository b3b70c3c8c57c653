from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest

from recon.data import stanford
from recon.data.solids import solid_mesh
from recon.data.stanford import SCANS, Stanford
from recon.errors import ConfigError
from recon.io.clouds import write_cloud
from recon.io.meshes import write_mesh
from recon.io.types import Cloud, Mesh
from recon.observations import OrientedPoints, Points


def scan() -> Cloud:
    points = np.random.default_rng(0).normal(size=(100, 3))
    return Cloud(points, points / np.linalg.norm(points, axis=1, keepdims=True))


def test_published_names_are_found_at_any_depth(tmp_path):
    star = solid_mesh("star", 32)
    write_cloud(tmp_path / "bunny_normals.ply", scan())
    write_mesh(tmp_path / "bunny_mesh.ply", star)
    write_mesh(tmp_path / "deep/Armadillo.ply", star)
    write_cloud(tmp_path / "dgp/scans/dc.ply", Cloud(scan().points))
    write_cloud(tmp_path / "dgp/ground_truth/dc.xyz", scan())
    write_cloud(tmp_path / "unrelated.ply", scan())
    data = Stanford(path=str(tmp_path), samples=200)
    assert data.names() == ["bunny", "armadillo", "dc"]
    assert data.gives == (OrientedPoints, Points)
    bunny, armadillo, dc = (data.load(name) for name in data.selected())
    np.testing.assert_array_equal(bunny.observation.points.numpy(), scan().points)
    np.testing.assert_array_equal(bunny.target.surface.vertices, star.vertices)
    assert armadillo.observation.points.shape == (200, 3)
    assert isinstance(armadillo.target.surface, Mesh)
    assert type(dc.observation) is Points
    assert isinstance(dc.target.surface, Cloud)


def test_a_truth_belongs_to_one_input_only(tmp_path):
    """The repository's own mesh of the bunny has other coordinates than the cloud that `bunny_mesh` goes with."""
    write_mesh(tmp_path / "bunny_mesh.ply", solid_mesh("star", 32))
    write_mesh(tmp_path / "bun_zipper.ply", solid_mesh("bracket", 32))
    truth = Stanford(path=str(tmp_path), samples=100).load("bunny").target.surface
    assert len(truth.vertices) == len(solid_mesh("bracket", 32).vertices)


def test_what_is_missing_names_the_option_and_the_size(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'dragon' is not below.*data.download=true data.scene=dragon.*11\.2 MB"):
        Stanford(path=str(tmp_path), scene="dragon").selected()
    with pytest.raises(ConfigError, match=r"(?s)'gargoyle' is not.*1100 MB"):
        Stanford(path=str(tmp_path / "nowhere"), scene="gargoyle").selected()
    with pytest.raises(ConfigError, match=r"(?s)'bunny' is not"):
        Stanford(path=str(tmp_path)).selected()
    with pytest.raises(ConfigError, match=r"(?s)scene=bunnny.*bunny"):
        Stanford(path=str(tmp_path), scene="bunnny").selected()


def test_downloads_end_under_the_published_names(tmp_path, monkeypatch, served):
    """From a server on this machine, which stands in for Stanford's."""
    folder, url = served
    monkeypatch.setattr(stanford, "STANFORD", url)
    monkeypatch.setattr(stanford, "BENCHMARK", f"{url}/five?id=1")
    write_mesh(tmp_path / "x.ply", solid_mesh("star", 32))
    page = folder / SCANS["lucy"].page
    page.parent.mkdir(parents=True)
    with tarfile.open(page, "w:gz") as tar:
        tar.add(tmp_path / "x.ply", "./lucy.ply")
    data = Stanford(path=str(tmp_path / "got"), scene="lucy", download=True, samples=100)
    assert data.selected() == ["lucy"]
    assert data.load("lucy").observation.points.shape == (100, 3)
    again = Stanford(path=str(tmp_path / "got"))
    assert again.names() == ["lucy"]

    packed = io.BytesIO()
    write_cloud(tmp_path / "x.xyz", scan())
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(tmp_path / "x.ply", "deep_geometric_prior_data/scans/anchor.ply")
        archive.write(tmp_path / "x.xyz", "deep_geometric_prior_data/ground_truth/anchor.xyz")
    (folder / "five").write_bytes(packed.getvalue())
    data = Stanford(path=str(tmp_path / "got"), scene="anchor", download=True, samples=100)
    assert isinstance(data.load(*data.selected()).target.surface, Cloud)


def test_real_scans_where_they_are(data_dir):
    data = Stanford(path=str(data_dir))
    assert {"bunny", "gargoyle", "lord_quas"} <= set(data.names())
    bunny = data.load("bunny")
    assert isinstance(bunny.observation, OrientedPoints)
    low, high = bunny.target.surface.vertices.min(axis=0), bunny.target.surface.vertices.max(axis=0)
    points = bunny.observation.points.numpy()
    np.testing.assert_allclose(points.min(axis=0), low, atol=1e-3)
    np.testing.assert_allclose(points.max(axis=0), high, atol=1e-3)
    assert data.load("lord_quas").target is None
