"""Clouds of meshes: even samples, and virtual scans whose faults are those that were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from recon.cli import main
from recon.data.own import Own
from recon.data.stanford import Stanford
from recon.data.synthesis.stanford import StanfordClouds
from recon.data.synthesis.virtual_scan import Scanner, scan, viewpoints
from recon.errors import ConfigError, DataError
from recon.geometry.raycast import first_hit
from recon.io.meshes import read_geometry, read_mesh, write_mesh
from recon.io.types import Cloud, Mesh
from recon.observations import OrientedPoints


def ball(subdivisions: int = 4, radius: float = 2.0, centre: tuple[float, float, float] = (5.0, 0.0, -3.0)) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions)
    return Mesh(np.asarray(made.vertices) * radius + centre, np.asarray(made.faces, dtype=np.int64))


def box() -> Mesh:
    made = trimesh.creation.box((2, 1, 1)).subdivide().subdivide()
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces, dtype=np.int64))


CLEAN = Scanner(viewpoints=6, rays=60, noise=0, outliers=0, grazing=0, elevation=(-60, 60))


def off_ball(points: np.ndarray) -> np.ndarray:
    """Distances of points from the sphere of `ball`, outward."""
    return np.linalg.norm(points - (5, 0, -3), axis=1) - 2


def test_as_many_even_samples_as_vertices(tmp_path):
    write_mesh(tmp_path / "in/thing.off", box())
    factory = StanfordClouds(source=str(tmp_path / "in"), path=str(tmp_path / "out"), workers=0)
    factory.run()
    cloud = read_geometry(tmp_path / "out/thing/thing_pcd.ply")
    mesh = read_mesh(tmp_path / "out/thing/thing.ply")
    assert isinstance(cloud, Cloud)
    assert len(cloud.points) == len(box().vertices)
    np.testing.assert_array_equal(mesh.vertices, box().vertices)
    assert np.abs(np.abs(cloud.points) / (1, 0.5, 0.5)).max(axis=1) == pytest.approx(1), "they lie on it"
    out = (np.abs(cloud.normals) * np.abs(cloud.points) / (1, 0.5, 0.5)).max(axis=1)
    np.testing.assert_allclose(out, 1, atol=1e-6)
    assert ((cloud.normals * cloud.points).sum(axis=1) > 0).all()
    nearest = cKDTree(cloud.points).query(cloud.points, k=2)[0][:, 1]
    uniform = StanfordClouds(even=10, source=str(tmp_path / "in"), path=str(tmp_path / "uniform"), workers=0)
    made = uniform.run()[0]
    points = read_geometry(tmp_path / "uniform/thing/thing_pcd.ply").points
    assert made[0].facts["spread"] == "uniformly"
    assert nearest.min() > 4 * cKDTree(points).query(points, k=2)[0][:, 1].min()


def test_a_clean_scan_lies_on_the_surface_with_normals_towards_the_scanner():
    made = scan(ball(), replace(CLEAN, normals="true"), 0)
    assert np.abs(off_ball(made.cloud.points)).max() < 0.01
    rays = made.cloud.points - made.eyes[made.view]
    assert ((rays * made.cloud.normals).sum(axis=1) < 0).all()
    outward = (made.cloud.points - (5, 0, -3)) / 2
    assert (outward * made.cloud.normals).sum(axis=1).min() > 0.99
    estimated = scan(ball(), CLEAN, 0).cloud
    np.testing.assert_array_equal(estimated.points, made.cloud.points)
    assert np.median((outward * estimated.normals).sum(axis=1)) > 0.995
    assert set(made.view) == set(range(6))


def test_what_is_hidden_is_not_seen():
    """Two balls, one behind the other: of the hinder one only what the front one leaves free."""
    front, hind = ball(3, 1, (0, 0, 0)), ball(3, 1, (-3, 0, 0))
    both = Mesh(np.concatenate([front.vertices, hind.vertices]), np.concatenate([front.faces, hind.faces + 642]))
    made = scan(both, CLEAN, 1)
    rays = made.cloud.points - made.eyes[made.view]
    far = np.linalg.norm(rays, axis=1)
    again = first_hit(both, made.eyes[made.view], rays / far[:, None])
    np.testing.assert_allclose(again.distance, far, atol=1e-5)


def test_noise_is_along_the_ray_and_outliers_are_as_many_as_asked():
    noisy = scan(ball(), replace(CLEAN, rays=90, noise=0.01), 0)
    clean = scan(ball(), replace(CLEAN, rays=90), 0)
    straight = clean.view == 0  # the first draws of both are the same, so the first viewpoint has the same rays
    rays = clean.cloud.points[straight] - clean.eyes[0]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    moved = noisy.cloud.points[noisy.view == 0] - clean.cloud.points[straight]
    np.testing.assert_allclose(np.cross(moved, rays), 0, atol=1e-9)
    radius = 2.0
    assert (moved * rays).sum(axis=1).std() == pytest.approx(0.01 * radius, rel=0.05)
    wild = scan(ball(), replace(CLEAN, rays=90, outliers=0.1), 0)
    assert wild.outlier.mean() == pytest.approx(0.1, abs=0.015)
    assert np.abs(off_ball(wild.cloud.points[~wild.outlier])).max() < 0.01
    assert np.abs(off_ball(wild.cloud.points[wild.outlier])).mean() > 0.3


def slant(made) -> np.ndarray:
    """Angle between ray and surface of each point, in degrees."""
    rays = made.cloud.points - made.eyes[made.view]
    outward = made.cloud.points - (5, 0, -3)
    cosine = -(rays * outward).sum(axis=1) / np.linalg.norm(rays, axis=1) / np.linalg.norm(outward, axis=1)
    return 90 - np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_grazing_rays_fail_and_light_falls_off():
    every = scan(ball(), replace(CLEAN, rays=120), 0)
    none_grazing = scan(ball(), replace(CLEAN, rays=120, grazing=30), 0)
    assert slant(every).min() < 5
    assert slant(none_grazing).min() > 8  # a third of 30, but for the facets
    assert (slant(none_grazing) > 32).sum() == pytest.approx((slant(every) > 32).sum(), rel=0.02)
    dim = scan(ball(), replace(CLEAN, rays=120, falloff=2.0), 0)
    share = [np.mean(slant(made) > 50) for made in (every, dim)]
    assert share[1] > 1.3 * share[0]
    assert len(dim.cloud.points) < 0.7 * len(every.cloud.points)


def test_points_get_rarer_with_distance_and_slant_as_angles_say():
    """Of a sphere of radius r at distance d, equal solid angles hold equal numbers of points."""
    made = scan(ball(5), replace(CLEAN, viewpoints=1, rays=400), 0)
    rays = made.cloud.points - made.eyes[0]
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    axis = ((5, 0, -3) - made.eyes[0]) / np.linalg.norm((5, 0, -3) - made.eyes[0])
    angle = np.arccos(np.clip(rays @ axis, -1, 1)) / np.arcsin(1 / 3)
    counts = [(angle < edge).sum() / len(angle) for edge in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(counts, [0.0625, 0.25, 0.5625], rtol=0.03)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_viewpoints_stand_where_they_should(up):
    eyes = viewpoints(Scanner(viewpoints=40, elevation=(10, 50), up=up), np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 3)
    elevation = np.degrees(np.arcsin(eyes[:, "xyz".index(up)] / 3))
    assert elevation.min() > 10
    assert elevation.max() < 50
    assert np.ptp(elevation) > 35
    assert np.linalg.norm(eyes.mean(axis=0) * (np.arange(3) != "xyz".index(up))) < 0.3, "all around"


def test_equal_seeds_give_equal_files(tmp_path):
    write_mesh(tmp_path / "in/a.ply", box())
    write_mesh(tmp_path / "in/b.ply", ball(2))
    (tmp_path / "in/bad.obj").write_text("v 0 0\n")
    write_mesh(tmp_path / "in/flat.ply", Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])))

    def made(name: str, seed: int) -> dict[str, bytes]:
        options = {"source": str(tmp_path / "in"), "path": str(tmp_path / name), "workers": 0, "seed": seed}
        done, rejected = StanfordClouds(rays=40, kind="scan", **options).run()
        assert [m.name for m in done] == ["a", "b"]
        assert [r.name for r in rejected] == ["bad", "flat"]
        return {f.relative_to(tmp_path / name).as_posix(): f.read_bytes() for f in tmp_path.rglob(f"{name}/*/*.ply")}

    first = made("one", 0)
    assert set(first) == {"a/a.ply", "a/a_scan.ply", "b/b.ply", "b/b_scan.ply"}
    assert made("two", 0) == first
    assert made("three", 1)["a/a_scan.ply"] != first["a/a_scan.ply"]


def test_readers_find_clouds_and_their_truth(workdir, capsys):
    write_mesh(workdir / "meshes/bun_zipper.ply", ball(3))
    write_mesh(workdir / "meshes/mine.obj", box())
    words = ["prepare", "data=stanford", "kind=scan", "source=meshes", "data.path=scans", "prepare.workers=0"]
    assert main([*words, "prepare.rays=60", "prepare.viewpoints=4"]) == 0
    assert "Use them: data=stanford data.path=scans" in capsys.readouterr().out
    data = Stanford(path="scans")
    assert data.names() == ["bunny", "mine"]
    bunny, mine = (data.load(name) for name in data.selected())
    assert isinstance(mine.observation, OrientedPoints)
    assert (bunny.index, mine.index) == (0, 1)
    np.testing.assert_allclose(bunny.target.surface.vertices, ball(3).vertices)
    assert len(bunny.observation.points) != data.samples, "the scan, not samples of the mesh"
    own = Own(input="scans/mine/mine_scan.ply", truth="scans/mine/mine.ply")
    np.testing.assert_array_equal(own.load("mine_scan").observation.points, mine.observation.points)
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        Stanford(path="scans", scene="mone").selected()


@pytest.mark.parametrize(
    "wrong",
    [{"samples": 0}, {"viewpoints": 0}, {"distance": 1.0}, {"elevation": [60, -20]}, {"elevation": [1]},
     {"noise": -1.0}, {"outliers": 1.5}, {"grazing": 91.0}, {"neighbours": 2}],
    ids=str,
)  # fmt: skip
def test_options_that_cannot_be(wrong, tmp_path):
    with pytest.raises(ConfigError):
        StanfordClouds(source=str(tmp_path), path=str(tmp_path / "out"), **wrong)


def test_meshes_that_cannot_be_scanned():
    with pytest.raises(DataError, match="size"):
        scan(Mesh.empty(), CLEAN)
    with pytest.raises(DataError, match="are seen"):
        scan(ball(2), replace(CLEAN, rays=1, viewpoints=1))


def test_spot(data_dir):
    """A real mesh: all but its hollows is seen, within the noise."""
    mesh = read_mesh(data_dir / "classic_meshes" / "spot.obj")
    made = scan(mesh, Scanner(rays=120), 0)
    near = cKDTree(made.cloud.points).query(mesh.vertices)[0]
    size = np.ptp(mesh.vertices, axis=0).max()
    assert np.quantile(near, 0.9) < 0.02 * size
