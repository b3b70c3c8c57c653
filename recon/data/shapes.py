"""Generated shapes: scans, pictures and insides of watertight solids whose truth is known, ready in seconds."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Unpack

import numpy as np
import torch

from recon.data.base import ReconDataModule, Shared
from recon.data.fields import Field
from recon.data.images import Preparation
from recon.data.loading import Draw, Split
from recon.data.shape_cache import ShapeCache
from recon.data.shape_scans import Scanner
from recon.data.shape_views import Arrays, cube_of, pictured, posed, region_of, surrounded, unpacked
from recon.data.solids import FAMILIES, NAMED, exists, solid, solid_mesh
from recon.errors import ConfigError, did_you_mean
from recon.geometry.frames import Frame
from recon.io.types import Cloud, Mesh
from recon.observations import (
    Observation,
    Occupancies,
    OrientedPoints,
    Points,
    PosedRGBD,
    PosedViews,
    Scene,
    Truth,
    Views,
    Voxels,
)

APART = 100_000
FIRST: dict[Split, int] = {"train": 0, "val": APART, "test": 2 * APART}


class Shapes(ReconDataModule):
    """`recon.data.solids`: named shapes, random blobs, and families of furniture and machined parts, endless by number.

    What is given follows from the method: a scan (`Scanner`), with the occupancies of other points or without;
    24 views and voxels; or cameras all around with masks, normals and depth. Everything follows from the seed and the
    shape's name, is made on first use, and meshes and pictures are kept on disk (`ShapeCache`).

    Args:
        families: those to take shapes from, of `FAMILIES` and ``blobs``; null means all.
        train_scenes: how many to train on.
        val_scenes: how many others to watch the training with.
        test_scenes: how many to test on: first the named shapes (unless `families` are given), then others.
        samples: points of a scan, outliers included.
        normals: give outward normals, too.
        noise: standard deviation of the points' displacement, in longest sides of the shape.
        normal_noise: standard deviation added to each component of a normal (0.2 is about 14 degrees).
        outliers: share of points that lie anywhere in a box 1.2 times as long.
        uneven: 0 for even density; else it varies by a factor of exp(2 * uneven) across the shape.
        missing: share of the surface that the scan has not seen, on one side.
        resolution: cells along the cube in which shapes without an exact mesh are meshed.
        queries: points whose occupancy is told, of a training item.
        val_queries: the same in validation and test.
        min_points: with occupancies, fewest points seen: each batch has a number of its own up to `points`, all orders
            of magnitude alike; null means always `points`.
        most_views: of a training item, for methods that take views without cameras; the number is drawn for a batch.
        crop: of those views, side in pixels (127, or 128 for networks that want that).
        views: cameras around a shape, for methods that take posed views.
        image_size: of those views, side in pixels.
        cache: folder for what was made; null means the user's cache folder (or RECON_CACHE).
        shared: see `ReconDataModule`.
    """

    may_give = (OrientedPoints, Points, Views, PosedViews, PosedRGBD)
    may_target = (Occupancies, Voxels)

    def __init__(
        self,
        families: list[str] | None = None,
        train_scenes: int = 64,
        val_scenes: int = 8,
        test_scenes: int = 15,
        samples: int = 20_000,
        normals: bool = True,
        noise: float = 0.0,
        normal_noise: float = 0.0,
        outliers: float = 0.0,
        uneven: float = 0.0,
        missing: float = 0.0,
        resolution: int = 128,
        queries: int = 2048,
        val_queries: int = 50_000,
        min_points: int | None = None,
        most_views: int = 5,
        crop: int = 127,
        views: int = 32,
        image_size: int = 160,
        cache: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        known = [*FAMILIES, "blobs"]
        for family in families or ():
            if family not in known:
                raise ConfigError(f"data.families: there is no family '{family}'.", did_you_mean(family, known))
        self.families, self.named = families or known, [] if families else list(NAMED)
        self.counts: dict[Split, int] = {"train": train_scenes, "val": val_scenes, "test": test_scenes}
        for split, number in self.counts.items():
            if number > APART * len(self.families):
                raise ConfigError(
                    f"data.{split}_scenes={number}: these would overlap with other splits.",
                    f"A split has {APART} shapes of each family; name more families, or fewer shapes.",
                )
        self.scanner = Scanner(samples, noise, normal_noise, outliers, uneven, missing, self.seed)
        self.normals, self.resolution = normals, resolution
        self.queries, self.val_queries = queries, val_queries
        self.min_points = self.points if min_points is None else min(min_points, self.points)
        self.most_views, self.preparation = most_views, Preparation(crop=crop)
        self.views, self.image_size = views, image_size
        self.cache = ShapeCache(cache, f"{resolution}")
        self._scans: dict[str, Cloud] = {}
        self._meshes: dict[str, Mesh] = {}

    @property
    def gives(self) -> tuple[type, ...]:
        points = (OrientedPoints, Points) if self.normals else (Points,)
        return (*points, Views, PosedViews, PosedRGBD)

    def names(self, split: Split = "test") -> Sequence[str]:
        """Shapes of all families in turn, by numbers that no other split has; in test the named ones before them.

        If families were asked for, the named shapes are left out.
        """
        named = self.named[: self.counts[split]] if split == "test" else []
        turns = (f"{family}_{FIRST[split] + turn:03d}" for turn in count() for family in self.families)
        return [*named, *islice(turns, self.counts[split] - len(named))]

    def check_scene(self, name: str, split: Split = "test") -> None:
        if not exists(name):
            some = [*NAMED, *(f"{family}_000" for family in (*FAMILIES, "blobs"))]
            raise ConfigError(f"data.scene={name}: there is no such shape.", did_you_mean(name, some))

    def load(self, name: str, split: Split = "test") -> Scene:
        names = self.names(split)
        observed, truth = self._observed(name)
        return Scene(observed, truth, names.index(name) if name in names else 0, name.rpartition("_")[0] or name)

    def _observed(self, name: str) -> tuple[Observation, Truth]:
        mesh = self.mesh(name)
        if self.observation is None or issubclass(self.observation, Points):
            cloud = self.scan(name)
            points = Points.from_cloud(cloud if self.normals else replace(cloud, normals=None), name)
            told = self._occupancies(
                name, self.val_queries, np.random.default_rng([self.seed, zlib.crc32(name.encode()), 1])
            )
            return points, Truth(mesh, told if self.target is Occupancies else None)
        if issubclass(self.observation, PosedViews):
            settings = f"{self.views}x{self.image_size}"
            make = partial(surrounded, name, mesh, self.views, self.image_size)
            arrays = self.cache.get(name, f"posed-{settings}", make)
            return posed(name, arrays, region_of(mesh), self.observation), Truth(mesh)
        arrays, cube = self._pictures(name), cube_of(mesh)
        images = self.preparation.test([unpacked(arrays)[i] for i in range(self.most_views)])
        voxels = Voxels(torch.from_numpy(arrays["voxels"]).float(), cube)
        return Views(torch.from_numpy(images), None, cube, name), Truth(mesh, voxels=voxels)

    def item(self, name: str, split: Split, draw: Draw) -> Scene:
        """Points of the scan, towards occupancies in the unit cube if they are wanted; or some views and voxels."""
        category = name.rpartition("_")[0] or name
        if self.observation is not None and issubclass(self.observation, Views):
            arrays, rng = self._pictures(name), draw.rng()
            wanted = int(draw.batch_rng().integers(1, self.most_views + 1)) if split == "train" else self.most_views
            views = unpacked(arrays)
            if split == "train":
                images = self.preparation.train([views[i] for i in rng.integers(0, len(views), wanted)], rng)
            else:
                images = self.preparation.test(views[:wanted])
            target = Voxels(torch.from_numpy(arrays["voxels"]).float())
            return Scene(Views(torch.from_numpy(images), name=name), target, category=category)
        if self.target is not Occupancies:
            return super().item(name, split, draw)
        return self._occupied(name, split, draw, category)

    def _occupied(self, name: str, split: Split, draw: Draw, category: str) -> Scene:
        """Points seen and points asked about, both in the cube in which the shape's longest side is 1."""
        cloud, rng = self.scan(name), draw.rng()
        wanted = self.points
        if self.min_points < self.points:
            wanted = round(float(np.exp(draw.batch_rng().uniform(np.log(self.min_points), np.log(self.points)))))
        rows = rng.integers(0, len(cloud.points), wanted)
        frame = Frame.fit(self.mesh(name).vertices, "box", 1.0)
        local = torch.from_numpy(frame.to_local(cloud.points[rows]).astype(np.float32))
        asked = self._occupancies(name, self.queries if split == "train" else self.val_queries, rng)
        queries = torch.from_numpy(frame.to_local(asked.points.numpy()).astype(np.float32))
        observed = Points(local, frame, name)
        wants_normals = self.observation is None or issubclass(self.observation, OrientedPoints)
        if wants_normals and cloud.normals is not None:
            normals = torch.from_numpy(cloud.normals[rows].astype(np.float32))
            observed = OrientedPoints(local, frame, name, normals)
        return Scene(observed, Occupancies(queries, asked.inside), category=category)

    def _occupancies(self, name: str, number: int, rng: np.random.Generator) -> Occupancies:
        """World points, uniform in the cube 1.1 times as long as the shape, and what the exact field says of them."""
        frame = Frame.fit(self.mesh(name).vertices, "box", 1.0)
        points = frame.to_world(rng.uniform(-0.55, 0.55, (number, 3)))
        return Occupancies(torch.from_numpy(points), torch.from_numpy(self.sdf(name)(points) < 0).float())

    def _pictures(self, name: str) -> Arrays:
        return self.cache.get(name, "pictures", lambda: pictured(name, self.mesh(name)))

    def mesh(self, name: str) -> Mesh:
        """The true surface of a shape."""
        if name not in self._meshes:
            made = partial(solid_mesh, name, self.resolution)
            kept = self.cache.get(name, "mesh", lambda: {"vertices": made().vertices, "faces": made().faces})
            self._meshes[name] = Mesh(kept["vertices"], kept["faces"])
        return self._meshes[name]

    def sdf(self, name: str) -> Field:
        """A shape's field, (N, 3) points to (N,) values: negative inside, close to a distance near the surface."""
        return solid(name).field

    def scan(self, name: str) -> Cloud:
        """Points with normals on the true mesh of a shape, with all defects that were asked for."""
        # Kept, about a megabyte each: training comes back to them every epoch.
        if name not in self._scans:
            self._scans[name] = self.scanner.scan(name, self.mesh(name), None if solid(name).faces else self.sdf(name))
        return self._scans[name]
