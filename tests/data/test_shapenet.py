"""data=shapenet: what an item is drawn as, what a scene's truth is, and which of the two published sets is given."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.data.loading import Draw
from recon.data.onet_layout import SPLITS
from recon.data.shapenet import ShapeNet
from recon.data.synthesis.room_layout import BOX
from recon.data.synthesis.shapenet import ShapeNet as Factory
from recon.errors import ConfigError, DataError
from recon.geometry.distance import MeshDistance
from recon.io.meshes import write_mesh
from recon.io.onet import write_pointcloud, write_points
from recon.io.splits import write_list, write_metadata
from recon.io.types import Cloud, Mesh
from recon.observations import Occupancies, OrientedPoints, Points, Scene, Truth, Views

STORED, QUERIES = 500, 804
LOC, SCALE = np.array([1.0, -2.0, 3.0]), 0.5
CLASSES = {"03001627": ["aa", "bb", "cc"], "04090263": ["dd"]}


def write_model(folder: Path, seed: int, half: bool = True) -> None:
    """A sphere of radius 0.4 about the origin."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((STORED, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    queries = rng.uniform(-0.55, 0.55, (QUERIES, 3)).astype(np.float16 if half else np.float32)
    write_pointcloud(folder / "pointcloud.npz", 0.4 * normals, normals, LOC, SCALE, half)
    write_points(folder / "points.npz", queries, np.linalg.norm(queries, axis=1) < 0.4, LOC, SCALE, half)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for group, models in CLASSES.items():
        for seed, model in enumerate(models):
            write_model(tmp_path / group / model, seed)
        for split in ("train", "val", "test"):
            write_list(tmp_path / group / f"{split}.lst", models)
    write_metadata(tmp_path / "metadata.yaml", {"03001627": "chair,seat", "04090263": "rifle"})
    return tmp_path


def data(root: Path, **options: Any) -> ShapeNet:
    return ShapeNet(**{"path": str(root), "points": 300, "queries": 200, **options})


def cloud_of(scene: Scene) -> OrientedPoints:
    assert isinstance(scene.observation, OrientedPoints)
    return scene.observation


def queries_of(scene: Scene) -> Occupancies:
    assert isinstance(scene.target, Occupancies)
    return scene.target


def test_names_are_class_by_class_and_fit_for_folders(root: Path) -> None:
    names = ["03001627_aa", "03001627_bb", "03001627_cc", "04090263_dd"]
    assert data(root).names("train") == names
    assert data(root, classes=["rifle"]).names("val") == names[3:]
    assert data(root, classes=["04090263", "chair"]).names("val") == names
    scene = data(root).load("04090263_dd")
    assert (scene.category, scene.index, scene.observation.name) == ("rifle", 3, "04090263_dd")
    (root / "metadata.yaml").unlink()
    assert data(root).load("04090263_dd").category == "04090263"


def test_the_folder_that_the_archive_unpacks_to_is_found(root: Path) -> None:
    inside = root / "data" / "ShapeNet"
    inside.mkdir(parents=True)
    (root / "03001627").rename(inside / "03001627")
    assert len(data(root / "data").names()) == 3


def test_a_training_item_is_drawn_from_what_is_stored(root: Path) -> None:
    scene = data(root, points=5000, noise=0.0, jitter=0.0).item("03001627_aa", "train", Draw(0, 0, 0))
    seen, target = cloud_of(scene), queries_of(scene)
    assert seen.points.dtype == seen.normals.dtype == target.points.dtype == target.inside.dtype == torch.float32
    assert seen.points.shape == seen.normals.shape == (5000, 3)
    assert target.points.shape == (200, 3)
    assert target.inside.shape == (200,)
    with np.load(root / "03001627" / "aa" / "pointcloud.npz") as file:
        stored = {tuple(row): normal for row, normal in zip(file["points"].astype("f4"), file["normals"], strict=True)}
    expected = np.stack([stored[tuple(row)] for row in seen.points.numpy()])  # each row one of them, with its normal
    np.testing.assert_allclose(seen.normals, expected, atol=1e-3)
    assert len(np.unique(seen.points, axis=0)) > 0.98 * STORED  # of all of them, with replacement
    np.testing.assert_array_equal(target.inside, np.linalg.norm(target.points, axis=1) < 0.4)


def test_noise_and_jitter(root: Path) -> None:
    scene = data(root, points=20_000, queries=20_000).item("03001627_aa", "train", Draw(0, 0, 0))
    seen, target = cloud_of(scene), queries_of(scene)
    off = seen.points - 0.4 * seen.normals
    assert float(off.std()) == pytest.approx(0.005, rel=0.02)
    plain = queries_of(
        data(root, points=20_000, queries=20_000, jitter=0.0).item("03001627_aa", "train", Draw(0, 0, 0))
    )
    assert torch.equal(plain.points, plain.points.half().float())
    assert float((target.points - plain.points).std()) == pytest.approx(1e-4, rel=0.02)
    write_model(root / "03001627" / "aa", 5, half=False)
    whole = queries_of(data(root, queries=5000).item("03001627_aa", "train", Draw(0, 0, 0)))
    with np.load(root / "03001627" / "aa" / "points.npz") as file:
        assert set(map(tuple, whole.points.numpy())) <= set(map(tuple, file["points"]))  # float32 needs no jitter


