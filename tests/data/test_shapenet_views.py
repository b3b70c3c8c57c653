"""data=shapenet gives views and voxels to methods that need them, wherever they lie; `Renderings` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.data import shapenet
from recon.data.loading import Draw
from recon.data.shapenet import ShapeNet
from recon.errors import ConfigError, DataError
from recon.io.onet import write_pointcloud
from recon.io.splits import write_list
from recon.observations import Points, Scene, Views, Voxels


@dataclass
class Recorded:
    """Stands for `Renderings`: notes what it is asked."""

    images: Path
    voxels: Path
    classes: list[str] | None
    split: str
    taxonomy: str | None
    views: int
    min_views: int
    replacement: bool
    test_views: int | list[int]
    prepare: Any
    asked: list[tuple[str, str]] = field(default_factory=list)

    def names(self, split: str) -> list[str]:
        return ["03001627/aa", "04090263/dd"]

    def load(self, name: str, split: str) -> Scene:
        self.asked.append((name, split))
        return Scene(Views(torch.zeros(2, 3, 4, 4), name=name), category="chair")

    def item(self, name: str, split: str, draw: Draw) -> Scene:
        return self.load(name, split)


def data(root: Path, **options: Any) -> ShapeNet:
    return ShapeNet(**{"path": str(root), **options})


@pytest.fixture
def pictured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapenet, "Renderings", Recorded)


@pytest.mark.usefixtures("pictured")
def test_views_are_given_to_methods_that_need_them(tmp_path: Path) -> None:
    for tree in ("ShapeNetRendering", "ShapeNetVox32"):
        (tmp_path / tree).mkdir()
    module = data(tmp_path, views=3, crop=128, color_jitter=0.4, background=[0, 9], test_views=[4, 5])
    assert not module.gives_views
    module.use(Views, Voxels)
    assert module.names("test") == ["03001627_aa", "04090263_dd"]
    scene = module.load("04090263_dd")
    assert isinstance(scene.observation, Views)
    assert scene.observation.name == "04090263_dd"
    with pytest.raises(ConfigError, match=r"(?s)data\.scene=04090263_de.*Did you mean '04090263_dd'"):
        module.load("04090263_de")
    assert module.item("03001627_aa", "train", Draw(0, 0, 0)).observation.name == "03001627_aa"
    reader: Any = module.renderings
    assert reader.asked == [("04090263/dd", "test"), ("03001627/aa", "train")]
    assert (reader.views, reader.test_views) == (3, [4, 5])
    assert (reader.prepare.crop, reader.prepare.jitter, reader.prepare.background) == (128, 0.4, (0, 9))


@pytest.mark.usefixtures("pictured")
def test_where_views_lie(tmp_path: Path) -> None:
    """In the two published trees, with the factory's lists or by 3D-R2N2's ratio."""

    def reader(**options: Any) -> Any:
        module = data(tmp_path, **options)
        module.use(Views, Voxels)
        return module.renderings

    write_list(tmp_path / "03001627" / "train.lst", ["aa"])
    with pytest.raises(ConfigError, match=r"(?s)ShapeNetRendering' is not there.*recon prepare data=shapenet"):
        reader()
    (tmp_path / "ShapeNetRendering" / "03001627").mkdir(parents=True)
    (tmp_path / "ShapeNetVox32").mkdir()
    published = reader()
    assert (published.images, published.voxels) == (tmp_path / "ShapeNetRendering", tmp_path / "ShapeNetVox32")
    assert published.split == "ratio"
    assert reader(split="pix2vox.json").split == "pix2vox.json"
    write_list(tmp_path / "ShapeNetRendering" / "03001627" / "train.lst", ["aa"])
    assert reader().split == str(tmp_path / "ShapeNetRendering")
    with pytest.raises(ConfigError, match=r"(?s)is not there.*12 GB"):
        module = data(tmp_path / "none")
        module.use(Views, Voxels)
        module.names()


def test_only_what_is_there_is_given(tmp_path: Path) -> None:
    for tree in ("ShapeNetRendering", "ShapeNetVox32"):
        (tmp_path / tree / "03001627").mkdir(parents=True)
    assert data(tmp_path).gives == (Views,)
    write_list(tmp_path / "03001627" / "train.lst", ["aa"])
    write_pointcloud(tmp_path / "03001627" / "aa" / "pointcloud.npz", np.zeros((5, 3)))
    assert data(tmp_path).gives == (Points, Views)
    (tmp_path / "ShapeNetVox32" / "03001627").rmdir()
    (tmp_path / "ShapeNetVox32").rmdir()
    assert data(tmp_path).gives == (Points,)


@pytest.mark.usefixtures("pictured")
def test_two_objects_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tree in ("ShapeNetRendering", "ShapeNetVox32"):
        (tmp_path / tree).mkdir()
    monkeypatch.setattr(Recorded, "names", lambda *_: ["a/b_c", "a_b/c"])
    module = data(tmp_path)
    module.use(Views, Voxels)
    with pytest.raises(DataError, match="two models would be called 'a_b_c'"):
        module.names()
