"""ShapeNet as it is published twice: points with occupancies (Occupancy Networks), views with voxels (3D-R2N2).

Which of the two is given follows from what the method needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Unpack

from recon.data.base import ReconDataModule, Shared, folder
from recon.data.images import Preparation
from recon.data.loading import Draw, Split
from recon.data.onet import OccupancyFolders, Sampling, wants_normals
from recon.data.onet_layout import root_of
from recon.data.renderings import Renderings
from recon.errors import DataError
from recon.observations import Occupancies, OrientedPoints, Points, Scene, Views, Voxels

PUBLISHED, IMAGES, VOXELS = "ShapeNet", "ShapeNetRendering", "ShapeNetVox32"  # what the archives unpack to
OWN = "recon prepare data=shapenet source='meshes/**/*.obj'. If it lies elsewhere, give data.path."


class ShapeNet(ReconDataModule):
    """Objects in classes: noisy points to occupancies, or views to voxels.

    Args:
        path: folder of the classes, which hold a folder a model, or of ShapeNet, in which these lie; and of the two
            trees of views and voxels, ShapeNetRendering and ShapeNetVox32.
        classes: those wanted, by folder (03001627) or by name (chair); null means all.
        noise: points: standard deviation of the points seen.
        part_ratio: points: as `Sampling`.
        queries: points: of a training item.
        val_queries: points: of a validation item; null means all that are stored.
        jitter: points: as `Sampling`.
        split: views: ``ratio``, a .json file, or a folder of lists (see `Renderings`). Null means the lists
            in ShapeNetRendering, as the factory writes them, or ``ratio`` where there are none.
        taxonomy: views: a .json file that names the classes; null means the 13 of the papers.
        views: views: most of a training item.
        min_views: views: fewest of them; the number is drawn for each batch.
        replacement: views: whether one may be drawn again and again.
        test_views: views: in validation and test the first so many, or a list of their numbers.
        crop: views: as `Preparation`, like all options below.
        place: see there.
        size: see there.
        background: see there.
        test_background: see there.
        shared_background: see there.
        flip: see there.
        color_jitter: there ``jitter``.
        pca: see there.
        permute: see there.
        shared: see `ReconDataModule`.
    """

    may_give = (OrientedPoints, Points, Views)
    may_target = (Occupancies, Voxels)

    def __init__(
        self,
        path: str = "data/shapenet",
        classes: list[str] | None = None,
        noise: float = 0.005,
        part_ratio: float = 1.0,
        queries: int = 2048,
        val_queries: int | None = None,
        jitter: float = 1e-4,
        split: str | None = None,
        taxonomy: str | None = None,
        views: int = 5,
        min_views: int = 1,
        replacement: bool = True,
        test_views: int | list[int] = 5,
        crop: int = 127,
        place: Literal["random", "centre"] = "random",
        size: int | None = None,
        background: tuple[int, int] | None = (225, 255),
        test_background: int = 240,
        shared_background: bool = False,
        flip: float = 0.5,
        color_jitter: float = 0.0,
        pca: float = 0.0,
        permute: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        shared.setdefault("points", 3000)
        super().__init__(**shared)
        self.path, self.classes = Path(path).expanduser(), classes
        self.sampling = Sampling(self.points, noise, part_ratio, queries, val_queries, jitter)
        self.split, self.taxonomy = split, taxonomy
        self.views, self.min_views, self.replacement, self.test_views = views, min_views, replacement, test_views
        colours = None if background is None else (background[0], background[1])
        self.preparation = Preparation(
            *(crop, place, size, colours, test_background, shared_background, flip, color_jitter, pca, permute)
        )

    @property
    def gives(self) -> tuple[type, ...]:
        """Of points (with normals if the first cloud has some) and views those that are there; both if none are."""
        points = any(root_of(self.path, PUBLISHED).glob("*/*.lst"))
        views = (self.path / IMAGES).is_dir() and (self.path / VOXELS).is_dir()
        if not points and not views:
            return self.may_give  # that the folder is missing is told when it is read
        clouds = () if not points else (OrientedPoints, Points) if self.clouds.has_normals() else (Points,)
        return (*clouds, Views) if views else clouds

    @property
    def gives_views(self) -> bool:
        """Whether the method wants views, not points."""
        return self.observation is not None and issubclass(self.observation, Views)

    @cached_property
    def clouds(self) -> OccupancyFolders:
        """What reads points and occupancies.

        Raises:
            ConfigError: if the folder is not there.
        """
        mend = f"Download it (73 GB): recon prepare data=shapenet; or make it of your own meshes: {OWN}"
        root = root_of(folder(self.path, "data=shapenet", mend), PUBLISHED)
        return OccupancyFolders(root, self.sampling, self.classes, "points", self.seed)

    @cached_property
    def renderings(self) -> Renderings:
        """What reads views and voxels.

        Raises:
            ConfigError: if a folder is not there.
        """
        mend = f"Download it (12 GB): recon prepare data=shapenet kind=views; or make it of your own meshes: {OWN}"
        images, voxels = (folder(self.path / tree, "data=shapenet", mend) for tree in (IMAGES, VOXELS))
        return Renderings(
            images,
            voxels,
            self.classes,
            self.split or (str(images) if any(images.glob("*/*.lst")) else "ratio"),
            self.taxonomy,
            self.views,
            self.min_views,
            self.replacement,
            self.test_views,
            self.preparation,
        )

    def names(self, split: Split = "test") -> Sequence[str]:
        """``<class>_<model>``, class by class."""
        return list(self._pictured(split)) if self.gives_views else self.clouds.names(split)

    def load(self, name: str, split: Split = "test") -> Scene:
        """Of points: a noisy cloud, and a dense one with occupancies as the truth. Of views: those of the test."""
        if not self.gives_views:
            return self.clouds.load(name, split, wants_normals(self.observation))
        self.check_scene(name, split)
        return _named(self.renderings.load(self._pictured(split)[name], split), name)

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """A noisy cloud and the occupancies of queries; or some views and the voxels."""
        if not self.gives_views:
            return self.clouds.item(name, split, draw, wants_normals(self.observation))
        return _named(self.renderings.item(self._pictured(split)[name], split, draw), name)

    def _pictured(self, split: Split) -> dict[str, str]:
        """Names that fit folders -> names of `Renderings`."""
        if split not in self._names:
            names: dict[str, str] = {}
            for model in self.renderings.names(split):
                name = model.replace("/", "_")
                if name in names:
                    raise DataError(f"'{self.path}': two models would be called '{name}'.", "Rename one of them.")
                names[name] = model
            self._names[split] = names
        return self._names[split]

    @cached_property
    def _names(self) -> dict[Split, dict[str, str]]:
        return {}


def _named(scene: Scene, name: str) -> Scene:
    return replace(scene, observation=replace(scene.observation, name=name))