def test_draws_depend_on_seed_epoch_and_number_alone(root: Path) -> None:
    module, other = data(root), data(root)
    other.item("03001627_bb", "train", Draw(0, 0, 1))

    def draw(module: ShapeNet, *numbers: int) -> torch.Tensor:
        return cloud_of(module.item("03001627_aa", "train", Draw(*numbers))).points

    assert torch.equal(draw(module, 0, 3, 0), draw(other, 0, 3, 0))
    assert torch.equal(draw(module, 0, 3, 0, 7), draw(other, 0, 3, 0, 8))
    for numbers in ((1, 3, 0), (0, 4, 0), (0, 3, 1)):
        assert not torch.equal(draw(module, 0, 3, 0), draw(module, *numbers))


def test_validation_sees_all_queries_once(root: Path) -> None:
    target = queries_of(data(root, jitter=0.0).item("03001627_aa", "val", Draw(0, 0, 0)))
    with np.load(root / "03001627" / "aa" / "points.npz") as file:
        np.testing.assert_array_equal(target.points, file["points"].astype(np.float32))
        np.testing.assert_array_equal(target.inside, np.unpackbits(file["occupancies"])[:QUERIES])
    few = queries_of(data(root, val_queries=50).item("03001627_aa", "val", Draw(0, 0, 0)))
    assert few.points.shape == (50, 3)


def test_a_scene_lies_in_the_world(root: Path) -> None:
    scene = data(root).load("03001627_bb")
    seen, truth = cloud_of(scene), scene.target
    assert isinstance(truth, Truth)
    assert isinstance(truth.surface, Cloud)
    assert truth.occupancies is not None
    assert truth.surface.normals is not None
    assert truth.surface.points.dtype == np.float64
    assert truth.surface.points.shape == (STORED, 3)
    # A sphere of 0.4 in the unit cube is one of 0.2 about LOC, which float16 knows to 1e-4.
    np.testing.assert_allclose(np.linalg.norm(truth.surface.points - LOC, axis=1), 0.2, atol=3e-4)
    np.testing.assert_allclose(truth.surface.points - LOC, 0.2 * truth.surface.normals, atol=5e-4)
    np.testing.assert_allclose(np.linalg.norm(seen.to_cloud().points - LOC, axis=1), 0.2, atol=6 * 0.0025)
    assert float(seen.points.abs().max()) < 0.55  # but the network sees the unit cube
    assert len(truth.occupancies.points) == QUERIES
    inside = np.linalg.norm(truth.occupancies.points.numpy() - LOC, axis=1) < 0.2
    np.testing.assert_array_equal(truth.occupancies.inside, inside)


def test_a_scene_is_always_the_same_draw(root: Path) -> None:
    first, second = data(root).load("03001627_bb"), data(root).load("03001627_bb")
    assert torch.equal(cloud_of(first).points, cloud_of(second).points)
    assert not torch.equal(cloud_of(first).points, cloud_of(data(root, seed=1).load("03001627_bb")).points)


def test_normals_are_read_only_where_they_are_wanted(root: Path) -> None:
    module = data(root)
    module.use(Points, Occupancies)
    file = root / "03001627" / "aa" / "pointcloud.npz"
    write_pointcloud(file, np.zeros((50, 3)), np.zeros((40, 3)))  # would be an error if they were
    assert type(module.item("03001627_aa", "train", Draw(0, 0, 0)).observation) is Points
    module.use(OrientedPoints, Occupancies)
    with pytest.raises(DataError, match="field 'normals': there are 40 for 50 points"):
        module.item("03001627_aa", "train", Draw(0, 0, 0))


def test_whether_there_are_normals_is_known_beforehand(root: Path) -> None:
    assert data(root).gives == (OrientedPoints, Points)
    path = root / "03001627" / "aa" / "pointcloud.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])  # a damaged file is told when its item is read; the next one answers
    assert data(root).gives == (OrientedPoints, Points)
    assert data(root / "none").gives == (OrientedPoints, Points, Views)  # what is missing is told when it is read
    write_pointcloud(path, np.zeros((50, 3)))
    module = data(root)
    assert module.gives == (Points,)
    assert type(module.item("03001627_aa", "train", Draw(0, 0, 0)).observation) is Points
    assert type(module.load("03001627_aa").observation) is Points
    module.use(OrientedPoints, Occupancies)
    with pytest.raises(DataError, match="field 'normals': it is missing"):
        module.item("03001627_aa", "train", Draw(0, 0, 0))
    for name in ("train", "val", "test"):
        write_list(root / "03001627" / f"{name}.lst", [])
    with pytest.raises(DataError, match="its lists are empty"):
        _ = data(root).gives


