"""A furnished room in metres, z up, with its annotation: what the synthetic recordings of ScanNet's layout show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recon.data.synthesis.paint import hue, is_plain, patterned
from recon.data.synthesis.room_layout import (
    FLOOR,
    STRUCTURE,
    Part,
    Room,
    Rules,
    compose,
    inside,
    place,
    shifted,
    stood,
)
from recon.data.synthesis.shading import base_colors
from recon.data.synthesis.textures import Textured, merged
from recon.geometry.sampling import face_normals_and_areas
from recon.io.files import write_text
from recon.io.meshes import write_mesh
from recon.io.types import Mesh

Objects = Sequence[tuple[str, int, Textured]]
REACH = 0.04  # of the room: how far an occluder stands from what it hides
CELL = 0.4  # metres; segments are what one part has in one cell
TILE = 0.5  # metres of a tile of the floor
Y_TO_Z = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
KNOWN = {
    "wall": ("wall", 1, 1),
    "floor": ("floor", 3, 2),
    "chair": ("chair", 2, 5),
    "table": ("table", 4, 7),
    "sofa": ("couch", 6, 6),
    "cabinet": ("cabinet", 7, 3),
    "bed": ("bed", 11, 4),
    "bookcase": ("bookshelf", 18, 10),
    "lamp": ("lamp", 28, 35),
    "02933112": ("cabinet", 7, 3),
    "03001627": ("chair", 2, 5),
    "03636649": ("lamp", 28, 35),
    "04256520": ("couch", 6, 6),
    "04379243": ("table", 4, 7),
}
"""ScanNet's raw category, its number, and NYU's of 40, by what things are called here and in ShapeNet."""
OTHER, PROP = 2000, 40  # numbers of categories that ScanNet lacks, from here on; NYU calls them other props


@dataclass(frozen=True)
class Label:
    """A category: ScanNet's name, number, and NYU's number."""

    name: str
    number: int
    nyu40: int


def labels(categories: Sequence[str]) -> list[Label]:
    """The label of each category; those that ScanNet does not know get numbers of their own."""
    return [Label(*KNOWN.get(name, (name, OTHER + i, PROP))) for i, name in enumerate(categories)]


@dataclass(frozen=True)
class Annotated:
    """A room whose parts are annotated.

    Attributes:
        room: in world coordinates, metres, z up; floor and walls are sheets.
        labels: of its parts.
        alignment: (4, 4) from the world to the room's own axes, the middle of its floor the origin.
        low: (3,) lowest corner of the free space, in the room's axes.
        high: (3,) highest corner.
    """

    room: Room
    labels: tuple[Label, ...]
    alignment: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def look(self) -> Textured:
        """All of it, part after part."""
        return merged([part.look for part in self.room.parts])

    @property
    def part_of_face(self) -> np.ndarray:
        """(F,) the number of the part of each face of `look`."""
        return np.repeat(np.arange(len(self.room.parts)), [len(part.mesh.faces) for part in self.room.parts])

    def boxes(self) -> np.ndarray:
        """(N, 2, 3) corners of the objects, in the room's axes."""
        turned = [part.moved(self.alignment).mesh.vertices for part in self.room.objects]
        return np.array([[points.min(axis=0), points.max(axis=0)] for points in turned])


def furnished(
    objects: Objects,
    occluders: Objects,
    names: Sequence[str],
    rules: Rules,
    side: float,
    detail: float,
    rng: np.random.Generator,
) -> Annotated:
    """A room of objects, and of occluders that stand close before some of them, turned anyhow about z.

    Args:
        objects: name, category and shape, y up.
        occluders: likewise; those for which there is no place are left out.
        names: of the categories.
        rules: sizes in units of the room's longer side.
        side: the longer side, in metres.
        detail: longest edge of the meshes of floor and walls, in metres.
        rng: of all draws.
    """
    room = crowded(compose(objects, rules, rng), occluders, rules, rng)
    aligned = np.eye(4)
    aligned[:3, :3] = side * Y_TO_Z
    aligned[2, 3] = -side * (FLOOR + rules.thickness)
    room = room.moved(aligned)
    low, high = inside(room.floor, room.walls, rules.thickness)
    # The drawing's z became minus y.
    corner = np.array([low[0], -high[1], 0.0]) * side, np.array([high[0], -low[1], room.height]) * side
    sheets = [replace(part, look=sheet(part, *corner, detail)) for part in room.parts if part.inner is not None]
    room = replace(room, parts=tuple(painted(part, rng) for part in (*room.objects, *sheets)))
    known = [*labels(names), Label(*KNOWN["wall"]), Label(*KNOWN["floor"])]
    numbers = [-1 if p.name == "floor" else -2 if p.category == STRUCTURE else p.category for p in room.parts]
    world = _anywhere(side, rng)
    return Annotated(room.moved(world), tuple(known[n] for n in numbers), np.linalg.inv(world), *corner)


