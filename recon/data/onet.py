"""Occupancy Networks' folders: samples of a surface to see, points in space whose occupancy is known to learn.

``<root>/<class>/<model>/`` holds ``pointcloud.npz`` and ``points.npz``, or folders of several such files an item
(``pointcloud/pointcloud_00.npz``, ...), of which each draw takes one. ``<root>/<class>/{train,val,test}.lst`` name the
models, ``<root>/metadata.yaml`` the classes. Shared by `shapenet` and `rooms`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recon.data.loading import Draw, Split
from recon.data.onet_layout import Layout
from recon.errors import ConfigError, DataError
from recon.geometry.frames import Frame
from recon.io.onet import ALL, QueryFile, Rows, SurfaceFile
from recon.io.types import Cloud
from recon.observations import Occupancies, OrientedPoints, Points, Scene, Truth


@dataclass(frozen=True)
class Sampling:
    """What an item is drawn as; lengths are in the unit cube of the files. The defaults are those of all papers.

    Args:
        points: of the cloud that is seen, drawn with replacement.
        noise: standard deviation of their coordinates.
        part_ratio: keep what lies below a random cut at this share to all of the extent along a random axis
            (`partial_pointcloud`: 0.7; 1: no cut).
        queries: points in space of a training item, drawn with replacement.
        val_queries: of a validation item; None means all that are stored, once each.
        jitter: standard deviation added to queries that are stored as float16, whose steps a network could see.
    """

    points: int = 3000
    noise: float = 0.005
    part_ratio: float = 1.0
    queries: int = 2048
    val_queries: int | None = None
    jitter: float = 1e-4

    def __post_init__(self) -> None:
        if min(self.points, self.queries, self.val_queries or 1) < 1 or min(self.noise, self.jitter) < 0:
            raise ConfigError("data: counts of points must be positive, noise and jitter not negative.", "")
        if not 0 < self.part_ratio <= 1:
            raise ConfigError(f"data.part_ratio={self.part_ratio}: it is a share.", "Give a number in (0, 1].")


class OccupancyFolders:
    """Items of Occupancy Networks' layout, named ``<class>_<model>``.

    Args:
        root: the folder of the classes.
        sampling: how items are drawn.
        classes: folders or names of the classes wanted; None means all that have a list.
        queries: stem of the files of occupancies; None where there are none.
        seed: of the draws of `load`.
    """

    def __init__(
        self,
        root: Path,
        sampling: Sampling,
        classes: Sequence[str] | None = None,
        queries: str | None = "points",
        seed: int = 0,
    ) -> None:
        self.layout = Layout(root, classes)
        self.sampling, self.queries, self.seed = sampling, queries, seed

    def names(self, split: Split = "test") -> list[str]:
        """Of a split's models, class by class, in the order of the lists.

        Raises:
            DataError: if a list is missing or damaged.
            ConfigError: if a wanted class is not there.
        """
        return list(self.layout.models(split))

    def item(self, name: str, split: Split, draw: Draw, normals: bool | None = None) -> Scene:
        """The points and queries of one draw, in the unit cube, float32; in validation all queries.

        Args:
            name: one of `names`.
            split: that it is in.
            draw: which.
            normals: whether they are wanted; None means where there are some.

        Raises:
            DataError: if its files are missing or damaged.
        """
        model, rng, sampling = self.layout.model(name, split), draw.rng(), self.sampling
        seen = self._observed(SurfaceFile(self.layout.file(model, "pointcloud", rng)), name, rng, normals)
        target = None
        if self.queries is not None:
            stored = QueryFile(self.layout.file(model, self.queries, rng))
            count = sampling.queries if split == "train" else sampling.val_queries
            rows = ALL if count is None else rng.integers(len(stored), size=count)
            target = self._occupancies(stored, rows, rng)
        return Scene(seen, target, model.index, self.layout.label(model.group))

    def load(self, name: str, split: Split = "test", normals: bool | None = None) -> Scene:
        """The points of one draw that is always the same, with the `Frame` to the world, and all that is stored.

        Args:
            name: one of `names`.
            split: that it is in.
            normals: as `item`.

        Raises:
            DataError: if its files are missing or damaged.
        """
        model = self.layout.model(name, split)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        seen = SurfaceFile(self.layout.file(model, "pointcloud", rng))
        frame = _frame(seen)
        observation = self._observed(seen, name, rng, normals, frame)
        stored = SurfaceFile(self.layout.file(model, "pointcloud", rng))
        stored.verify()
        true_normals = stored.normals(kind=np.float64) if stored.has_normals else None
        surface = Cloud(_frame(stored).to_world(stored.points(kind=np.float64)), true_normals)
        occupancies = None
        if self.queries is not None:
            queries = QueryFile(self.layout.file(model, self.queries, rng))
            queries.verify()
            world = _frame(queries).to_world(queries.points(kind=np.float64))
            occupancies = Occupancies(torch.from_numpy(world), torch.from_numpy(queries.inside().astype(np.float32)))
        return Scene(observation, Truth(surface, occupancies), model.index, self.layout.label(model.group))

    def has_normals(self) -> bool:
        """Whether the first cloud that can be read has normals, which then all are taken to have.

        Raises:
            DataError: if there is none, or all are damaged.
        """
        damaged: DataError | None = None
        for model in self.layout.first_models():
            try:
                return SurfaceFile(self.layout.file(model, "pointcloud", np.random.default_rng(0))).has_normals
            except DataError as error:  # it is told, or skipped, when the item itself is read
                damaged = damaged or error
        assert damaged is not None
        raise damaged

    def _observed(
        self, stored: SurfaceFile, name: str, rng: np.random.Generator, normals: bool | None, frame: Frame | None = None
    ) -> Points:
        rows = self._seen_rows(stored, rng)
        points = stored.points(rows)
        points += np.float32(self.sampling.noise) * rng.standard_normal(points.shape, dtype=np.float32)
        frame = frame or Frame()
        if normals is False or (normals is None and not stored.has_normals):
            return Points(torch.from_numpy(points), frame, name)
        return OrientedPoints(torch.from_numpy(points), frame, name, torch.from_numpy(stored.normals(rows)))

    def _seen_rows(self, stored: SurfaceFile, rng: np.random.Generator) -> np.ndarray:
        """Rows of `points` samples, drawn with replacement from all of them or from those below a cut."""
        count, share = self.sampling.points, self.sampling.part_ratio
        if share == 1:
            return rng.integers(len(stored), size=count)
        along = stored.points()[:, rng.integers(3)]
        low, extent = along.min(), np.ptp(along)
        kept = np.flatnonzero(along - low <= rng.uniform(share, 1) * extent)
        return kept[rng.integers(len(kept), size=count)]

    def _occupancies(self, stored: QueryFile, rows: Rows, rng: np.random.Generator) -> Occupancies:
        points = stored.points(rows)
        if stored.is_half and self.sampling.jitter:
            points += np.float32(self.sampling.jitter) * rng.standard_normal(points.shape, dtype=np.float32)
        return Occupancies(torch.from_numpy(points), torch.from_numpy(stored.inside(rows).astype(np.float32)))


def _frame(stored: SurfaceFile | QueryFile) -> Frame:
    scale, location = stored.world()
    return Frame(scale, translation=location)


def wants_normals(observation: type | None) -> bool | None:
    """Whether an observation of this type has normals; None where none was asked for."""
    return None if observation is None else issubclass(observation, OrientedPoints)
