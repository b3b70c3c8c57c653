"""How rooms are put together: a floor, some walls, and objects that stand on it without touching.

Lengths are those of the published synthetic rooms (Peng et al., Convolutional Occupancy Networks, 2020, supplement):
y is up, the floor's underside lies at y = -0.5 and its longer side is 1. The same rules, scaled, furnish RGB-D rooms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recon.data.synthesis.textures import Textured
from recon.errors import DataError
from recon.io.types import Mesh

FLOOR = -0.5  # y of the floor's underside
STRUCTURE = -1  # category of floor and walls
EDGES = {8: (0.10, 0.25), 7: (0.15, 0.25), 6: (0.20, 0.30), 5: (0.25, 0.40), 4: (0.25, 0.45)}
"""Longest edges of objects, by how many share a room."""
SIDES = (("x", -1), ("x", 1), ("z", -1), ("z", 1))

BOX_FACES = "013 032 467 475 045 051 237 276 026 064 157 173"
BOX = Mesh(
    np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)]),
    np.array([[int(corner) for corner in face] for face in BOX_FACES.split()]),
)
"""The unit cube, its faces looking outward."""


@dataclass(frozen=True)
class Rules:
    """Of what size the parts of a room are; an interval is drawn from uniformly.

    Attributes:
        floor: of the floor's shorter side; the longer one is 1.
        thickness: of floor and walls.
        wall: share of walls that are there, each by itself.
        height: of all walls of a room, above the floor.
        edge: of an object's longest side, or None to take it from `EDGES` by their number.
        gap: that is left at least between the boxes of two objects.
    """

    floor: tuple[float, float] = (0.3, 1.0)
    thickness: float = 0.01
    wall: float = 0.5
    height: tuple[float, float] = (0.2, 0.4)
    edge: tuple[float, float] | None = None
    gap: float = 0.0


@dataclass(frozen=True)
class Part:
    """One solid of a room.

    Attributes:
        look: its mesh in the room's coordinates, with materials.
        category: number of its kind; `STRUCTURE` for floor and walls.
        name: the object's, or "floor", "wall -x" and so on.
        inner: for floor and walls the direction (3,) in which the face lies that is seen from within; else None.
        edge: longest side it was given, before it was turned.
        yaw: turn about y in radians.
        pose: (4, 4) similarity, from the coordinates the object came in to the room's.
    """

    look: Textured
    category: int
    name: str
    inner: np.ndarray | None = None
    edge: float = 0.0
    yaw: float = 0.0
    pose: np.ndarray = field(default_factory=lambda: np.eye(4))

    @property
    def mesh(self) -> Mesh:
        return self.look.mesh

    def moved(self, matrix: np.ndarray) -> Part:
        """The part after a (4, 4) similarity."""
        inner = self.inner
        if inner is not None:
            inner = matrix[:3, :3] @ inner / np.cbrt(np.linalg.det(matrix[:3, :3]))
        return replace(self, look=self.look.transformed(matrix), inner=inner, pose=matrix @ self.pose)


@dataclass(frozen=True)
class Room:
    """Objects first, then walls, then the floor.

    Attributes:
        parts: all solids.
        floor: (2,) sides along x and z.
        walls: (4,) bool: which of `SIDES` has a wall.
        height: of the walls.
    """

    parts: tuple[Part, ...]
    floor: np.ndarray
    walls: np.ndarray
    height: float

    @property
    def objects(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.category != STRUCTURE)

    def moved(self, matrix: np.ndarray) -> Room:
        """The room after a (4, 4) similarity; `floor` and `height` stay those of the drawing."""
        return replace(self, parts=tuple(part.moved(matrix) for part in self.parts))


def compose(
    objects: Sequence[tuple[str, int, Textured]], rules: Rules, rng: np.random.Generator, tries: int = 100
) -> Room:
    """A room with all the objects, drawn anew until they fit.

    Args:
        objects: name, category and shape, y up, of any size.
        rules: sizes.
        rng: of all draws.
        tries: rooms that are drawn before giving up, each with 200 attempts to place an object.

    Raises:
        DataError: if they never fit, or an object has no size.
    """
    for _ in range(tries):
        room = _drawn(objects, rules, rng)
        if room is not None:
            return room
    raise DataError(
        f"{len(objects)} objects did not fit into any of {tries} rooms.",
        "Ask for fewer or smaller objects, or a larger floor.",
    )


def _drawn(objects: Sequence[tuple[str, int, Textured]], rules: Rules, rng: np.random.Generator) -> Room | None:
    floor = np.array([1.0, rng.uniform(*rules.floor)])[:: rng.choice([1, -1])]
    walls = rng.random(4) < rules.wall
    height = rng.uniform(*rules.height)
    low, high = inside(floor, walls, rules.thickness)
    edge = rules.edge or EDGES[int(np.clip(len(objects), min(EDGES), max(EDGES)))]
    parts: list[Part] = []
    boxes = np.zeros((0, 2, 2))
    for name, category, look in objects:
        part = stood(look, name, category, rng.uniform(*edge), rng.uniform(0, 2 * np.pi), FLOOR + rules.thickness)
        extent = np.ptp(part.mesh.vertices[:, [0, 2]], axis=0)
        corner = place(extent, low, high, boxes, rules.gap, rng)
        if corner is None:
            return None
        boxes = np.vstack([boxes, [[corner, corner + extent]]])
        parts.append(shifted(part, corner))
    parts += structure(floor, walls, height, rules.thickness)
    return Room(tuple(parts), floor, walls, float(height))


def inside(floor: np.ndarray, walls: np.ndarray, thickness: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, z) between the walls that are there."""
    room = np.asarray(walls, dtype=float).reshape(2, 2) * thickness
    return -floor / 2 + room[:, 0], floor / 2 - room[:, 1]


