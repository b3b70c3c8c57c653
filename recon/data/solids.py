"""Solids made of formulas, each with a field that is negative inside and a watertight mesh about 2 units long."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

from recon.data.fields import (
    Field,
    box,
    capsule,
    common,
    cylinder,
    ellipsoid,
    extrude,
    gradient,
    gyroid,
    knot,
    smooth_union,
    sphere,
    torus,
    union,
    without,
)
from recon.data.furniture import FURNITURE
from recon.data.machined import MACHINED
from recon.errors import DataError
from recon.geometry.dual_contouring import dual_contour
from recon.io.types import Mesh

HALF = 1.25  # half the side of the cube that is searched for surface


@dataclass(frozen=True)
class Solid:
    """A solid.

    Attributes:
        field: (N, 3) points to (N,) values, negative inside.
        faces: its mesh where that is known exactly (flat faces, sharp edges), else it is made from the field.
    """

    field: Field
    faces: Mesh | None = None


def prism(corners: np.ndarray, half: float) -> Solid:
    """A polygon drawn out along z, with sharp edges and an exact mesh.

    Args:
        corners: (K, 2) counter-clockwise, all of it visible from the origin.
        half: half the height.
    """
    count = len(corners)
    rim = np.arange(count)
    after = np.roll(rim, -1)
    ring = np.hstack([corners, np.full((count, 1), half)])
    vertices = np.vstack([ring, ring * [1, 1, -1], [[0, 0, half], [0, 0, -half]]])
    top, bottom = np.full(count, 2 * count), np.full(count, 2 * count + 1)
    triangles = [(top, rim, after), (bottom, after + count, rim + count)]
    triangles += [(rim, rim + count, after + count), (rim, after + count, after)]
    return Solid(extrude(corners, half), Mesh(vertices, np.concatenate([np.stack(t, axis=1) for t in triangles])))


def sheet(thickness: float, cells: int = 120) -> Solid:
    """A bent plate, z = 0.25 sin(2 x) cos(2 y), whose mesh resolves any thickness."""

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.25 * np.sin(2 * x) * np.cos(2 * y)

    def field(p: np.ndarray) -> np.ndarray:
        off = np.abs(p[:, 2] - height(p[:, 0], p[:, 1])) - thickness / 2
        return np.maximum.reduce([off / 1.12, np.abs(p[:, 0]) - 1, np.abs(p[:, 1]) - 0.75])

    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, cells + 1), np.linspace(-0.75, 0.75, cells + 1)))
    layers = [np.stack([x, y, height(x, y) + side * thickness / 2], axis=1) for side in (1, -1)]
    number = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = (n.ravel() for n in (number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]))
    upper = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    rim = np.concatenate([number[0, :-1], number[:-1, -1], number[-1, :0:-1], number[:0:-1, 0]])
    after, below = np.roll(rim, -1), (cells + 1) ** 2
    wall = np.concatenate(
        [np.stack([rim, rim + below, after + below], axis=1), np.stack([rim, after + below, after], axis=1)]
    )
    return Solid(field, Mesh(np.vstack(layers), np.concatenate([upper, upper[:, ::-1] + below, wall])))


def turned(solid: Solid, rotation: np.ndarray) -> Solid:
    """The solid after a (3, 3) rotation."""
    faces = solid.faces and Mesh(solid.faces.vertices @ rotation.T, solid.faces.faces)
    return Solid(lambda p: solid.field(p @ rotation), faces)


def march(field: Field, resolution: int) -> Mesh:
    """The surface of a field by marching cubes, its vertices moved onto the field's zero.

    Args:
        field: of a solid inside the cube of half side `HALF`.
        resolution: cells along the cube.
    """
    low, cell = _grid(resolution)
    values = _sample(field, low, cell, resolution + 1)
    vertices, faces, _, _ = marching_cubes(values, 0.0)
    points = vertices.astype(np.float64) * cell + low
    for _ in range(3):
        slope = gradient(field, points)
        move = -field(points)[:, None] * slope / np.maximum((slope**2).sum(axis=1, keepdims=True), 0.05)
        points += np.clip(move, -0.25 * cell, 0.25 * cell)
    return Mesh(points, faces.astype(np.int64))


def sharp(field: Field, resolution: int) -> Mesh:
    """The watertight surface of a field with its edges and corners (see `dual_contour`).

    Raises:
        DataError: if no grid of twice this resolution gives a watertight mesh: walls are thinner than half a cell.
    """
    for attempt in range(12):
        cells = resolution * (4 + attempt // 3) // 4 if attempt < 9 else 2 * resolution
        low, cell = _grid(cells, attempt % 3)
        values = _sample(field, low, cell, cells + 1)
        mesh = dual_contour(field, lambda p: gradient(field, p, 1e-6), values, low, cell)
        # Where two walls pass through one cell, four faces may share an edge; elsewhere the grid falls otherwise.
        if len(mesh.faces) and watertight(mesh):
            return mesh
    raise DataError(
        f"At {resolution} cells this shape's walls are too thin for a watertight mesh.", "Raise data.resolution."
    )


def watertight(mesh: Mesh) -> bool:
    """Whether each edge belongs to just two faces, which run along it in opposite directions."""
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    numbers = np.sort(edges @ [len(mesh.vertices), 1])
    back = np.sort(edges[:, ::-1] @ [len(mesh.vertices), 1])
    return len(np.unique(numbers)) == len(numbers) and bool((numbers == back).all())


def _grid(resolution: int, shift: int = 0) -> tuple[np.ndarray, float]:
    """First node and side of a cell; crooked, so that no node falls on a face or an axis of symmetry."""
    return -HALF - (1 + shift) * np.array([0.0031, 0.0057, 0.0013]), (2 * HALF + 0.01 * (1 + shift)) / resolution


def _sample(field: Field, low: np.ndarray, cell: float, nodes: int, stride: int = 4) -> np.ndarray:
    """(nodes, nodes, nodes) values, exact near the surface and interpolated from every `stride`-th node elsewhere."""
    coarse_nodes = (nodes - 2) // stride + 2
    grid = np.stack(np.meshgrid(*[np.arange(coarse_nodes)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    coarse = field(grid * (stride * cell) + low).reshape([coarse_nodes] * 3)
    size = (coarse_nodes - 1) * stride + 1
    values = zoom(coarse, size / coarse_nodes, order=1)[:nodes, :nodes, :nodes]
    near = np.argwhere(np.abs(values) < 2 * stride * cell)
    values[tuple(near.T)] = field(near * cell + low)
    return values


def _polygon(radii: list[float]) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.array(radii)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _blobs(seed: int) -> Solid:
    """A random smooth union of a ball and capsules, in one piece: each starts where an earlier one ended."""
    rng = np.random.default_rng(seed)
    fields, centres = [sphere((0, 0, 0), 0.35)], [np.zeros(3)]
    for _ in range(rng.integers(4, 11)):
        start = centres[rng.integers(len(centres))]
        end = start + rng.normal(0, 0.35, 3)
        end *= min(1.0, 0.75 / float(np.linalg.norm(end)))
        radius = rng.uniform(0.1, 0.28)
        fields.append(capsule(start, end, radius))
        centres.append(end)
    return Solid(smooth_union(fields, rng.uniform(0.01, 0.04)))


L_SHAPE = np.array([(-0.35, -0.35), (1, -0.35), (1, 0.05), (0.05, 0.05), (0.05, 0.7), (-0.35, 0.7)])
"""Corners of an angle bracket; all of it is visible from the origin."""

NAMED: dict[str, Callable[[], Solid]] = {
    "sphere": lambda: Solid(sphere((0, 0, 0), 0.9)),
    "ellipsoid": lambda: Solid(ellipsoid(1.0, 0.6, 0.4)),
    "torus": lambda: Solid(torus(0.7, 0.25)),
    "capsule": lambda: Solid(capsule((-0.7, 0, 0), (0.7, 0, 0), 0.3)),
    "box": lambda: prism(_polygon([0.9] * 4), 0.5),
    "rounded_box": lambda: Solid(box(0.9, 0.6, 0.4, 0.15)),
    "bracket": lambda: prism(L_SHAPE, 0.3),
    "star": lambda: prism(_polygon([1.0, 0.45] * 5), 0.25),
    "drilled": lambda: Solid(
        without(common(sphere((0, 0, 0), 0.95), box(0.7, 0.7, 0.7)), *(cylinder(0.35, 2, axis) for axis in range(3)))
    ),
    "flange": lambda: Solid(
        without(union(cylinder(0.95, 0.12), cylinder(0.45, 0.6)), cylinder(0.25, 2), _bolt_holes(6, 0.7, 0.1))
    ),
    "mug": lambda: Solid(
        union(
            without(cylinder(0.6, 0.75), lambda p: cylinder(0.52, 0.75)(p - [0, 0, 0.08])),
            without(torus(0.4, 0.08, (0.6, 0, 0), 1), cylinder(0.56, 2)),
        )
    ),
    "links": lambda: Solid(union(torus(0.5, 0.14, (-0.25, 0, 0), 2), torus(0.5, 0.14, (0.25, 0, 0), 1))),
    "knot": lambda: Solid(knot(2, 3, 0.12)),
    "gyroid": lambda: Solid(common(gyroid(6.0, 0.6), sphere((0, 0, 0), 0.95))),
    "sheet": lambda: sheet(0.03),
}
"""From simple to hard: smooth, sharp, thin walls, several pieces, high genus, thin sheet."""


def _bolt_holes(count: int, ring: float, radius: float) -> Field:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    centres = np.stack([ring * np.cos(angles), ring * np.sin(angles)], axis=1)
    return lambda p: np.min([np.linalg.norm(p[:, :2] - c, axis=1) for c in centres], axis=0) - radius


FAMILIES: Mapping[str, Callable[[np.random.Generator], Field]] = FURNITURE | MACHINED
"""Endless solids: `solid("chair_007")` is the one that follows from the number 7."""


def exists(name: str) -> bool:
    """Whether `solid` knows a name."""
    family, _, number = name.rpartition("_")
    return name in NAMED or (family in (*FAMILIES, "blobs") and number.isdecimal() and len(number) <= 9)


@lru_cache(maxsize=256)
def solid(name: str) -> Solid:
    """A solid of `NAMED`, ``blobs_NNN``, or one of `FAMILIES`, e.g. ``chair_NNN``, from the seed NNN.

    In an orientation of its own, because faces along the axes flatter every method that works on a grid; furniture
    stays upright (y up).
    """
    family, _, number = name.rpartition("_")
    if family in FAMILIES:
        made = Solid(_of_family(family, int(number)))
    else:
        made = NAMED[name]() if name in NAMED else _blobs(int(number))
    return turned(made, _orientation(name))


def _of_family(family: str, number: int) -> Field:
    return FAMILIES[family](np.random.default_rng([number, zlib.crc32(family.encode())]))


def _orientation(name: str) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.rpartition("_")[0] in FURNITURE:
        return Rotation.from_euler("y", rng.uniform(0, 360), degrees=True).as_matrix()
    return Rotation.from_quat(rng.normal(size=4)).as_matrix()


@lru_cache(maxsize=256)
def solid_mesh(name: str, resolution: int) -> Mesh:
    """The watertight mesh of `solid(name)`; `resolution` is that of the grid where no exact mesh is known."""
    family, _, number = name.rpartition("_")
    if family in FAMILIES:
        # Before it is turned: then the planes of its parts lie along the grid, and their edges come out exact.
        mesh = sharp(_of_family(family, int(number)), resolution)
        return Mesh(mesh.vertices @ _orientation(name).T, mesh.faces)
    made = solid(name)
    return made.faces or march(made.field, resolution)
