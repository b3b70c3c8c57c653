"""`Surface`: a field whose level set is the result, and the one place where fields become triangles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from torch import Tensor

from recon.geometry.frames import Frame
from recon.io.types import Mesh

Kind = Literal["sdf", "occupancy", "implicit"]


@dataclass(frozen=True)
class MeshOptions:
    """How a mesh is made from a field; every one an option of the command line (group `mesh`).

    Attributes:
        resolution: cells along the longest side of the box.
        extraction: ``"auto"`` picks ``"coarse_to_fine"`` for an SDF and ``"mise"`` for an occupancy.
        largest_component: keep only the component of largest area.
        min_area: drop components with less than this share of the total area (0 keeps all).
        trim: drop faces farther than this from the input, in multiples of its mean spacing (0 keeps all).
        faces: simplify to about this many faces (0 keeps all).
        normals: vertex normals from the field's gradient.
        bisect: rounds of bisection that move vertices onto the level set.
        chunk: field evaluations in one call (0: sized for the cache).
    """

    resolution: int = 256
    extraction: Literal["auto", "dense", "coarse_to_fine", "mise"] = "auto"
    largest_component: bool = False
    min_area: float = 0.0
    trim: float = 0.0
    faces: int = 0
    normals: bool = True
    bisect: int = 0
    chunk: int = 0


@dataclass(frozen=True)
class Extraction:
    """A mesh and what is worth knowing about how it came about.

    Attributes:
        mesh: in world coordinates; empty where the box holds no surface.
        evaluations: field evaluations spent.
        components: connected components before any were dropped.
        cut: whether the box cuts the surface, which leaves a rim.
        warnings: sentences for the user.
    """

    mesh: Mesh
    evaluations: int
    components: int = 0
    cut: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surface:
    """A level set of a field over a box.

    Attributes:
        field: (N, 3) local float32 points to (N,) values. It may offer more (see `Lattice` in
            `recon.geometry.extraction`), which is then used.
        low: lower corner of the box, local.
        high: upper corner of the box, local.
        kind: ``"sdf"``: |gradient| is bounded near 1; ``"occupancy"``: a steep step at `level`;
            ``"implicit"``: neither is known.
        level: the value on the surface.
        inside: whether values below or above the level are inside; ``"auto"`` reads it off the box's border.
        frame: local to world.
        gradient: (N, 3) to (N, 3), or None for central differences.
        color: (N, 3) to (N, 3) RGB in [0, 1], or None.
        support: (M, 3) local input points, used for trimming, or None.
        device: where the field wants its points.
    """

    field: Callable[[Tensor], Tensor]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    kind: Kind = "sdf"
    level: float = 0.0
    inside: Literal["below", "above", "auto"] = "auto"
    frame: Frame = field(default_factory=Frame)
    gradient: Callable[[Tensor], Tensor] | None = None
    color: Callable[[Tensor], Tensor] | None = None
    support: Tensor | None = None
    device: str = "cpu"

    def mesh(self, options: MeshOptions | None = None, **changes: object) -> Extraction:
        """The level set as triangles, in world coordinates."""
        raise NotImplementedError