def stood(look: Textured, name: str, category: int, edge: float, yaw: float, ground: float) -> Part:
    """An object scaled to its longest side, turned about y, and set down on the height `ground`."""
    vertices = look.mesh.vertices
    extent = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
    if not (np.isfinite(extent) and extent > 0):
        raise DataError(f"The object '{name}' has no size.", "Take the file out of the source.")
    c, s, scale = np.cos(yaw), np.sin(yaw), edge / extent
    matrix = np.eye(4)
    matrix[:3, :3] = scale * np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    matrix[1, 3] = ground - scale * vertices[:, 1].min()
    return Part(look, category, name, edge=edge, yaw=yaw).moved(matrix)


def shifted(part: Part, corner: np.ndarray) -> Part:
    """The part with the low corner of its box at (x, z)."""
    matrix = np.eye(4)
    matrix[[0, 2], 3] = corner - part.mesh.vertices[:, [0, 2]].min(axis=0)
    return part.moved(matrix)


def place(
    extent: np.ndarray, low: np.ndarray, high: np.ndarray, boxes: np.ndarray, gap: float, rng: np.random.Generator
) -> np.ndarray | None:
    """The low corner (x, z) of a box of some (2,) extent that is free of all (N, 2, 2) boxes, or None."""
    room = high - low - extent
    if (room < 0).any():
        return None
    corners = low + rng.random((200, 2)) * room
    apart = (corners[:, None] >= boxes[:, 1] + gap) | (corners[:, None] + extent + gap <= boxes[:, 0])
    free = np.flatnonzero(apart.any(axis=2).all(axis=1))
    return corners[free[0]] if len(free) else None


def structure(floor: np.ndarray, walls: np.ndarray, height: float, thickness: float) -> list[Part]:
    """The walls that are there, and the floor."""
    x, z = floor / 2
    spans = {
        ("x", -1): ((-x, -z), (-x + thickness, z)),
        ("x", 1): ((x - thickness, -z), (x, z)),
        ("z", -1): ((-x, -z), (x, -z + thickness)),
        ("z", 1): ((-x, z - thickness), (x, z)),
    }
    parts = []
    for side in [side for side, there in zip(SIDES, walls, strict=True) if there]:
        (x0, z0), (x1, z1) = spans[side]
        ground = FLOOR + thickness
        inner = np.zeros(3)
        inner["xyz".index(side[0])] = -side[1]
        mesh = box(np.array([x0, ground, z0]), np.array([x1, ground + height, z1]))
        parts.append(Part(Textured.plain(mesh), STRUCTURE, f"wall {'-' if side[1] < 0 else '+'}{side[0]}", inner))
    plate = box(np.array([-x, FLOOR, -z]), np.array([x, FLOOR + thickness, z]))
    return [*parts, Part(Textured.plain(plate), STRUCTURE, "floor", np.array([0.0, 1.0, 0.0]))]


def box(low: np.ndarray, high: np.ndarray) -> Mesh:
    """The closed mesh of a box along the axes."""
    return Mesh(low + BOX.vertices * (high - low), BOX.faces)