def test_a_part_of_the_cloud(root: Path) -> None:
    """The lower part along one axis: 70 to 100 % of the sphere's extent, another cut in each draw."""
    module, shares, axes = data(root, part_ratio=0.7, noise=0.0, points=2000), [], []
    for epoch in range(60):
        points = cloud_of(module.item("03001627_aa", "train", Draw(0, epoch, 0))).points
        tops = (points.max(dim=0).values + 0.4) / 0.8
        shares.append(float(tops.min()))
        axes.append(int(tops.argmin()))
    assert 0.69 < min(shares) < 0.75
    assert 0.95 < max(shares) <= 1.0
    assert {axes.count(axis) > 8 for axis in range(3)} == {True}


@pytest.mark.parametrize("options", [{"noise": -1.0}, {"points": 0}, {"part_ratio": 0.0}, {"part_ratio": 1.5}])
def test_impossible_options(root: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="data"):
        data(root, **options)


def test_workers_give_what_one_process_gives(root: Path) -> None:
    alone, workers = (data(root, batch_size=2, workers=n) for n in (0, 2))
    for one, two in zip(alone.train_dataloader(), workers.train_dataloader(), strict=True):
        assert torch.equal(one.observation.points, two.observation.points)
        assert torch.equal(one.target.inside, two.target.inside)
        assert one.observation.points.shape == (2, 300, 3)


def test_it_travels_to_workers_that_are_started_anew(root: Path) -> None:
    module = data(root)
    before = module.item("03001627_aa", "train", Draw(0, 0, 0))
    after = pickle.loads(pickle.dumps(module)).item("03001627_aa", "train", Draw(0, 0, 0))
    assert torch.equal(cloud_of(before).points, cloud_of(after).points)


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no where' is not there.*73 GB.*recon prepare data=shapenet"):
        data(root / "no where").names()
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"no folder in it has a train\.lst"):
        data(root / "empty").names()
    with pytest.raises(ConfigError, match=r"(?s)data\.classes: there is no 'chairs'.*Did you mean 'chair'"):
        data(root, classes=["chairs"]).names()
    with pytest.raises(ConfigError, match=r"(?s)data\.scene=03001627_ab.*Did you mean"):
        data(root, scene="03001627_ab").selected()
    with pytest.raises(ConfigError, match="no '03001627_zz' among the 4"):
        data(root).load("03001627_zz")
    (root / "04090263" / "val.lst").unlink()
    with pytest.raises(DataError, match=r"(?s)val\.lst': this list is missing.*one a line"):
        data(root).names("val")


def test_two_models_of_one_name(root: Path) -> None:
    write_list(root / "a" / "test.lst", ["b_c"])
    write_list(root / "a_b" / "test.lst", ["c"])
    with pytest.raises(DataError, match="two models would be called 'a_b_c'"):
        data(root, classes=["a", "a_b"]).names()


def test_a_damaged_item_stops_or_is_skipped(root: Path) -> None:
    path = root / "03001627" / "bb" / "points.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"bb/points\.npz'.*no readable npz"):
        list(data(root, batch_size=4).val_dataloader())
    (batch,) = data(root, batch_size=4, on_error="skip", max_skipped=0.5).val_dataloader()
    assert [name for name, _ in batch.skipped] == ["03001627_bb"]
    assert "points.npz" in batch.skipped[0][1]
    (root / "03001627" / "cc" / "pointcloud.npz").unlink()
    with pytest.raises(DataError, match=r"cc/pointcloud\.npz': No such file"):
        data(root).load("03001627_cc")


def test_what_the_factory_makes_is_read_as_it_was(tmp_path: Path) -> None:
    """A block off the origin, 3 long: its surface, inside and place come back through float16."""
    low, size = np.array([2.0, -1.0, 5.0]), np.array([3.0, 1.0, 2.0])
    block = Mesh(low + size * BOX.vertices, BOX.faces)
    write_mesh(tmp_path / "things" / "block.ply", block)
    made = Factory(
        points=3000, queries=3000, source=str(tmp_path / "things"), path=str(tmp_path / "made"), kind="points"
    )
    made.run()
    module = ShapeNet(path=str(tmp_path / "made"))
    (name,) = [n for split in SPLITS for n in module.names(split)]
    (split,) = [split for split in SPLITS if module.names(split)]
    scene = module.load(name, split)
    assert (name, scene.category) == ("things_block", "things")
    assert isinstance(scene.target, Truth)
    assert isinstance(scene.target.surface, Cloud)
    assert scene.target.occupancies is not None
    assert MeshDistance(block).query(scene.target.surface.points).distance.max() < 3 * 2.5e-4
    points = scene.target.occupancies.points.numpy()
    outward = np.maximum(low - points, points - low - size).max(axis=1)
    sure = np.abs(outward) > 3 * 2.5e-4
    np.testing.assert_array_equal((outward < 0)[sure], scene.target.occupancies.inside.numpy()[sure] > 0.5)
    seen = cloud_of(scene)
    np.testing.assert_allclose(seen.frame.to_world(np.zeros((1, 3)))[0], low + size / 2, atol=1e-9)
    assert seen.frame.scale == pytest.approx(3)
