"""What a dataset gives and a method needs: observations, targets, and the batch that holds one of each.

Datasets and methods meet only here. Shapes are those of one item; a collated batch has a leading B.
World coordinates are the user's; local ones are related to them by the `Frame` that travels along.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from recon.errors import DataError
from recon.geometry.frames import Fit, Frame
from recon.io.types import Cloud, Mesh

MIN_POINTS = 32


@dataclass(frozen=True)
class Points:
    """A point cloud.

    Attributes:
        points: (N, 3) local coordinates; float64 as read, float32 once normalised.
        frame: local to world.
        name: what the scene is called in folders, tables and messages.
    """

    points: Tensor
    frame: Frame = field(default_factory=Frame)
    name: str = "scene"

    @classmethod
    def from_cloud(cls, cloud: Cloud, name: str) -> Points:
        """An observation of what a file held: `OrientedPoints` if it has normals, else `Points`."""
        points = torch.from_numpy(np.ascontiguousarray(cloud.points, dtype=np.float64))
        if cloud.normals is None:
            return Points(points, name=name).validated()
        normals = torch.from_numpy(np.ascontiguousarray(cloud.normals, dtype=np.float64))
        return OrientedPoints(points, name=name, normals=normals).validated()

    def validated(self) -> Self:
        """This observation, if a method can use it.

        Raises:
            DataError: if there are no points, too few, or some that are not finite.
        """
        count = len(self.points)
        if count == 0:
            raise DataError(f"The cloud '{self.name}' is empty.", "Give a file that holds points.")
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise DataError(
                f"The cloud '{self.name}' has shape {tuple(self.points.shape)}, not (N, 3).",
                "Give one row a point with the columns x, y, z.",
            )
        bad = int((~torch.isfinite(self.points)).any(dim=1).sum())
        if bad:
            raise DataError(
                f"The cloud '{self.name}' has {bad} of {count} points that are not finite.",
                "Remove the rows with NaN or Inf, or pass data.on_bad_points=drop.",
            )
        if count < MIN_POINTS:
            raise DataError(
                f"The cloud '{self.name}' has {count} points; at least {MIN_POINTS} are needed.",
                "A surface cannot be told from so few samples.",
            )
        return self

    def normalized(self, how: Fit = "box", size: float = 2.0) -> Self:
        """The same points in a local frame of a given size (see `Frame.fit`), as float32 on the CPU."""
        inner = Frame.fit(self.points.cpu().numpy(), how, size)
        local = inner.to_local(self.points.cpu().numpy())
        changes: dict[str, Any] = {
            "points": torch.from_numpy(local.astype(np.float32)),
            "frame": self.frame.then(inner),
        }
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Self:
        """The same observation with its tensors on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def to_cloud(self) -> Cloud:
        """In world coordinates, for files and previews."""
        return Cloud(self.frame.to_world(self.points.cpu().numpy()))


@dataclass(frozen=True)
class OrientedPoints(Points):
    """A point cloud with outward unit normals.

    Attributes:
        normals: (N, 3), local, of the same dtype as `points`.
    """

    normals: Tensor = field(default_factory=lambda: torch.zeros(0, 3))

    def validated(self) -> Self:
        super().validated()
        if self.normals.shape != self.points.shape or not bool(torch.isfinite(self.normals).all()):
            raise DataError(
                f"The normals of '{self.name}' do not match its points, or are not finite.",
                "Give one finite normal a point, or drop them with data.use_normals=false.",
            )
        return self

    def normalized(self, how: Fit = "box", size: float = 2.0) -> Self:
        # Fitted frames never rotate, so that only lengths and the type change.
        unit = torch.nn.functional.normalize(self.normals, dim=1)
        return replace(super().normalized(how, size), normals=unit.float().cpu())

    def to_cloud(self) -> Cloud:
        return Cloud(
            self.frame.to_world(self.points.cpu().numpy()),
            self.frame.normals_to_world(self.normals.cpu().numpy()),
        )


@dataclass(frozen=True)
class Views:
    """Photographs without cameras.

    Attributes:
        images: (V, 3, H, W) RGB in [0, 1].
        mask: (V, 1, H, W) in [0, 1], or None.
    """

    images: Tensor
    mask: Tensor | None = None
    frame: Frame = field(default_factory=Frame)
    name: str = "scene"


@dataclass(frozen=True)
class PosedViews(Views):
    """Photographs with cameras and, where known, per-pixel priors.

    Attributes:
        intrinsics: (V, 3, 3) K in pixels, pixel centres at integer + 0.5.
        poses: (V, 4, 4) camera to local, OpenCV axes (x right, y down, z forward).
        depth: (V, 1, H, W) z in local units, 0 = missing, or None.
        normal: (V, 3, H, W) unit, local, or None.
        label: (V, 1, H, W) integer instance labels, or None.
    """

    intrinsics: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 3))
    poses: Tensor = field(default_factory=lambda: torch.zeros(0, 4, 4))
    depth: Tensor | None = None
    normal: Tensor | None = None
    label: Tensor | None = None


@dataclass(frozen=True)
class PosedRGBD(PosedViews):
    """Posed photographs whose `depth` was measured and is always there."""


Observation = Points | Views


@dataclass(frozen=True)
class Occupancies:
    """Target: `points` (M, 3) local and `inside` (M,) in {0, 1}."""

    points: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Voxels:
    """Target: `grid` (D, H, W) in {0, 1}, axes x, y, z."""

    grid: Tensor


@dataclass(frozen=True)
class SurfaceSamples:
    """Target: `points` (M, 3) and outward unit `normals` (M, 3) on the true surface, local."""

    points: Tensor
    normals: Tensor


@dataclass(frozen=True)
class Truth:
    """Target: the true surface in world coordinates, a mesh or a dense cloud."""

    surface: Mesh | Cloud


Target = Occupancies | Voxels | SurfaceSamples | Truth


@dataclass(frozen=True)
class Scene:
    """One item of a dataset: what was observed, what is true of it (if known), and its number."""

    observation: Observation
    target: Target | None = None
    index: int = 0
    category: str = ""


def first_common(needs: tuple[type, ...], gives: tuple[type, ...]) -> type | None:
    """The first observation type that a method needs and a dataset gives (or a subtype of it gives)."""
    return next((need for need in needs if any(issubclass(give, need) for give in gives)), None)
