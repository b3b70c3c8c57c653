"""Scans of generated shapes, with the defects that real ones have."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from recon.data.fields import Field, gradient
from recon.errors import ConfigError
from recon.geometry.sampling import sample_surface
from recon.io.types import Cloud, Mesh


@dataclass(frozen=True)
class Scanner:
    """A scan is drawn uniformly by area and then, in this order, thinned unevenly, cut, blurred, strewn with outliers.

    Args:
        samples: points of a scan, outliers included.
        noise: standard deviation of the points' displacement, in longest sides of the shape.
        normal_noise: standard deviation added to each component of a normal.
        outliers: share of points that lie anywhere in a box 1.2 times as long.
        uneven: 0 for even density; else it varies by a factor of exp(2 * uneven) across the shape.
        missing: share of the surface that the scan has not seen, on one side.
        seed: with a shape's name, of all draws.
    """

    samples: int
    noise: float
    normal_noise: float
    outliers: float
    uneven: float
    missing: float
    seed: int

    def __post_init__(self) -> None:
        for name in ("outliers", "missing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"data.{name}={getattr(self, name)}: this is a share.", "Give a number from 0 up to, not with, 1."
                )
        for name in ("noise", "normal_noise", "uneven"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"data.{name}={getattr(self, name)}: this cannot be negative.", "Give 0 to switch it off."
                )

    def scan(self, name: str, mesh: Mesh, field: Field | None) -> Cloud:
        """Points with normals on a mesh.

        Args:
            name: of the shape.
            mesh: its true surface.
            field: gives the normals; None takes those of the mesh's faces, where these are exact.
        """
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        strays = round(self.outliers * self.samples)
        seen = self._sighted(mesh, self.samples - strays, rng)
        assert seen.normals is not None
        length = float(np.ptp(mesh.vertices, axis=0).max())
        points = seen.points + rng.normal(0, 1, seen.points.shape) * self.noise * length
        normals = seen.normals if field is None else gradient(field, seen.points)
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
