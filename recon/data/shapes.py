"""Generated shapes: scans of watertight solids whose truth is known exactly, ready in seconds on a CPU."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import numpy as np

from recon.data.base import ReconDataModule, Shared
from recon.data.fields import Field, gradient
from recon.data.loading import Split
from recon.data.solids import NAMED, exists, solid, solid_mesh
from recon.errors import ConfigError, did_you_mean
from recon.geometry.sampling import sample_surface
from recon.io.types import Cloud, Mesh
from recon.observations import OrientedPoints, Points, Scene, Truth

FIRST_BLOB: dict[Split, int] = {"train": 0, "val": 100_000, "test": 200_000}


class Shapes(ReconDataModule):
    """Scans of `recon.data.solids`: the named ones, and any number of random ``blobs_NNN``.

    A scan is drawn uniformly by area and then, in this order, thinned unevenly, cut, blurred and strewn with
    outliers. Each depends on the seed and the scene's name alone.

    Args:
        scene: one of the named shapes, or ``blobs_NNN`` for any number, in every split.
        train_scenes: how many blobs to train on.
        val_scenes: how many other blobs to watch the training with.
        test_scenes: how many to test on: first the named shapes, then further blobs.
        samples: points of a scan, outliers included.
        normals: give outward normals, too.
        noise: standard deviation of the points' displacement, in longest sides of the shape.
        normal_noise: standard deviation added to each component of a normal (0.2 is about 14 degrees).
        outliers: share of points that lie anywhere in a box 1.2 times as long.
        uneven: 0 for even density; else it varies by a factor of exp(2 * uneven) across the shape.
        missing: share of the surface that the scan has not seen, on one side.
        resolution: cells along the cube in which shapes without an exact mesh are marched.
        shared: see `ReconDataModule`.
    """

    def __init__(
        self,
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
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        for name, value in (("outliers", outliers), ("missing", missing)):
            if not 0 <= value < 1:
                raise ConfigError(f"data.{name}={value}: this is a share.", "Give a number from 0 up to, not with, 1.")
        for name, value in (("noise", noise), ("normal_noise", normal_noise), ("uneven", uneven)):
            if value < 0:
                raise ConfigError(f"data.{name}={value}: this cannot be negative.", "Give 0 to switch it off.")
        self.counts: dict[Split, int] = {"train": train_scenes, "val": val_scenes, "test": test_scenes}
        self.samples, self.normals, self.resolution = samples, normals, resolution
        self.noise, self.normal_noise, self.outliers = noise, normal_noise, outliers
        self.uneven, self.missing = uneven, missing
        self._scans: dict[str, Cloud] = {}

    @property
    def gives(self) -> tuple[type, ...]:
        return (OrientedPoints, Points) if self.normals else (Points,)

    def names(self, split: Split = "test") -> Sequence[str]:
        named = list(NAMED) if split == "test" else []
        blobs = [f"blobs_{FIRST_BLOB[split] + i:03d}" for i in range(self.counts[split] - len(named))]
        return (named + blobs)[: self.counts[split]]

    def check_scene(self, name: str, split: Split = "test") -> None:
        if not exists(name):
            raise ConfigError(f"data.scene={name}: there is no such shape.", did_you_mean(name, [*NAMED, "blobs_000"]))

    def load(self, name: str, split: Split = "test") -> Scene:
        names = self.names(split)
        cloud = self.scan(name)
        return Scene(
            Points.from_cloud(cloud if self.normals else replace(cloud, normals=None), name),
            Truth(self.mesh(name)),
            names.index(name) if name in names else 0,
            name.split("_")[0],
        )

    def mesh(self, name: str) -> Mesh:
        """The true surface of a shape."""
        return solid_mesh(name, self.resolution)

    def sdf(self, name: str) -> Field:
        """A shape's field, (N, 3) points to (N,) values: negative inside, close to a distance near the surface."""
        return solid(name).field

    def scan(self, name: str) -> Cloud:
        """Points with normals on the true mesh of a shape, with all defects that were asked for."""
        # Kept, about a megabyte each: training comes back to them every epoch.
        if name not in self._scans:
            self._scans[name] = self._scan(name)
        return self._scans[name]

    def _scan(self, name: str) -> Cloud:
        mesh = self.mesh(name)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        strays = round(self.outliers * self.samples)
        seen = self._sighted(mesh, self.samples - strays, rng)
        assert seen.normals is not None
        length = float(np.ptp(mesh.vertices, axis=0).max())
        points = seen.points + rng.normal(0, 1, seen.points.shape) * self.noise * length
        normals = seen.normals if solid(name).faces else gradient(self.sdf(name), seen.points)
        normals = _unit(_unit(normals) + rng.normal(0, 1, normals.shape) * self.normal_noise)
        centre = (mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0)) / 2
        points = np.vstack([points, centre + rng.uniform(-0.6, 0.6, (strays, 3)) * length])
        return Cloud(points, np.vstack([normals, _unit(rng.normal(size=(strays, 3)))]))

    def _sighted(self, mesh: Mesh, count: int, rng: np.random.Generator) -> Cloud:
        """`count` points on the part of the mesh that the scanner sees, at its density."""
        away, across = _unit(rng.normal(size=(2, 3)))
        # Enough to be left with `count`: thinning keeps at most a third of the densest part's share.
        thinned = 1.0 if not self.uneven else float(-np.expm1(-2 * self.uneven) / (2 * self.uneven)) / 3
        drawn = sample_surface(mesh, int(count / (thinned * (1 - self.missing))) + 1, rng)
        points, normals = drawn.points, drawn.normals
        if self.missing:
            depth = points @ away
            keep = np.argsort(depth)[: round((1 - self.missing) * len(depth))]
            points, normals = points[np.sort(keep)], normals[np.sort(keep)]
        if self.uneven:
            place = points @ across
            weight = np.exp(2 * self.uneven * (place - place.max()) / np.ptp(place))
            rows = np.sort(rng.choice(len(points), min(count, len(points)), replace=False, p=weight / weight.sum()))
            points, normals = points[rows], normals[rows]
        return Cloud(points[:count], normals[:count])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
