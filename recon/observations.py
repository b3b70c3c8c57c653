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
        images: (V, 3, H, W) RGB: uint8 in 0..255 as read (a quarter of the memory), or float in [0, 1].
        mask: (V, 1, H, W) what belongs to the object: uint8 in 0..255 or float in [0, 1], or None.
        frame: local to world.
        name: what the scene is called in folders, tables and messages.
        view_names: of the photographs, for messages and pictures.
    """

    images: Tensor
    mask: Tensor | None = None
    frame: Frame = field(default_factory=Frame)
    name: str = "scene"
    view_names: tuple[str, ...] = ()

    @property
    def rgb(self) -> Tensor:
        """(V, 3, H, W) float images in [0, 1]."""
        return as_float(self.images)

    def validated(self) -> Self:
        """These views, if a method can use them.

        Raises:
            DataError: if there are none, or the mask is of another size.
        """
        if self.images.ndim != 4 or self.images.shape[1] != 3 or 0 in self.images.shape:
            raise DataError(
                f"The views of '{self.name}' have shape {tuple(self.images.shape)}, not (V, 3, H, W).",
                "Give at least one RGB image.",
            )
        self._check("mask", self.mask, 1)
        return self

    def _check(self, field_name: str, values: Tensor | None, channels: int) -> None:
        count, _, height, width = self.images.shape
        if values is not None and tuple(values.shape) != (count, channels, height, width):
            raise DataError(
                f"The {field_name} of '{self.name}' has shape {tuple(values.shape)}; "
                f"its images want {(count, channels, height, width)}.",
                f"Give one {field_name} a view, of the size of the images.",
            )

    def to(self, device: torch.device | str) -> Self:
        """The same observation with its tensors on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class PosedViews(Views):
    """Photographs with cameras and, where known, per-pixel priors.

    Attributes:
        intrinsics: (V, 3, 3) K in pixels, pixel centres at integer + 0.5; float64 as read.
        poses: (V, 4, 4) camera to local, OpenCV axes (x right, y down, z forward); float64 as read.
        depth: (V, 1, H, W) z in local units, 0 = missing, or None.
        normal: (V, 3, H, W) unit, local, 0 = missing, or None.
        label: (V, 1, H, W) integer instance labels, 0 = none, or None.
        region: takes the unit sphere to the one in local coordinates that holds what is of interest. None: not known.
        sparse: (N, 3) local points known beforehand (a structure-from-motion cloud, a stereo cloud), or None.
    """

    intrinsics: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 3))
    poses: Tensor = field(default_factory=lambda: torch.zeros(0, 4, 4))
    depth: Tensor | None = None
    normal: Tensor | None = None
    label: Tensor | None = None
    region: Frame | None = None
    sparse: Tensor | None = None

    def validated(self) -> Self:
        super().validated()
        count = len(self.images)
        for field_name, shape in (("intrinsics", (count, 3, 3)), ("poses", (count, 4, 4))):
            values = getattr(self, field_name)
            if tuple(values.shape) != shape or not bool(torch.isfinite(values).all()):
                raise DataError(
                    f"The {field_name} of '{self.name}' do not match its {count} images, or are not finite.",
                    f"Give one finite {shape[1]} x {shape[2]} matrix a view; leave views without a pose out.",
                )
        self._check("depth", self.depth, 1)
        self._check("normal", self.normal, 3)
        self._check("label", self.label, 1)
        return self

    def normalized(self, radius: float = 1.0) -> Self:
        """The same views in the frame whose sphere of a given radius holds the region of interest, as float32.

        Raises:
            DataError: if no region is known.
        """
        if self.region is None:
            raise DataError(
                f"Of '{self.name}' it is not known where in space the object is.",
                "Give data.center=[x,y,z] and data.radius=r, in the units of its cameras.",
            )
        # The region may turn axes, so that poses go through it whole.
        inner = replace(self.region, scale=self.region.scale / radius)
        poses = self.poses.double().cpu().numpy().copy()
        poses[:, :3, 3] = inner.to_local(poses[:, :3, 3])
        poses[:, :3, :3] = inner.rotation.T @ poses[:, :3, :3]
        changes: dict[str, Any] = {
            "poses": torch.from_numpy(poses.astype(np.float32)),
            "intrinsics": self.intrinsics.float(),
            "frame": self.frame.then(inner),
            "region": Frame(scale=radius),
        }
        if self.depth is not None:
            changes["depth"] = self.depth / inner.scale
        if self.normal is not None:
            turn = torch.from_numpy(inner.rotation).to(self.normal)
            changes["normal"] = torch.einsum("ji,vjhw->vihw", turn, self.normal)
        if self.sparse is not None:
            local = inner.to_local(self.sparse.cpu().numpy())
            changes["sparse"] = torch.from_numpy(local.astype(np.float32))
        return replace(self, **changes)


@dataclass(frozen=True)
class PosedRGBD(PosedViews):
    """Posed photographs whose `depth` was measured and is always there."""

    def validated(self) -> Self:
        if self.depth is None:
            raise DataError(f"'{self.name}' has no depth.", "Give one depth image a view.")
        return super().validated()


def as_float(images: Tensor) -> Tensor:
    """Images or masks as float in [0, 1], whether they are bytes or floats already."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


Observation = Points | Views


@dataclass(frozen=True)
class Occupancies:
    """Target: `points` (M, 3) local and `inside` (M,) in {0, 1}."""

    points: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Voxels:
    """Target: `grid` (D, H, W) in {0, 1}, axes x, y, z; `frame` takes the cube [-0.5, 0.5]^3 it fills to the world."""

    grid: Tensor
    frame: Frame = field(default_factory=Frame)


@dataclass(frozen=True)
class SurfaceSamples:
    """Target: `points` (M, 3) and outward unit `normals` (M, 3) on the true surface, local."""

    points: Tensor
    normals: Tensor


@dataclass(frozen=True)
class Truth:
    """Target: what is true of a scene, in world coordinates.

    Attributes:
        surface: a mesh or a dense cloud.
        occupancies: world points that are known to be inside or outside, or None.
        voxels: the true voxels, or None.
    """

    surface: Mesh | Cloud
    occupancies: Occupancies | None = None
    voxels: Voxels | None = None


@dataclass(frozen=True)
class ObservedTruth(Truth):
    """A dense cloud of which only a part of space was measured (DTU's evaluation).

    Attributes:
        observed: (X, Y, Z) bool, cells of space in which the truth is complete.
        box: (2, 3) world corners of `observed`.
        resolution: side of its cells, in world units.
        plane: (4,) a, b, c, d: points with ax + by + cz + d <= 0 lie below the table and do not count; or None.
    """

    observed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), dtype=bool))
    box: np.ndarray = field(default_factory=lambda: np.zeros((2, 3)))
    resolution: float = 1.0
    plane: np.ndarray | None = None


Target = Occupancies | Voxels | SurfaceSamples | Truth


@dataclass(frozen=True)
class Scene:
    """One item of a dataset: what was observed, what is true of it (if known), and its number.

    Attributes:
        observation: what a method sees.
        target: what it learns from or is scored by.
        index: its number in the split.
        category: its class, for tables.
        skipped: (name, what was wrong) of damaged items that this one stands for (``data.on_error=skip``).
    """

    observation: Observation
    target: Target | None = None
    index: int = 0
    category: str = ""
    skipped: tuple[tuple[str, str], ...] = ()


def first_common(needs: tuple[type, ...], gives: tuple[type, ...]) -> type | None:
    """The first observation type that a method needs and a dataset gives (or a subtype of it gives)."""
    return next((need for need in needs if any(issubclass(give, need) for give in gives)), None)
