"""Predicted voxels behind the same `mesh` as every other surface, and the files they are written to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recon.geometry.evaluation import Progress
from recon.geometry.frames import Frame
from recon.geometry.mesh_surface import MeshSurface
from recon.geometry.surface import Extraction, MeshOptions, Surface
from recon.geometry.voxel_cubes import cubes_mesh
from recon.geometry.voxel_mesh import boundary_mesh
from recon.io.binvox import Binvox, write_binvox
from recon.io.files import atomic

VOXEL_FILES = (".binvox", ".npz")


@dataclass(frozen=True)
class VoxelField:
    """Probabilities between the centres of voxels, interpolated; they fall to zero within half a voxel of the cube.

    Attributes:
        probability: (n, n, n) float32, axes x, y, z, over the cube [-0.5, 0.5]^3.
    """

    probability: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """(N,) at (N, 3) points."""
        places = 2 * points.flip(1)[None, None, None]  # grid_sample counts the last axis of the volume first
        return F.grid_sample(self.probability[None, None], places, padding_mode="zeros", align_corners=False).flatten()


@dataclass(frozen=True)
class VoxelSurface(Surface):
    """Voxels that a network predicted from views, with what it thought after each of them.

    `mesh` marches the lattice of the voxels' centres, whatever `mesh.resolution` says; ``mesh.extraction`` may be
    ``voxels``, the watertight squares between filled and empty; ``cubes``, the meshes of the published program, at its
    scale; or ``dense`` or ``mise``, which interpolate at `mesh.resolution`.

    Attributes:
        growth: (V, n, n, n) log odds of being occupied after 1, 2, ... views.
        seen: (V, 3, S, S) the views as the network saw them, in [0, 1].
    """

    growth: Tensor = field(default_factory=lambda: torch.zeros(0, 1, 1, 1))
    seen: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 1, 1))

    @classmethod
    def of(cls, growth: Tensor, seen: Tensor, threshold: float, frame: Frame) -> VoxelSurface:
        """The surface of the last of some grids.

        Args:
            growth: (V, n, n, n) log odds.
            seen: (V, 3, S, S).
            threshold: probability from which a voxel is occupied.
            frame: takes the cube [-0.5, 0.5]^3 to the world.
        """
        growth = growth.detach().float().cpu()
        edge = 0.5 + 0.5 / growth.shape[-1]  # where the first centre beyond the cube lies
        return cls(
            VoxelField(growth[-1].sigmoid()),
            (-edge,) * 3,
            (edge,) * 3,
            kind="occupancy",
            level=threshold,
            inside="above",
            frame=frame,
            growth=growth,
            seen=seen.detach().float().cpu(),
        )

    @property
    def probability(self) -> np.ndarray:
        """(n, n, n) float32, after all views."""
        return np.asarray(self.growth[-1].sigmoid())

    @property
    def occupied(self) -> np.ndarray:
        """(n, n, n) bool, after all views."""
        return np.asarray(self.probability >= np.float32(self.level))

    def squares(self, views: int | None = None) -> MeshSurface:
        """The squares between filled and empty voxels, after all views or the first so many."""
        grid = self.occupied if views is None else self.growth[views - 1].sigmoid().numpy() >= np.float32(self.level)
        return MeshSurface(boundary_mesh(grid, self.frame))

    def mesh(
        self, options: MeshOptions | None = None, *, progress: Progress | None = None, **changes: Any
    ) -> Extraction:
        options = replace(options or MeshOptions(), **changes)
        if options.extraction == "voxels":
            return self.squares().mesh(options)
        if options.extraction == "cubes":
            return MeshSurface(cubes_mesh(self.probability, self.level)).mesh(options)
        if options.extraction == "auto":
            options = replace(options, extraction="dense", resolution=self.growth.shape[-1] + 1)
        return super().mesh(options, progress=progress)


def write_voxels(path: str | Path, surface: VoxelSurface) -> None:
    """Write voxels whole or not at all, by the suffix of the file.

    A ``.binvox`` holds which are occupied; an ``.npz`` also ``probability``, ``threshold``, and ``scale`` and
    ``translate`` of the cube: the centre of voxel (i, j, k) lies at ``translate + scale * ((i, j, k) + 0.5) / n``.

    Raises:
        DataError: if the file cannot be written.
    """
    frame = surface.frame
    low = frame.to_world(np.full((1, 3), -0.5))[0]
    if Path(path).suffix.lower() == ".binvox":
        write_binvox(path, Binvox(surface.occupied, low, frame.scale))
        return
    with atomic(path) as temporary, temporary.open("wb") as file:
        kept = {"probability": surface.probability, "occupied": surface.occupied}
        facts = {"threshold": np.array(surface.level), "scale": np.array(frame.scale), "translate": low}
        np.savez_compressed(file, allow_pickle=False, **kept, **facts)
