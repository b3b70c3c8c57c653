from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from recon.data.images import Preparation
from recon.data.loading import Draw, collate
from recon.data.rendering_names import ratio_splits
from recon.data.renderings import Renderings
from recon.data.synthesis.render import Renderer
from recon.data.synthesis.textures import Textured
from recon.errors import ConfigError, DataError
from recon.geometry.voxelize import voxelize
from recon.io.binvox import Binvox, write_binvox
from recon.io.files import write_text
from recon.io.images import write_png
from recon.io.renderings import SIDE, Viewpoint, format_viewpoints, intrinsics, read_viewpoints
from recon.io.types import Mesh

CHAIRS = [f"c{number}" for number in range(5)]
VIEWS = 6


def write_object(root: Path, name: str, value: int, side: int = 8) -> None:
    """Views whose red tells their number; voxels of which `value` + 1 are filled along x."""
    for number in range(VIEWS):
        pixels = np.zeros((20, 22, 4), dtype=np.uint8)
        pixels[..., 0], pixels[..., 1] = number + 1, value
        pixels[5:15, 5:15, 3] = 255
        write_png(root / "images" / name / "rendering" / f"{number:02}.png", pixels)
    (root / "images" / name / "rendering" / "rendering_metadata.txt").write_text("0 0 0 1 25\n" * VIEWS)
    grid = np.zeros((side,) * 3, dtype=bool)
    grid[: value + 1, 0, 0] = True
    write_binvox(root / "voxels" / name / "model.binvox", Binvox(grid, np.array([1.0, 2.0, 3.0]), 4.0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value, model in enumerate(CHAIRS):
        write_object(tmp_path, f"03001627/{model}", value)
    write_object(tmp_path, "03636649/lamp", 6)
    return tmp_path


def reader(root: Path, **options: object) -> Renderings:
    chosen = {"prepare": Preparation(crop=16), "resolution": 8, "test_views": 3, **options}
    return Renderings(root / "images", root / "voxels", **chosen)  # type: ignore[arg-type]


def reds(images: torch.Tensor) -> list[int]:
    """Numbers of the views, from the middle of each."""
    return [int(value) - 1 for value in images[:, 0, 8, 8]]


def test_four_fifths_train_and_the_rest_validates_and_tests(root):
    data = reader(root)
    assert data.names("train") == [f"03001627/{model}" for model in CHAIRS[:4]]
    assert data.names("val") == data.names("test") == ["03001627/c4", "03636649/lamp"]


def test_the_ratio_is_that_of_the_original():
    counts = {"02691156": (4045, 3236), "03001627": (6778, 5422), "04530566": (1939, 1551)}
    splits = ratio_splits({name: [f"{i:05}" for i in range(total)][::-1] for name, (total, _) in counts.items()})
    for name, (total, train) in counts.items():
        assert splits["train"][name] == [f"{i:05}" for i in range(train)]
        assert splits["test"][name] == splits["val"][name] == [f"{i:05}" for i in range(train, total)]


def test_classes_are_known_by_id_and_by_name(root):
    assert reader(root, classes=["lamp"]).names("test") == ["03636649/lamp"]
    assert reader(root, classes=["03636649", "lamp"]).names("test") == ["03636649/lamp"]
    (root / "names.json").write_text(json.dumps({"03636649": "light"}))
    data = reader(root, classes=["light"], taxonomy=str(root / "names.json"))
    assert data.load("03636649/lamp").category == "light"
    with pytest.raises(ConfigError, match=r"(?s)'chairs' is not in.*Did you mean 'chair'"):
        reader(root, classes=["chairs"])


@pytest.mark.parametrize("kind", ["pix2vox", "plain", "folder"])
def test_lists_decide_where_they_are_given(root, caplog, kind):
    lists = {"train": ["c3", "c1", "gone"], "val": ["c2"], "test": ["c0"]}
    path = root / ("lists" if kind == "folder" else "lists.json")
    if kind == "folder":
        (path / "03001627").mkdir(parents=True)
        for split, models in lists.items():
            (path / "03001627" / f"{split}.lst").write_text("\n".join(models) + "\n")
    elif kind == "plain":
        path.write_text(json.dumps({split: [f"03001627/{m}" for m in models] for split, models in lists.items()}))
    else:
        path.write_text(json.dumps([{"taxonomy_id": "03001627", "taxonomy_name": "chair", **lists}]))
    with caplog.at_level(logging.WARNING, logger="recon"):
        data = reader(root, classes=["chair"], split=str(path))
        assert data.names("train") == ["03001627/c3", "03001627/c1"]
    assert "1 objects lack views or voxels" in caplog.text
    assert data.names("val") == ["03001627/c2"]
    assert data.names("test") == ["03001627/c0"]


def test_a_scene_has_its_first_views_and_its_truth_in_the_world(root):
    scene = reader(root).load("03001627/c2")
    views, truth = scene.observation.validated(), scene.target
    assert views.images.shape == (3, 3, 16, 16)
    assert views.images.dtype == torch.uint8
    assert reds(views.images) == [0, 1, 2]
    assert views.view_names == ("00.png", "01.png", "02.png")
    assert views.images[0, :, 0, 0].tolist() == [240, 240, 240]
    assert views.mask[:, 0, 8, 8].tolist() == [255] * 3
    assert views.mask[0, 0, 0, 0] == 0
    assert scene.category == "chair"
    assert truth.voxels.grid.sum() == 3
    # Three voxels of side 0.5 along x, from (1, 2, 3) on.
    assert truth.surface.to_trimesh().is_watertight
    np.testing.assert_allclose(truth.surface.vertices.min(axis=0), [1, 2, 3])
    np.testing.assert_allclose(truth.surface.vertices.max(axis=0), [2.5, 2.5, 3.5])
    np.testing.assert_allclose(views.frame.to_world(np.full((1, 3), 0.5)), [[5, 6, 7]])


def test_the_views_to_test_on_may_be_chosen(root):
    assert reds(reader(root, test_views=[4, 0, 4]).load("03001627/c0").observation.images) == [4, 0, 4]
    item = reader(root, test_views=[5]).item("03001627/c0", "val", Draw(0, 0, 0))
    assert reds(item.observation.images) == [5]
    assert item.observation.images[0, :, 0, 0].tolist() == [240, 240, 240]


def test_a_batch_has_one_number_of_views_and_they_are_uniform(root):
    data = reader(root)
    counts = []
    for batch in range(60):
        items = [data.item(name, "train", Draw(0, 0, i, batch)) for i, name in enumerate(data.names("train")[:2])]
        together = collate(items)
        assert together.target.grid.shape == (2, 8, 8, 8)
        assert together.target.grid.dtype == torch.float32
        counts.append(together.observation.images.shape[1])
    assert set(counts) == {1, 2, 3, 4, 5}
    assert np.bincount(counts)[1:].min() >= 4


def test_views_are_drawn_again_or_once(root):
    drawn = {True: [], False: []}
    for replacement, found in drawn.items():
        data = reader(root, views=5, min_views=5, replacement=replacement)
        for index in range(60):
            found.append(reds(data.item("03001627/c0", "train", Draw(0, 0, index)).observation.images))
    assert all(len(set(numbers)) == 5 for numbers in drawn[False])
    assert any(len(set(numbers)) < 5 for numbers in drawn[True])
    for found in drawn.values():
        counts = np.bincount(np.ravel(found), minlength=VIEWS)
        assert counts.min() > 25  # of 50 expected
        assert any(numbers != sorted(numbers) for numbers in found)


def test_an_item_depends_on_its_numbers_alone(root):
    data = reader(root)

    def images(epoch: int, index: int) -> torch.Tensor:
        return data.item("03001627/c1", "train", Draw(3, epoch, index, 0)).observation.images

    assert torch.equal(images(1, 2), images(1, 2))
    assert not torch.equal(images(1, 2), images(2, 2))


def test_damage_names_the_file(root):
    data = reader(root, views=5, min_views=5, replacement=False)
    name = "03001627/c0"
    place = root / "images" / name / "rendering"
    item = (name, "train", Draw(0, 0, 0))
    (place / "05.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"05\.png"):
        reader(root, test_views=6).load(name)
    for number in (5, 4):
        (place / f"{number:02}.png").unlink()
    with pytest.raises(DataError, match=r"rendering': view 4 is wanted, of 4"):
        data.item(*item)
    write_png(place / "00.png", np.zeros((12, 30, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"00\.png': of 30 x 12 pixels 16 x 16 cannot"):
        data.load(name)
    for file in place.iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"rendering': view 2 is wanted, of 0"):
        data.load(name)
    place.rmdir()
    with pytest.raises(DataError, match=r"rendering': No such file"):
        data.item(*item)
    grid = np.zeros((8, 8, 8), dtype=bool)
    write_binvox(root / "voxels" / name / "model.binvox", Binvox(grid, np.zeros(3)))
    with pytest.raises(DataError, match=r"model\.binvox': data: no voxel is filled"):
        data.load(name)
    write_binvox(root / "voxels" / name / "model.binvox", Binvox(~grid[:4, :4, :4], np.zeros(3)))
    with pytest.raises(DataError, match=r"model\.binvox': dim: 4 voxels along a side, not 8"):
        data.item(*item)
    (root / "voxels" / name / "model.binvox").unlink()
    with pytest.raises(DataError, match=r"model\.binvox': No such file"):
        data.load(name)


def test_voxels_and_cameras_agree_with_the_views(tmp_path):
    """The true surface, seen by the cameras of the metadata, covers what the views show, and little else."""
    parts = [
        trimesh.creation.box((0.6, 0.1, 0.4)),
        trimesh.creation.box((0.1, 0.5, 0.1)),
        trimesh.creation.icosphere(2, 0.12),
    ]
    for part, place in zip(parts, ((0, -0.2, 0), (0.2, 0.1, -0.1), (-0.2, 0, 0.1)), strict=True):
        part.apply_translation(place)
    joined = trimesh.util.concatenate(parts)
    mesh = Mesh(np.asarray(joined.vertices), np.asarray(joined.faces))
    viewpoints = [Viewpoint(azimuth, 27.5, 0, 0.8) for azimuth in (20.0, 140.0, 260.0)]
    folder, renderer = tmp_path / "images/a/b/rendering", Renderer(Textured.plain(mesh))
    for number, view in enumerate(viewpoints):
        rgb, alpha = renderer.picture(intrinsics(), view.pose(), (SIDE, SIDE))
        write_png(folder / f"{number:02}.png", np.dstack([rgb, alpha]))
    write_text(folder / "rendering_metadata.txt", format_viewpoints(viewpoints))
    write_binvox(tmp_path / "voxels/a/b/model.binvox", Binvox(voxelize(mesh), np.full(3, -0.5)))
    scene = Renderings(tmp_path / "images", tmp_path / "voxels", test_views=3, prepare=Preparation(crop=SIDE)).load(
        "a/b"
    )
    truth = Renderer(Textured.plain(scene.target.surface))
    seen = scene.observation.mask[:, 0].numpy() > 127

    def overlap(views: list[Viewpoint]) -> tuple[float, float]:
        masks = np.stack([truth.picture(intrinsics(), view.pose(), (SIDE, SIDE))[1] > 127 for view in views])
        return (masks & seen).sum() / seen.sum(), (masks & seen).sum() / (masks | seen).sum()

    covered, iou = overlap(read_viewpoints(folder / "rendering_metadata.txt"))
    assert covered > 0.999
    assert iou > 0.8
    assert overlap([Viewpoint(-view.azimuth, 27.5, 0, 0.8) for view in viewpoints])[0] < 0.9


def test_what_cannot_be_is_refused(root, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)is not there.*12 GB.*31 MB.*recon prepare data=shapenet"):
        Renderings(tmp_path / "nowhere", root / "voxels")
    with pytest.raises(ConfigError, match=r"min_views=3, data\.views=2"):
        reader(root, views=2, min_views=3)
    with pytest.raises(ConfigError, match="test_views"):
        reader(root, test_views=0)
    with pytest.raises(ConfigError, match="no such folder"):
        reader(root, split="nowhere").names("test")
    with pytest.raises(DataError, match=r"train\.lst"):
        reader(root, split=str(root / "images")).names("test")
