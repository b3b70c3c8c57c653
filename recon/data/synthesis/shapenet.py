"""`prepare data=shapenet`: any meshes to Occupancy Networks' files, and to 3D-R2N2's views and voxels.

``<path>/<class>/<model>/{pointcloud,points}.npz, model.binvox`` with lists of splits and names of classes, and
``<path>/ShapeNetRendering/<class>/<model>/rendering/``, ``<path>/ShapeNetVox32/<class>/<model>/model.binvox``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.normalise import Normalised, Up, normalised
from recon.data.synthesis.occupancy import Solid
from recon.data.synthesis.render import Renderer, before
from recon.data.synthesis.sources import find_meshes, named
from recon.data.synthesis.splits import split
from recon.data.synthesis.textures import read_textured
from recon.errors import ConfigError, DataError
from recon.geometry.voxelize import grid_corners, touched
from recon.io.binvox import Binvox, write_binvox
from recon.io.files import write_text
from recon.io.images import write_png
from recon.io.onet import write_pointcloud, write_points
from recon.io.renderings import SIDE, Viewpoint, format_viewpoints, intrinsics
from recon.io.splits import write_list, write_metadata
from recon.io.taxonomies import CLASSES

PADDING = 0.55  # half the side of the cube that queries are drawn in
VOXELS = 32


class ShapeNet(Factory):
    """Objects, each from one mesh file: class and name are those of its folder and its own.

    Args:
        category: the class of all; None takes each file's folder.
        up: the axis of the files that points up; what is made has y up.
        points: samples of the surface.
        queries: points whose occupancy is told, uniform in the cube of side 1.1.
        views: pictures.
        thickness: of sheets in meshes with holes, in longest sides: what is nearer than half of it lies inside.
        **shared: see `Factory`; kinds: ``all``, or ``points`` or ``views`` alone.
    """

    kinds = ("all", "points", "views")

    def __init__(
        self,
        category: str | None = None,
        up: Up = "y",
        points: int = 100_000,
        queries: int = 100_000,
        views: int = 24,
        thickness: float = 0.01,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if min(points, queries, views) < 1 or thickness < 0:
            raise ConfigError("prepare: points, queries and views must be positive, thickness not negative.", "")
        self.category, self.up, self.thickness = category, up, thickness
        self.points, self.queries, self.views = points, queries, views

    def items(self) -> Sequence[Item]:
        files = named(find_meshes(self.source), self.category)
        return [self._item(group, model, file) for (group, model), file in files.items()]

    def _item(self, group: str, model: str, file: Path) -> Item:
        name, places = f"{group}/{model}", {}
        if self.kind != "points":
            places = {"views": f"ShapeNetRendering/{name}", "voxels": f"ShapeNetVox32/{name}"}
        return Item(name, file, places.pop("views") if self.kind == "views" else name, places)

    def make(self, item: Item, folder: Path) -> Made:
        assert item.source is not None
        rng, shape = self.rng(item), normalised(read_textured(item.source), self.up)
        turning, sampling, asking, looking = rng.spawn(4)
        solid = Solid(shape.shape, turning, self.thickness)
        grid = touched(grid_corners(shape.shape, VOXELS), VOXELS) | _centres_inside(solid)
        facts = _facts(item, shape, solid, grid)
        if self.kind != "views":
            facts["share inside"] = self._write_points(folder, shape, solid, sampling, asking)
            write_binvox(folder / "model.binvox", Binvox(grid, np.full(3, -0.5), 1.0))
        size = 1 / float(np.linalg.norm(np.ptp(shape.shape.vertices, axis=0)))
        renderer = Renderer(shape.look.transformed(np.diag([size, size, size, 1])))
        if self.kind != "points":
            views = folder if self.kind == "views" else folder / "views"
            self._write_views(views / "rendering", renderer, looking)
            write_binvox(folder / "voxels" / "model.binvox", Binvox(grid, np.full(3, -0.5 * size), size))
        return Made(item.name, facts, _thumbnail(renderer))

    def _write_points(
        self, folder: Path, shape: Normalised, solid: Solid, sampling: np.random.Generator, asking: np.random.Generator
    ) -> float:
        """Write both .npz files; returns the share of the queries that lie inside."""
        # Rounded before they are asked about, so that what is told of them is true of what is stored.
        queries = asking.uniform(-PADDING, PADDING, (self.queries, 3)).astype(np.float16)
        inside = solid.contains(queries.astype(np.float64))
        if not inside.any():
            raise DataError(f"Nothing lies inside it: none of {self.queries} points.")
        surface = solid.surface(self.points, sampling)
        loc, scale = shape.frame.translation, shape.frame.scale
        write_points(folder / "points.npz", queries, inside, loc, scale)
        write_pointcloud(folder / "pointcloud.npz", surface.points, surface.normals, loc, scale)
        return float(inside.mean())

    def _write_views(self, folder: Path, renderer: Renderer, rng: np.random.Generator) -> None:
        """Pictures from random sides (3D-R2N2: az = 360 U, el = 25 + 5 U, distance = 1.75 (0.65 + 0.3 U))."""
        drawn = np.round(rng.random((self.views, 3)) * (360, 5, 0.3) + (0, 25, 0.65), 6)
        viewpoints = [Viewpoint(azimuth, elevation, 0.0, ratio) for azimuth, elevation, ratio in drawn.tolist()]
        names = [f"{number:02d}.png" for number in range(self.views)]
        for name, viewpoint in zip(names, viewpoints, strict=True):
            rgb, alpha = renderer.picture(intrinsics(), viewpoint.pose(), (SIDE, SIDE), supersample=3)
            write_png(folder / name, np.dstack([rgb, alpha]))
        write_text(folder / "renderings.txt", "".join(f"{name}\n" for name in names))
        write_text(folder / "rendering_metadata.txt", format_viewpoints(viewpoints))

    def finish(self, made: Sequence[Made]) -> None:
        groups: dict[str, list[str]] = defaultdict(list)
        for one in made:
            group, _, model = one.name.partition("/")
            groups[group].append(model)
        roots = [self.path] if self.kind != "views" else []
        roots += [self.path / "ShapeNetRendering"] if self.kind != "points" else []
        for group, models in groups.items():
            for part, names in split(models, self.seed).items():
                for root in roots:
                    write_list(root / group / f"{part}.lst", names)
        write_metadata(self.path / "metadata.yaml", {g: CLASSES.get(g, g) for g in sorted(groups)})


def _centres_inside(solid: Solid) -> np.ndarray:
    """(32, 32, 32) bool: the voxels whose centres lie inside."""
    along = (np.arange(VOXELS) + 0.5) / VOXELS - 0.5
    centres = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1)
    return solid.contains(centres.reshape(-1, 3)).reshape((VOXELS,) * 3)


def _facts(item: Item, shape: Normalised, solid: Solid, grid: np.ndarray) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "file": item.source.name if item.source else "",
        "faces": len(shape.look.mesh.faces),
        "closed": solid.kind != "leaky",
        "voxels": int(grid.sum()),
    }
    if solid.sheet.any():
        facts["share of sheets"] = float(solid.sheet.mean())
    if shape.look.has_image or shape.look.mesh.colors is not None:
        facts["coloured"] = True
    return facts


def _thumbnail(renderer: Renderer) -> np.ndarray:
    rgb, alpha = renderer.picture(intrinsics(160), Viewpoint(60, 25, 0.0, 0.68).pose(), (160, 160))
    return before(rgb, alpha, 255)
