"""data=rooms: several files an item, of which each draw takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.data.loading import Draw
from recon.data.onet_layout import SPLITS
from recon.data.rooms import Rooms
from recon.data.synthesis.rooms import Rooms as Factory
from recon.errors import ConfigError, DataError
from recon.geometry.distance import MeshDistance
from recon.io.meshes import read_mesh
from recon.io.splits import write_list
from recon.io.types import Cloud
from recon.metrics.walls import remove_walls
from recon.observations import Occupancies, OrientedPoints, Points, Truth

FILES = 4


def write_room(folder: Path, files: int = FILES) -> None:
    """As published: no scale, no place; labels of parts beside the points. File k holds points at height k / 10."""
    for kind in ("pointcloud", "points_iou"):
        (folder / kind).mkdir(parents=True)
    for number in range(files):
        points = np.zeros((80, 3), np.float16)
        points[:, 1] = number / 10
        points[:, 0] = np.linspace(-0.5, 0.5, 80)
        labels = np.full(80, -1)
        np.savez(
            folder / "pointcloud" / f"pointcloud_{number:02d}.npz",
            points=points,
            normals=np.tile(np.array([0, 1, 0], np.float16), (80, 1)),
            semantics=labels,
        )
        np.savez(
            folder / "points_iou" / f"points_iou_{number:02d}.npz",
            points=points,
            occupancies=np.packbits(points[:, 0] > 0),
            z_scale=0,
            semantics=labels,
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for group in ("rooms_04", "rooms_08"):
        for room in ("00000000", "00000001"):
            write_room(tmp_path / group / room)
        for split in ("train", "val", "test"):
            write_list(tmp_path / group / f"{split}.lst", ["00000000", "00000001"])
    return tmp_path


def data(root: Path, **options: Any) -> Rooms:
    return Rooms(**{"path": str(root), "points": 50, "queries": 40, "noise": 0.0, "jitter": 0.0, **options})


def heights(module: Rooms, split: Any, epoch: int) -> tuple[int, int]:
    """Which file the points came from, and which the queries."""
    scene = module.item("rooms_04_00000001", split, Draw(0, epoch, 1))
    assert isinstance(scene.observation, Points)
    assert isinstance(scene.target, Occupancies)
    seen, asked = scene.observation.points[:, 1], scene.target.points[:, 1]
    assert len(seen.unique()) == len(asked.unique()) == 1
    assert torch.equal(scene.target.inside > 0.5, scene.target.points[:, 0] > 0)
    return round(10 * float(seen[0])), round(10 * float(asked[0]))


def height(module: Rooms, name: str) -> int:
    """Which file the points of a scene came from."""
    scene = module.load(name)
    assert isinstance(scene.observation, Points)
    return round(10 * float(scene.observation.points[0, 1]))


def test_each_draw_takes_a_file_of_points_and_one_of_queries(root: Path) -> None:
    drawn = [heights(data(root), "train", epoch) for epoch in range(80)]
    assert {first for first, _ in drawn} == {second for _, second in drawn} == set(range(FILES))
    assert len(set(drawn)) > FILES  # independently
    assert drawn[:5] == [heights(data(root), "train", epoch) for epoch in range(5)]


def test_validation_takes_all_queries_of_one_file(root: Path) -> None:
    scene = data(root).item("rooms_04_00000001", "val", Draw(0, 0, 1))
    assert isinstance(scene.target, Occupancies)
    assert scene.target.points.shape == (80, 3)
    assert len(scene.target.points[:, 1].unique()) == 1


def test_a_scene_is_always_the_same(root: Path) -> None:
    scene, again = data(root).load("rooms_08_00000000"), data(root).load("rooms_08_00000000")
    assert isinstance(scene.observation, OrientedPoints)
    assert isinstance(again.observation, OrientedPoints)
    assert isinstance(scene.target, Truth)
    assert scene.target.occupancies is not None
    assert torch.equal(scene.observation.points, again.observation.points)
    assert (scene.category, scene.index) == ("rooms_08", 2)
    assert scene.observation.frame.scale == 1
    assert torch.equal(scene.observation.normals[0], torch.tensor([0.0, 1.0, 0.0]))
    assert len(scene.target.occupancies.points) == 80
    assert {height(data(root, seed=seed), "rooms_08_00000000") for seed in range(30)} == set(range(FILES))


def test_rooms_of_one_file_an_item_and_the_published_folder(root: Path) -> None:
    room = root / "rooms_04" / "00000000"
    for kind in ("pointcloud", "points_iou"):
        (room / kind / f"{kind}_02.npz").rename(room / f"{kind}.npz")
        for file in (room / kind).iterdir():
            file.unlink()
        (room / kind).rmdir()
    (root / "data").mkdir()
    inside = root / "data" / "synthetic_room_dataset"
    inside.mkdir()
    (root / "rooms_04").rename(inside / "rooms_04")
    module = data(root / "data")
    assert len(module.names()) == 2
    assert height(module, "rooms_04_00000000") == 2


def test_a_folder_is_listed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recon.data import onet_layout

    listed: list[str] = []
    listdir = onet_layout.os.listdir

    def noted(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    monkeypatch.setattr(onet_layout.os, "listdir", noted)
    module = data(root)
    for epoch in range(20):
        heights(module, "train", epoch)
    assert len(listed) == len(set(listed)) == 2


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)is not there.*144 GB.*recon prepare data=rooms"):
        data(root / "none").names()
    room = root / "rooms_04" / "00000000"
    for file in (room / "points_iou").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"points_iou': this folder holds no \.npz file"):
        data(root).load("rooms_04_00000000")


@pytest.mark.slow
def test_what_the_factory_makes_is_read_as_it_was(tmp_path: Path) -> None:
    small: dict[str, Any] = {"surface_points": 4000, "queries": 4000, "files": 2, "numbers": [4], "rooms": 1}
    Factory(**small, source="shapes", path=str(tmp_path)).run()
    module = Rooms(path=str(tmp_path))
    ((name, split),) = [(n, s) for s in SPLITS for n in module.names(s)]
    scene = module.load(name, split)
    assert isinstance(scene.target, Truth)
    assert isinstance(scene.target.surface, Cloud)
    assert scene.target.occupancies is not None
    mesh = read_mesh(tmp_path / "rooms_04" / name.removeprefix("rooms_04_") / "mesh.ply")
    found = MeshDistance(mesh).query(scene.target.surface.points)
    assert found.distance.max() < 5e-4
    points, inside = scene.target.occupancies.points.numpy(), scene.target.occupancies.inside.numpy() > 0.5
    assert 0.005 < inside.mean() < 0.3
    assert points[inside, 1].min() > -0.5 - 5e-4
    assert points[inside, 1].max() < mesh.vertices[:, 1].max() + 5e-4
    kept = remove_walls(mesh, scene.target.surface.points, 2000).points
    assert np.all(kept >= scene.target.surface.points.min(axis=0) - 0.0071)
