"""Solids made of formulas, each with a field that is negative inside and a watertight mesh about 2 units long."""

from __future__ import annotations

import zlib
from collections.abc import Callable
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
    extruded,
    gradient,
    gyroid,
    knot,
    smooth_union,
    sphere,
    torus,
    union,
    without,
)
from recon.io.types import Mesh

HALF = 1.25  # half the side of the cube that is searched for surface


@dataclass(frozen=True)
class Solid:
    """A solid.

    Attributes:
        field: (N, 3) points to (N,) values, negative inside.
        faces: its mesh where that is known exactly (flat faces, sharp edges), else it is marched from the field.
    """

    field: Field
    faces: Mesh | None = None


def prism(corners: np.ndarray, half: float) -> Solid:
    """A polygon drawn out along z, with sharp edges and an exact mesh.

    Args:
        corners: (K, 2) counter-clockwise, all of it visible from the origin.
        half: half the height.
    """
    following = np.roll(corners, -1, axis=0)

    def field(p: np.ndarray) -> np.ndarray:
        flat, inside = np.full(len(p), np.inf), np.zeros(len(p), dtype=bool)
        for a, b in zip(corners, following, strict=True):
            d, rest = b - a, p[:, :2] - a
            along = np.clip(rest @ d / (d @ d), 0, 1)
            flat = np.minimum(flat, ((rest - along[:, None] * d) ** 2).sum(axis=1))
            crosses = (a[1] > p[:, 1]) != (b[1] > p[:, 1])
            left = (rest[:, 0] * d[1] < rest[:, 1] * d[0]) if d[1] > 0 else (rest[:, 0] * d[1] > rest[:, 1] * d[0])
            inside ^= crosses & left
        return extruded(np.where(inside, -1, 1) * np.sqrt(flat), p[:, 2], half)

    count = len(corners)
    rim = np.arange(count)
    after = np.roll(rim, -1)
    ring = np.hstack([corners, np.full((count, 1), half)])
    vertices = np.vstack([ring, ring * [1, 1, -1], [[0, 0, half], [0, 0, -half]]])
    top, bottom = np.full(count, 2 * count), np.full(count, 2 * count + 1)
    triangles = [(top, rim, after), (bottom, after + count, rim + count)]
    triangles += [(rim, rim + count, after + count), (rim, after + count, after)]
    return Solid(field, Mesh(vertices, np.concatenate([np.stack(t, axis=1) for t in triangles])))


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
    # A crooked box, so that no node falls on a face or an axis of symmetry.
    low = -HALF - np.array([0.0031, 0.0057, 0.0013])
    cell = (2 * HALF + 0.01) / resolution
    values = _sample(field, low, cell, resolution + 1)
    vertices, faces, _, _ = marching_cubes(values, 0.0)
    points = vertices.astype(np.float64) * cell + low
    for _ in range(3):
        slope = gradient(field, points)
        move = -field(points)[:, None] * slope / np.maximum((slope**2).sum(axis=1, keepdims=True), 0.05)
        points += np.clip(move, -0.25 * cell, 0.25 * cell)
    return Mesh(points, faces.astype(np.int64))


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


def exists(name: str) -> bool:
    """Whether `solid` knows a name."""
    return name in NAMED or (name.startswith("blobs_") and name[6:].isdecimal() and len(name) <= 15)


@lru_cache(maxsize=256)
def solid(name: str) -> Solid:
    """A solid of `NAMED`, or ``blobs_NNN`` from the seed NNN, in an orientation of its own.

    Turned, because faces along the axes flatter every method that works on a grid.
    """
    made = NAMED[name]() if name in NAMED else _blobs(int(name[6:]))
    return turned(made, Rotation.from_quat(np.random.default_rng(zlib.crc32(name.encode())).normal(size=4)).as_matrix())


@lru_cache(maxsize=256)
def solid_mesh(name: str, resolution: int) -> Mesh:
    """The watertight mesh of `solid(name)`; `resolution` is that of `march` where no exact mesh is known."""
    made = solid(name)
    return made.faces or march(made.field, resolution)
