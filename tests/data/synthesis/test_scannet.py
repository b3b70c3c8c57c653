"""`prepare data=scannet`: recordings of made rooms line up with what is true of them, as their reader sees them."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.data.scannet import ScanNet
from recon.data.scannet_objects import object_mesh
from recon.data.scannet_recording import FolderRecording, SensRecording
from recon.data.synthesis.camera_path import MARGIN, film
from recon.data.synthesis.depth_sensor import DepthSensor
from recon.data.synthesis.scannet import Scannet
from recon.errors import ConfigError
from recon.geometry.cameras import backproject, project
from recon.geometry.distance import MeshDistance
from recon.io.images import read_gray
from recon.io.meshes import read_mesh, write_mesh
from recon.io.scannet import (
    instance_vertices,
    read_aggregation,
    read_axis_alignment,
    read_labels,
    read_matrix,
    read_segments,
)
from recon.io.types import Mesh
from recon.observations import OrientedPoints, PosedRGBD

PERFECT = {"noise": 0.0, "near": 0.0, "far": 20.0, "grazing": 0.0, "edges": 0.0, "spots": 0.0, "lost": 0.0}
SMALL = {"scenes": 1, "frames": 10, "objects": 3, "occluders": 2, "color_size": [60, 80], "depth_size": [48, 64]}
SMALL |= {"detail": 0.2, "workers": 0}
ROUNDED = 0.001  # depth is in whole millimetres, poses in millionths


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    shapes = {"table": trimesh.creation.box((3.0, 1.0, 2.0)), "gizmo": trimesh.creation.icosphere(2)}
    for name, shape in shapes.items():
        (folder / name).mkdir()
        write_mesh(folder / name / "one.ply", Mesh(np.asarray(shape.vertices), np.asarray(shape.faces)))
    return folder


@pytest.fixture(scope="module")
def perfect(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene, without noise or holes."""
    path = tmp_path_factory.mktemp("scans") / "out"
    made, rejected = Scannet(source=str(source), path=str(path), sens=True, **PERFECT, **SMALL).run()
    assert not rejected
    assert made[0].thumbnail is not None
    return path


@pytest.fixture(scope="module")
def scene(perfect: Path) -> Path:
    return perfect / "scene0000_00"


def test_perfect_depth_lies_on_the_true_mesh(perfect: Path, scene: Path) -> None:
    reader = ScanNet(path=str(perfect), every=1)
    reader.use(PosedRGBD, None)
    views = reader.load("scene0000_00").observation
    distance = MeshDistance(read_mesh(scene / "scene0000_00_vh_clean_2.ply"))
    assert views.depth.shape == (10, 1, 48, 64)
    known = 0
    for depth, k, pose in zip(views.depth[:, 0].numpy(), views.intrinsics.numpy(), views.poses.numpy(), strict=True):
        points = backproject(depth.astype(np.float64), k, pose)
        known += len(points)
        assert distance.query(points).distance.max() < ROUNDED
    assert known > 0.7 * views.depth.numel()


def test_fused_cloud_lines_up_within_the_noise(source: Path, tmp_path: Path) -> None:
    Scannet(source=str(source), path=str(tmp_path / "out"), lost=0.0, **SMALL).run()
    reader = ScanNet(path=str(tmp_path / "out"), every=1, far=3.0)
    reader.use(OrientedPoints, None)
    loaded = reader.load("scene0000_00")
    error = MeshDistance(loaded.target.surface).query(loaded.observation.points.numpy()).distance
    assert len(error) > 500
    assert np.sqrt((error**2).mean()) < 0.0015 * 3.0**2


