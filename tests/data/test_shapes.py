from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from recon.data.fields import gradient, sphere
from recon.data.loading import Draw, collate
from recon.data.shape_cache import MADE_BY
from recon.data.shapes import Shapes
from recon.data.solids import FAMILIES, NAMED, march, sharp, solid, solid_mesh
from recon.errors import ConfigError, DataError
from recon.geometry.cameras import project
from recon.io.types import Mesh
from recon.observations import Occupancies, OrientedPoints, Points, PosedRGBD, PosedViews, Truth, Views, Voxels

PIECES = {"links": 2}
GENUS = {"torus": 1, "mug": 1, "knot": 1, "links": 2, "flange": 7, "drilled": 5, "gyroid": 13}


@pytest.mark.parametrize("name", [*NAMED, "blobs_000", "blobs_007"])
def test_every_solid_is_watertight_and_agrees_with_its_field(name):
    mesh, field = solid_mesh(name, 64), solid(name).field
    shape = mesh.to_trimesh()
    assert shape.is_watertight
    assert shape.body_count == PIECES.get(name, 1)
    assert shape.euler_number == 2 * PIECES.get(name, 1) - 2 * GENUS.get(name, 0)
    assert 1 < np.ptp(mesh.vertices, axis=0).max() < 2.3
    assert np.abs(field(mesh.vertices)).max() < 2e-3
    # The volume of what the field calls inside is that of the mesh, whose faces therefore look outwards.
    axis = (np.arange(40) + 0.5) / 40 * 2.5 - 1.25
    grid = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    assert shape.volume == pytest.approx((field(grid) < 0).mean() * 2.5**3, rel=0.04, abs=0.01)
    # Near the surface the field is close to a distance.
    rng = np.random.default_rng(0)
    close = mesh.vertices[rng.integers(len(mesh.vertices), size=200)] + rng.normal(0, 0.02, (200, 3))
    assert np.linalg.norm(gradient(field, close), axis=1).max() < 1.3


def test_marching_finds_a_sphere_to_second_order():
    mesh = march(lambda p: np.linalg.norm(p, axis=1) - 0.8, 48)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.8, atol=1e-9)
    assert mesh.to_trimesh().volume == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=4e-3)


def test_scans_lie_on_their_shape_with_outward_normals():
    data = Shapes(samples=3000, resolution=64)
    for name in ("torus", "star", "blobs_000"):
        scene = data.load(name)
        seen = scene.observation
        assert isinstance(seen, OrientedPoints)
        assert len(seen.points) == 3000
        assert isinstance(scene.target, Truth)
        points, normals = seen.points.numpy(), seen.normals.numpy()
        assert np.abs(data.sdf(name)(points)).max() < 0.02
        inside = data.sdf(name)(points - 0.01 * normals) < 0
        outside = data.sdf(name)(points + 0.01 * normals) > 0
        assert min(inside.mean(), outside.mean()) > 0.98
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-12)


