"""`Surface`: a field whose level set is the result, and the one place where fields become triangles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as made_by
from typing import Any, Literal

import numpy as np
from torch import Tensor

from recon.errors import ConfigError, did_you_mean
from recon.geometry.blocks import SIDE
from recon.geometry.cleanup import (
    Triangles,
    by_area,
    components,
    keep_faces,
    largest,
    mean_spacing,
    simplify,
    supported,
    within,
)
from recon.geometry.coarse_to_fine import all_blocks, coarse_to_fine
from recon.geometry.dense import slabs
from recon.geometry.evaluation import Evaluator, Progress
from recon.geometry.extraction import Bounded, Grid
from recon.geometry.frames import Frame
from recon.geometry.marching import march
from recon.geometry.mise import mise_blocks
from recon.geometry.region_growing import region_blocks, region_grid, tearing, without_torn
from recon.geometry.vertices import colors, normals, normals_of_faces, polisher
from recon.geometry.welding import Welder
from recon.io.types import Mesh

Kind = Literal["sdf", "occupancy", "implicit"]
EXTRACTORS = {"dense": all_blocks, "coarse_to_fine": coarse_to_fine, "mise": mise_blocks, "region": region_blocks}


@dataclass(frozen=True)
class MeshOptions:
    """How a mesh is made from a field; every one an option of the command line (group `mesh`).

    Attributes:
        resolution: cells along the longest side of the box.
        cell: side of a cell in world units, at most; it overrules `resolution` (0: it does not).
        extraction: ``"auto"`` picks ``"coarse_to_fine"`` for an SDF and ``"mise"`` for an occupancy. ``"region"`` grows
            from the input points as ALTO's program does, in a box of its own (see `recon.geometry.region_growing`).
            Of predicted voxels only: ``"voxels"``, their outer squares; ``"cubes"``, as 3D-R2N2's program.
        largest_component: keep only the component of largest area.
        min_area: drop components with less than this share of the total area (0 keeps all).
        trim: drop faces farther than this from the input, in multiples of its mean spacing (0 keeps all).
        faces: simplify to about this many faces (0 keeps all).
        normals: vertex normals, from the field's gradient, or from the faces where the field is an occupancy.
        bisect: rounds of bisection that move vertices onto the level set (0: none; ten where regions grow).
        chunk: field evaluations in one call (0: sized for the cache).
        support_filter: drop components of which less than a fifth of the vertices lies within this distance of the
            input, as a share of the input's longest side (0 keeps all; 0.025 suits noisy scans).
        color: vertex colours, where the surface has them.
    """

    resolution: int = 256
    extraction: Literal["auto", "dense", "coarse_to_fine", "mise", "region", "voxels", "cubes"] = "auto"
    largest_component: bool = False
    min_area: float = 0.0
    trim: float = 0.0
    faces: int = 0
    normals: bool = True
    bisect: int = 0
    chunk: int = 0
    support_filter: float = 0.0
    color: bool = True
    cell: float = 0.0

    def __post_init__(self) -> None:
        # Here, and not when the mesh is made: that may be after hours of fitting.
        if self.resolution < 2:
            raise ConfigError(f"mesh.resolution={self.resolution} is too small.", "Give at least 2 cells.")
        if self.cell < 0:
            raise ConfigError(f"mesh.cell={self.cell}: cells have a size.", "Give it in the unit of the input.")


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
        gradient: (N, 3) to (N, 3), or None for central differences (of an occupancy: for normals of faces).
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
    frame: Frame = made_by(default_factory=Frame)
    gradient: Callable[[Tensor], Tensor] | None = None
    color: Callable[[Tensor], Tensor] | None = None
    support: Tensor | None = None
    device: str = "cpu"

    def mesh(
        self, options: MeshOptions | None = None, *, progress: Progress | None = None, **changes: Any
    ) -> Extraction:
        """The level set as triangles, in world coordinates.

        Args:
            options: how; None for the defaults.
            progress: called with (evaluations done, evaluations known to be needed so far).
            changes: single options, e.g. ``resolution=512``.
        """
        options = replace(options or MeshOptions(), **changes)
        extractor = self._extractor(options)
        evaluator = self._evaluator(options, extractor, progress)
        vertices, faces = _triangles(evaluator, options, extractor)
        cut = bool(((vertices == 0) | (vertices == evaluator.grid.cells)).any()) or evaluator.capped > 0
        count, labels = components(faces, len(vertices))
        vertices, faces = self._cleaned(evaluator.grid.positions(vertices), faces, labels, options)
        warnings = _warnings(count, cut, faces, evaluator)
        if self.support is None:
            warnings += without_support(options)
        return Extraction(self._dressed(vertices, faces, evaluator, options), evaluator.count, count, cut, warnings)

    def _evaluator(self, options: MeshOptions, extractor: str, progress: Progress | None) -> Evaluator:
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ConfigError(f"The box from {self.low} to {self.high} is empty.", "Give low < high on every axis.")
        seeds = self._support() if extractor == "region" else None
        if seeds is None:
            grid = Grid.over(self.low, self.high, self._cells(np.subtract(self.high, self.low).max(), options))
        else:
            grid = region_grid(seeds, self._cells(np.ptp(seeds) if len(seeds) else 1.0, options))
        evaluator = Evaluator(self.field, grid, self.level, 1.0, self.device, options.chunk, progress, seeds)
        usual = -1.0 if self.kind == "occupancy" else 1.0
        if self.inside == "auto":
            evaluator.find_sign(default=usual)
        else:
            evaluator.sign = 1.0 if self.inside == "below" else -1.0
        return evaluator

    def _cells(self, longest: float, options: MeshOptions) -> int:
        """Cells along a box whose longest side is given, local."""
        if not options.cell:
            return options.resolution
        return max(2, int(np.ceil(longest * self.frame.scale / options.cell - 1e-6)))

    def _extractor(self, options: MeshOptions) -> str:
        if options.extraction in ("voxels", "cubes"):
            raise ConfigError(
                f"mesh.extraction={options.extraction}: this method predicts no voxels.",
                f"Known: {', '.join(('auto', *EXTRACTORS))}.",
            )
        if options.extraction not in ("auto", *EXTRACTORS):
            raise ConfigError(
                f"mesh.extraction={options.extraction} is not known.",
                did_you_mean(options.extraction, ("auto", *EXTRACTORS)),
            )
        if options.extraction != "auto":
            return options.extraction
        if isinstance(self.field, Bounded):
            return "coarse_to_fine"
        return {"sdf": "coarse_to_fine", "occupancy": "mise", "implicit": "dense"}[self.kind]

    def _support(self) -> np.ndarray:
        """(M, 3) float64 input points; none where they are not known."""
        return np.zeros((0, 3)) if self.support is None else self.support.detach().cpu().double().numpy()

    def _cleaned(self, vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, options: MeshOptions) -> Triangles:
        """Drop, trim and simplify, in local coordinates."""
        if not len(faces):
            return vertices, faces
        support = None if self.support is None else self._support()
        kept = kept_faces(vertices, faces, labels, support, options)
        if not kept.all():
            vertices, faces = keep_faces(vertices, faces, kept)
        return simplify(vertices, faces, options.faces) if options.faces else (vertices, faces)

    def _dressed(self, vertices: np.ndarray, faces: np.ndarray, evaluator: Evaluator, options: MeshOptions) -> Mesh:
        """In world coordinates, with normals and colours."""
        if not len(faces):
            return Mesh.empty()
        normal = color = None
        if options.normals:
            # Next to a step a difference tells little, and six evaluations a vertex are more than the mesh has cost.
            is_step = self.kind == "occupancy" and self.gradient is None
            local = normals_of_faces(vertices, faces) if is_step else normals(evaluator, vertices, self.gradient)
            normal = self.frame.normals_to_world(local)
        if options.color and self.color is not None:
            color = colors(evaluator, vertices, self.color)
        return Mesh(self.frame.to_world(vertices), faces, normal, color)


def kept_faces(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, support: np.ndarray | None, options: MeshOptions
) -> np.ndarray:
    """(F,) bool: the faces that the options leave.

    Args:
        vertices: (V, 3).
        faces: (F, 3), at least one.
        labels: (V,) the component of each vertex.
        support: (M, 3) input points in the same coordinates, or None.
        options: which components to drop, and how far from the input to trim.
    """
    kept = np.ones(len(faces), dtype=bool)
    if options.support_filter and support is not None:
        distance = options.support_filter * float(np.ptp(support, axis=0).max())
        kept &= supported(vertices, faces, labels, support, distance)
    if options.min_area:
        kept &= by_area(vertices, faces, labels, options.min_area)
    if options.largest_component and kept.any():
        kept[kept] = largest(vertices, faces[kept], labels)
    if options.trim and support is not None:
        kept &= within(vertices, faces, support, options.trim * mean_spacing(support))
    return kept


def without_support(options: MeshOptions) -> tuple[str, ...]:
    """What to tell of options that need the input points where there are none."""
    if not (options.trim or options.support_filter):
        return ()
    return ("This surface does not know its input: mesh.trim and mesh.support_filter did nothing.",)


def _triangles(evaluator: Evaluator, options: MeshOptions, extractor: str) -> Triangles:
    """Vertices in cells of the grid, and faces."""
    grid, welder = evaluator.grid, Welder()
    polish = polisher(evaluator, options.bisect) if options.bisect else None
    if extractor == "region":
        polish = tearing(evaluator, options.bisect)
    if extractor == "dense" and not evaluator.is_lattice:
        for values, origin in slabs(evaluator):
            welder.add(march(values, origin, grid, polish))
        return welder.join()
    blocks = EXTRACTORS[extractor](evaluator)
    for batch in blocks.batches():
        welder.add(march(blocks.values[batch], SIDE * blocks.coords[batch], grid, polish))
    return without_torn(*welder.join()) if extractor == "region" else welder.join()


def _warnings(count: int, cut: bool, faces: np.ndarray, evaluator: Evaluator) -> tuple[str, ...]:
    found = []
    if not count:
        found.append("The box holds no surface: the field has the same sign everywhere. The mesh is empty.")
    elif not len(faces):
        found.append("Nothing is left of the surface after trimming and dropping components. The mesh is empty.")
    if cut and evaluator.capped:
        found.append(
            "Regions grow in the box of the points, which cuts the surface. mesh.extraction=mise looks farther."
        )
    elif cut:
        found.append("The box cuts the surface, which leaves an open rim. A larger box would close it.")
    if evaluator.broken:
        found.append(f"The field was not finite at {evaluator.broken} points; they count as outside.")
    return tuple(found)