def test_instances_and_labels_are_those_of_the_annotated_vertices(perfect: Path, scene: Path) -> None:
    groups = read_aggregation(scene / "scene0000_00_vh_clean.aggregation.json")
    segments = read_segments(scene / "scene0000_00_vh_clean_2.0.010000.segs.json")
    mesh = read_mesh(scene / "scene0000_00_vh_clean_2.ply")
    vertices = instance_vertices(groups, segments)
    assert sum(map(len, vertices.values())) == len(mesh.vertices)
    table = read_labels(perfect / "scannetv2-labels.combined.tsv")
    parts = {g.object_id: MeshDistance(object_mesh(scene, g.object_id)) for g in groups}
    recording, seen = FolderRecording(scene), set()
    for number, pose in zip(recording.numbers, recording.poses, strict=True):
        instance = read_gray(scene / "instance-filt" / f"{number}.png")
        label = read_gray(scene / "label-filt" / f"{number}.png")
        assert instance.shape == label.shape == (60, 80)
        points = backproject(recording.depth(number).astype(np.float64), recording.depth_k, pose)
        pixels = np.floor(project(points, recording.color_k, pose)[0]).astype(int)
        inside = ((pixels >= 1) & (pixels < (79, 59))).all(axis=1)
        columns, rows = pixels[inside].T
        # Pixels whose neighbours show the same thing: borders may fall to either side.
        around = [instance[rows + dr, columns + dc] for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
        sure = (np.stack(around) == around[4]).all(axis=0)
        points, ids, names = points[inside][sure], instance[rows, columns][sure], label[rows, columns][sure]
        for one in np.unique(ids):
            seen.add(int(one))
            group = next(g for g in groups if g.object_id == one - 1)
            assert {table[int(n)].raw for n in np.unique(names[ids == one])} == {group.label}
            assert np.median(parts[group.object_id].query(points[ids == one]).distance) < 2 * ROUNDED
    assert len(seen) >= 5
    assert {g.label for g in groups} >= {"floor", "wall"}
    assert table[3].nyu40 == 2
    assert {label.nyu40 for label in table.values() if label.raw in ("gizmo", "table")} == {40, 7}


def test_sens_file_holds_the_same_recording(scene: Path) -> None:
    exported, whole = FolderRecording(scene), SensRecording(scene / "scene0000_00.sens")
    assert len(whole.numbers) == 10
    assert np.allclose(exported.poses, whole.poses, atol=1e-5)
    assert np.allclose(exported.color_k, whole.color_k, atol=1e-4)
    assert np.allclose(exported.depth(7), whole.depth(7), rtol=1e-6, atol=0)
    assert np.abs(exported.color(7).astype(int) - whole.color(7)).mean() < 4


def test_axis_alignment_squares_the_room(scene: Path) -> None:
    mesh = read_mesh(scene / "scene0000_00_vh_clean_2.ply")
    align = read_axis_alignment(scene / "scene0000_00.txt")
    points = mesh.vertices @ align[:3, :3].T + align[:3, 3]
    assert mesh.vertices.min() > -1e-6
    assert abs(points[:, 2].min()) < 1e-4
    low, high = points.min(axis=0), points.max(axis=0)
    assert np.allclose(low[:2], -high[:2], atol=1e-4)
    assert 3.5 < (high - low)[:2].max() < 6
    assert 2.3 <= high[2] <= 2.8 + 1e-6
    for group in read_aggregation(scene / "scene0000_00_vh_clean.aggregation.json"):
        if group.label == "wall":
            wall = object_mesh(scene, group.object_id).vertices @ align[:3, :3].T
            assert np.ptp(wall, axis=0).min() < 1e-4


def test_lost_poses_are_written_as_scannet_does_and_left_out_by_the_reader(source: Path, tmp_path: Path) -> None:
    options = {**SMALL, "frames": 12}
    made, _ = Scannet(source=str(source), path=str(tmp_path / "out"), **{**PERFECT, "lost": 0.4}, **options).run()
    poses = [read_matrix(tmp_path / "out" / "scene0000_00" / "pose" / f"{i}.txt") for i in range(12)]
    lost = sum(bool(np.isneginf(pose).all()) for pose in poses)
    assert 0 < lost == made[0].facts["poses lost"]
    reader = ScanNet(path=str(tmp_path / "out"), every=1)
    reader.use(PosedRGBD, None)
    assert len(reader.load("scene0000_00").observation.poses) == 12 - lost


def test_some_objects_are_hidden_in_part(scene: Path) -> None:
    """Occluders stand within a hand's breadth of other things."""
    groups = [
        g for g in read_aggregation(scene / "scene0000_00_vh_clean.aggregation.json") if g.label in ("gizmo", "table")
    ]
    meshes = [object_mesh(scene, g.object_id) for g in groups]
    assert len(meshes) >= 4
    nearest = [
        min(MeshDistance(a).query(b.vertices).distance.min() for j, b in enumerate(meshes) if i != j)
        for i, a in enumerate(meshes)
    ]
    assert min(nearest) < 0.5


def test_same_seed_same_bytes(source: Path, perfect: Path, tmp_path: Path) -> None:
    Scannet(source=str(source), path=str(tmp_path / "again"), sens=True, **PERFECT, **SMALL).run()
    for file in ("depth/3.png", "color/3.jpg", "pose/3.txt", "scene0000_00_vh_clean_2.ply", "scene0000_00.sens"):
        assert (perfect / "scene0000_00" / file).read_bytes() == (
            tmp_path / "again" / "scene0000_00" / file
        ).read_bytes()


def test_scans_become_clouds_in_the_unit_cube(scene: Path, tmp_path: Path) -> None:
    scan = scene / "scene0000_00_vh_clean_2.ply"
    Scannet(source=str(scan), path=str(tmp_path / "out"), kind="fused", samples=5000, workers=0).run()
    loaded = ScanNet(path=str(tmp_path / "out"), noise=0.0, points=1000).load("scene0000_00")
    points = loaded.observation.points.numpy()
    assert 0.95 < np.ptp(points, axis=0).max() <= 1.001
    world = loaded.observation.frame.to_world(points)
    assert MeshDistance(read_mesh(scan)).query(world).distance.max() < 0.005


@pytest.mark.parametrize("depth", [0.5, 2.0, 4.0])
def test_noise_grows_with_the_square_of_depth(depth: float, rng: np.random.Generator) -> None:
    sensor = DepthSensor(noise=0.003, spots=0.0, edges=0.0)
    reading = sensor.measure(np.full((200, 200), depth), np.ones((200, 200)), rng) / 1000
    wanted = np.hypot(0.003 * depth**2, 0.001 / np.sqrt(12))
    assert np.isclose(reading.std(), wanted, rtol=0.03)
    assert abs(reading.mean() - depth) < 5 * wanted / 200


def test_holes_are_where_real_cameras_have_them(rng: np.random.Generator) -> None:
    flat, head_on = np.full((100, 150), 2.0), np.ones((100, 150))
    assert (DepthSensor(edges=0, spots=0).measure(flat, head_on, rng) > 0).all()
    assert not DepthSensor(near=2.5).measure(flat, head_on, rng).any()
    assert not DepthSensor(far=1.5).measure(flat, head_on, rng).any()
    assert not DepthSensor().measure(flat, head_on * np.sin(np.radians(4)), rng).any()
    assert 0.3 < (DepthSensor(spots=0).measure(flat, head_on * np.sin(np.radians(10)), rng) > 0).mean() < 0.7
    step = np.where(np.arange(150) < 75, 1.0, 2.0) * np.ones((100, 1))
    missing = DepthSensor(edges=1.0, spots=0).measure(step, head_on, rng) == 0
    assert missing[:, 74:76].all()
    assert not missing[:, :73].any()
    spots = [(DepthSensor(spots=0.05).measure(flat, head_on, rng) == 0).mean() for _ in range(40)]
    assert 0.02 < np.mean(spots) < 0.08


def test_camera_stays_in_the_room_and_looks_at_things(rng: np.random.Generator) -> None:
    low, high = np.array([-2.0, -1.5, 0.0]), np.array([2.0, 1.5, 2.5])
    boxes = np.array([[[-1.8, -1.2, 0], [-1.0, -0.4, 0.8]], [[0.5, 0.4, 0], [1.2, 1.3, 1.7]]])
    poses = film(boxes, low, high, 200, 1.5, rng)
    eyes, forward = poses[:, :3, 3], poses[:, :3, 2]
    assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1)
    assert (eyes[:, :2] >= low[:2] + MARGIN - 1e-9).all()
    assert (eyes[:, :2] <= high[:2] - MARGIN + 1e-9).all()
    assert (poses[:, 2, 1] < -0.1).all()  # the camera's y points down
    for low_corner, high_corner in boxes:
        assert not ((eyes > low_corner) & (eyes < high_corner)).all(axis=1).any()
        toward = (low_corner + high_corner) / 2 - eyes
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        assert ((toward * forward).sum(axis=1) > 0.95).mean() > 0.15
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() < 0.15


@pytest.mark.parametrize(
    ("options", "message"), [({"frames": 0}, "positive|small"), ({"kind": "objects_of"}, "no such kind")]
)
def test_impossible_options(options: dict, message: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Scannet(**{"source": str(source), "path": str(tmp_path / "out"), "workers": 0, **options}).run()