def test_equal_seeds_give_equal_scans_and_others_do_not():
    first, again, other = (Shapes(samples=100, seed=s).scan("torus").points for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_noise_normal_noise_and_outliers_have_the_size_asked_for():
    data = Shapes(samples=20_000, noise=0.01, normal_noise=0.2, outliers=0.1)
    scan, mesh = data.scan("sphere"), data.mesh("sphere")
    length = np.ptp(mesh.vertices, axis=0).max()
    radius = np.linalg.norm(scan.points[:18_000], axis=1)
    assert np.std(radius) == pytest.approx(0.01 * length, rel=0.05)
    angle = np.degrees(np.arccos((scan.normals[:18_000] * scan.points[:18_000] / radius[:, None]).sum(axis=1)))
    assert np.mean(angle) == pytest.approx(14, abs=1)
    strays = np.abs(np.linalg.norm(scan.points, axis=1) - 0.9) > 0.1
    assert len(scan.points) == 20_000
    assert 0.07 < strays.mean() < 0.1


def test_missing_part_and_uneven_density():
    whole, cut = (Shapes(samples=4000, missing=m).scan("sphere").points for m in (0.0, 0.3))
    seen = cKDTree(cut).query(whole)[0] < 0.1
    assert len(cut) == 4000
    assert seen.mean() == pytest.approx(0.72, abs=0.05)
    uneven = Shapes(samples=4000, uneven=1.5).scan("sphere").points
    assert len(uneven) == 4000
    even, varied = (np.sort(cKDTree(p).query(p, k=9)[0][:, 8]) for p in (whole, uneven))
    assert varied[3800] / varied[200] > 1.8 * even[3800] / even[200]


def test_names_and_scenes():
    data = Shapes(train_scenes=3, val_scenes=2, test_scenes=17)
    assert data.names("train") == ["chair_000", "table_000", "bookcase_000"]
    assert Shapes(train_scenes=3, families=["gear", "blobs"]).names("train") == ["gear_000", "blobs_000", "gear_001"]
    assert data.names("test")[:2] == ["sphere", "ellipsoid"]
    assert len(data.names("test")) == 17
    assert len({*data.names("train"), *data.names("val"), *data.names("test")}) == 22
    assert Shapes(test_scenes=2).names() == ["sphere", "ellipsoid"]
    assert Shapes(scene="blobs_012").selected("train") == ["blobs_012"]
    assert Shapes(test_scenes=2, families=["gear"]).names() == ["gear_200000", "gear_200001"]
    with pytest.raises(ConfigError, match=r"train_scenes=100001.*overlap"):
        Shapes(train_scenes=100_001, families=["gear"])
    assert len(Shapes(train_scenes=100_001, families=["gear", "nut"]).names("train")) == 100_001
    with pytest.raises(ConfigError, match=r"(?s)families.*'gaer'.*gear"):
        Shapes(families=["gaer"])
    with pytest.raises(ConfigError, match=r"(?s)scene=tours.*torus"):
        Shapes(scene="tours").selected()


def test_without_normals():
    data = Shapes(normals=False, samples=50)
    assert OrientedPoints not in data.gives
    assert type(data.load("sphere").observation) is Points


@pytest.mark.parametrize("option", ["outliers", "missing", "noise", "uneven", "normal_noise"])
def test_impossible_values_are_named(option):
    with pytest.raises(ConfigError, match=f"data.{option}=-1"):
        Shapes(**{option: -1.0})


def test_loader_batches_of_points():
    data = Shapes(train_scenes=4, samples=200, points=64, batch_size=2, resolution=32)
    items = data.train_dataloader().dataset
    first, again, later = (items[key].observation.points for key in ((0, 1, 0), (0, 1, 0), (1, 1, 0)))
    assert first.shape == (64, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs((first - later).numpy()).max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_watertight_sharp_and_endless(family):
    meshes = [solid_mesh(f"{family}_{number}", 96) for number in (3, 100_003)]
    assert meshes[0].vertices.shape != meshes[1].vertices.shape
    for number, mesh in zip((3, 100_003), meshes, strict=True):
        shape, field = mesh.to_trimesh(), solid(f"{family}_{number}").field
        assert shape.is_watertight
        assert shape.body_count == 1
        assert 1 < np.ptp(mesh.vertices, axis=0).max() < 2.6
        assert np.abs(field(mesh.vertices)).mean() < 2e-3
        centres = shape.triangles_center
        assert (field(centres + 0.01 * shape.face_normals) > 0).mean() > 0.97
        assert (field(centres - 0.01 * shape.face_normals) < 0).mean() > 0.97


def test_walls_thinner_than_a_cell_are_told():
    with pytest.raises(DataError, match="too thin"):
        sharp(sphere((0.083, 0.081, 0.087), 0.001), 16)


def test_points_and_occupancies_share_the_unit_cube():
    data = Shapes(samples=4000, points=300, queries=1000, resolution=64)
    data.use(Points, Occupancies)
    scene = data.item("chair_007", "train", Draw(0, 2, 5))
    assert type(scene.observation) is Points
    assert scene.category == "chair"
    points, told = scene.observation.points, scene.target
    assert points.shape == (300, 3)
    assert float(points.abs().max()) <= 0.5 + 1e-3
    assert float(told.points.abs().max()) <= 0.55
    # What is told of the queries is true of the mesh, in the frame that the points are in.
    world = scene.observation.frame.to_world(told.points.numpy())
    shape = data.mesh("chair_007").to_trimesh()
    assert (shape.contains(world) == told.inside.numpy().astype(bool)).mean() > 0.995
    assert 0 < float(told.inside.mean()) < 1
    assert np.abs(data.sdf("chair_007")(scene.observation.frame.to_world(points.numpy()))).max() < 0.02
    again, other = (data.item("chair_007", "train", Draw(0, 2, index)) for index in (5, 6))
    np.testing.assert_array_equal(again.target.points, told.points)
    assert np.abs((other.target.points - told.points).numpy()).max() > 0
    assert isinstance(data.load("chair_007").target.occupancies, Occupancies)


def test_views_and_voxels_are_of_the_same_object():
    data = Shapes(resolution=64, most_views=3)
    data.use(Views, Voxels)
    first, second = (data.item(name, "train", Draw(0, 0, i, batch=4)) for i, name in enumerate(("mug_001", "gear_002")))
    batch = collate([first, second])
    assert batch.observation.images.shape[0] == 2
    assert batch.observation.images.shape[2:] == (3, 127, 127)
    assert batch.target.grid.shape == (2, 32, 32, 32)
    scene = data.load("mug_001")
    assert scene.observation.images.shape == (3, 3, 127, 127)
    # As in ShapeNetVox32, the longest side fills the grid.
    cells = np.argwhere(scene.target.voxels.grid.numpy() > 0)
    assert np.ptp(cells, axis=0).max() == 31
    # The voxels' centres lie where the mesh is, in the world.
    cells = np.argwhere(scene.target.voxels.grid.numpy() > 0)
    world = scene.target.voxels.frame.to_world((cells + 0.5) / 32 - 0.5)
    assert np.linalg.norm(world - data.mesh("mug_001").to_trimesh().convex_hull.centroid, axis=1).max() < 1.3
    assert (np.abs(data.sdf("mug_001")(world)) < 0.1).mean() > 0.9


@pytest.mark.parametrize("kind", [PosedViews, PosedRGBD])
def test_posed_views_see_the_shape(kind):
    data = Shapes(resolution=64, views=4, image_size=48)
    data.use(kind)
    views = data.load("chair_001").observation
    assert type(views) is kind
    assert views.images.shape == (4, 3, 48, 48)
    mesh = data.mesh("chair_001")
    for view in range(4):
        pixels, depth = project(mesh.vertices, views.intrinsics[view].numpy(), views.poses[view].numpy())
        rows = np.floor(pixels[:, ::-1]).astype(int).clip(0, 47)
        mask = maximum_filter(views.mask[view, 0].numpy(), 3)  # outlines fall between samples of a pixel
        assert (mask[rows[:, 0], rows[:, 1]] > 0).all()
        if kind is PosedRGBD:
            seen = views.depth[view, 0].numpy()
            assert seen[seen > 0].min() == pytest.approx(depth.min(), abs=0.05)
    local = views.normalized()
    reach = np.linalg.norm(local.frame.to_local(mesh.vertices), axis=1).max()
    assert reach == pytest.approx(1 / 1.1, abs=1e-6)


def test_all_code_that_makes_what_is_kept_counts_for_its_key():
    """Else a change of it would go on with what the code before it made."""
    neutral = {"recon.data.images", "recon.errors", "recon.observations"}  # used, but make nothing of what is kept
    neutral |= {f"recon.io.{name}" for name in ("meshes", "parsing", "splits", "types")}
    made_by = {module.__name__ for module in MADE_BY}
    for module in MADE_BY:
        tree = ast.parse(inspect.getsource(module))
        used = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert {name for name in used if name.startswith("recon.")} <= made_by | neutral, module.__name__


def test_what_was_made_is_kept_and_made_again_if_damaged(tmp_path, monkeypatch):
    first = Shapes(resolution=32, cache=str(tmp_path)).mesh("nut_001")
    (file,) = tmp_path.rglob("nut_001.mesh.npz")
    monkeypatch.setattr("recon.data.shapes.solid_mesh", lambda *_: pytest.fail("made again"))
    np.testing.assert_array_equal(Shapes(resolution=32, cache=str(tmp_path)).mesh("nut_001").vertices, first.vertices)
    monkeypatch.setattr("recon.data.shapes.solid_mesh", lambda *_: Mesh(np.ones((3, 3)), np.zeros((1, 3), int)))
    assert len(Shapes(resolution=48, cache=str(tmp_path)).mesh("nut_001").vertices) == 3
    file.write_bytes(file.read_bytes()[:100])
    assert len(Shapes(resolution=32, cache=str(tmp_path)).mesh("nut_001").vertices) == 3