def crowded(room: Room, occluders: Objects, rules: Rules, rng: np.random.Generator) -> Room:
    """The room with smaller things close beside some of its objects."""
    low, high = inside(room.floor, room.walls, rules.thickness)
    for name, category, look in occluders:
        hidden = room.objects[rng.integers(len(room.objects))].mesh.vertices
        edge = rng.uniform(0.4, 0.75) * float(np.ptp(hidden, axis=0).max())
        part = stood(look, name, category, edge, rng.uniform(0, 2 * np.pi), FLOOR + rules.thickness)
        extent = np.ptp(part.mesh.vertices[:, [0, 2]], axis=0)
        beside = hidden[:, [0, 2]].min(axis=0) - extent - REACH, hidden[:, [0, 2]].max(axis=0) + extent + REACH
        boxes = np.array([[p.mesh.vertices[:, [0, 2]].min(0), p.mesh.vertices[:, [0, 2]].max(0)] for p in room.objects])
        corner = place(extent, np.maximum(low, beside[0]), np.minimum(high, beside[1]), boxes, rules.gap, rng)
        if corner is not None:
            count = len(room.objects)
            room = replace(room, parts=(*room.parts[:count], shifted(part, corner), *room.parts[count:]))
    return room


def _anywhere(side: float, rng: np.random.Generator) -> np.ndarray:
    """(4, 4) a turn about z and a move, after which no coordinate is negative, as in ScanNet."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    world = np.eye(4)
    world[:2, :2] = [[c, -s], [s, c]]
    world[:2, 3] = side
    return world


def sheet(part: Part, low: np.ndarray, high: np.ndarray, detail: float) -> Textured:
    """The inner face of a wall or floor, between the corners of the free space, as a fine grid."""
    assert part.inner is not None
    normal = int(np.abs(part.inner).argmax())
    level = (high if part.inner[normal] < 0 else low)[normal]
    u, v = (axis for axis in range(3) if axis != normal)
    counts = [int(np.ceil((high[axis] - low[axis]) / detail)) + 1 for axis in (u, v)]
    grid = np.meshgrid(*(np.linspace(low[a], high[a], n) for a, n in zip((u, v), counts, strict=True)), indexing="ij")
    points = np.zeros((grid[0].size, 3))
    points[:, u], points[:, v], points[:, normal] = grid[0].ravel(), grid[1].ravel(), level
    number = np.arange(len(points)).reshape(counts)
    a, b, c, d = (n.ravel() for n in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    mesh = Mesh(points, faces)
    if face_normals_and_areas(mesh)[0][0] @ part.inner < 0:
        mesh = Mesh(points, faces[:, ::-1].copy())
    return Textured.plain(mesh)


def painted(part: Part, rng: np.random.Generator) -> Part:
    """The part with colours of its own, where its file gave it none, and a pattern by which places can be told."""
    if not is_plain(part.look):
        return part
    if part.category != STRUCTURE:
        return replace(part, look=patterned(part.look, hue(int(rng.integers(1000))), rng))
    place, base = part.mesh.vertices, rng.uniform(0.55, 0.9, 3)
    if part.name == "floor":
        shade = np.where((np.floor(place[:, :2] / TILE).sum(axis=1) % 2) > 0, 0.75, 1.0)
    else:
        waves = rng.normal(size=(3, 3)) * 8
        shade = 0.88 + 0.12 * np.sin(place @ waves.T + rng.uniform(0, 6, 3)).mean(axis=1)
    colors = np.clip(255 * base * shade[:, None], 0, 255).astype(np.uint8)
    return replace(part, look=Textured.plain(replace(part.mesh, colors=colors)))


def write_annotation(folder: Path, scene: str, annotated: Annotated) -> Mesh:
    """Write the true mesh, its segments, and which of them make an object; returns the mesh.

    ``<scene>_vh_clean_2.ply``, ``<scene>_vh_clean_2.0.010000.segs.json``, ``<scene>_vh_clean.aggregation.json``. An
    object's number is that of its part; floor and walls are objects, too.
    """
    parts = annotated.room.parts
    mesh = merged([Textured.plain(_colored(part.look)) for part in parts]).mesh
    owner = np.repeat(np.arange(len(parts)), [len(part.mesh.vertices) for part in parts])
    cells = np.floor(mesh.vertices / CELL).astype(np.int64)
    _, segments = np.unique(np.column_stack([owner, cells]), axis=0, return_inverse=True)
    segments = segments.ravel()
    groups = [
        {"id": i, "objectId": i, "segments": np.unique(segments[owner == i]).tolist(), "label": label.name}
        for i, label in enumerate(annotated.labels)
    ]
    write_mesh(folder / f"{scene}_vh_clean_2.ply", mesh)
    written = {"params": {"cell": str(CELL)}, "sceneId": f"scannet.{scene}", "segIndices": segments.tolist()}
    write_text(folder / f"{scene}_vh_clean_2.0.010000.segs.json", json.dumps(written))
    written = {"sceneId": f"scannet.{scene}", "appId": "recon.prepare", "segGroups": groups}
    write_text(folder / f"{scene}_vh_clean.aggregation.json", json.dumps(written))
    return mesh


def _colored(look: Textured) -> Mesh:
    """The mesh with vertex colours: those of its materials at one corner of each vertex."""
    faces = look.mesh.faces
    corner = np.zeros(len(look.mesh.vertices), dtype=np.int64)
    corner[faces.ravel()] = np.arange(faces.size)
    face, which = np.divmod(corner, 3)
    colors = base_colors(look, face, np.eye(3, dtype=np.float32)[which])
    return Mesh(look.mesh.vertices, faces, colors=np.round(255 * np.clip(colors, 0, 1)).astype(np.uint8))
