"""What is asked of a composed room: points on it, what is inside of it, how it was drawn, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.data.synthesis.occupancy import Solid
from recon.data.synthesis.output import write_npz
from recon.data.synthesis.paint import hue
from recon.data.synthesis.render import Renderer, before
from recon.data.synthesis.room_layout import FLOOR, SIDES, STRUCTURE, Part, Room
from recon.data.synthesis.textures import Textured, merged
from recon.geometry.cameras import look_at
from recon.geometry.conventions import intrinsics_of_fov
from recon.geometry.sampling import Samples, face_normals_and_areas, sample_surface
from recon.io.types import Cloud, Mesh


def surface(
    room: Room, solids: Sequence[Solid], count: int, density: float, rng: np.random.Generator
) -> tuple[Cloud, np.ndarray]:
    """Points on a room as it is seen from within.

    Args:
        room: any.
        solids: those of its objects, in the coordinates they came in.
        count: points that are shared out by area, those on the outside of walls and floor included.
        density: of points on walls and floor, in that on objects.
        rng: of the draw.

    Returns:
        at most `count` points with normals, and (N,) int64 semantics.
    """
    areas = np.array([face_normals_and_areas(part.mesh)[1].sum() for part in room.parts])
    areas[len(solids) :] *= density
    points, normals, semantics = [], [], []
    for number, part in enumerate(room.parts):
        share = int(areas[number] / areas.sum() * count)
        if number < len(solids):
            found = solids[number].surface(share, rng)
            turn = part.pose[:3, :3]
            points.append(found.points @ turn.T + part.pose[:3, 3])
            normals.append(found.normals @ turn.T / np.cbrt(np.linalg.det(turn)))
        else:
            found = _within(part, sample_surface(part.mesh, share, rng))
            points.append(found.points)
            normals.append(found.normals)
        semantics.append(np.full(len(found.points), part.category))
    return Cloud(np.vstack(points), np.vstack(normals)), np.concatenate(semantics)


def _within(part: Part, drawn: Samples) -> Samples:
    """The samples of a wall or floor that lie on its inner face."""
    assert part.inner is not None
    keep = drawn.normals @ part.inner > 0.5
    return Samples(drawn.points[keep], drawn.faces[keep], drawn.normals[keep])


def occupied(room: Room, solids: Sequence[Solid], points: np.ndarray, free: int) -> np.ndarray:
    """(N,) int64 semantics of points: the category of what they are inside of, else `free`."""
    points = np.asarray(points, dtype=np.float64)
    semantics = np.full(len(points), free)
    for number, part in enumerate(room.parts):
        low, high = part.mesh.vertices.min(axis=0), part.mesh.vertices.max(axis=0)
        rows = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        if number < len(solids):
            local = (points[rows] - part.pose[:3, 3]) @ np.linalg.inv(part.pose[:3, :3]).T
            rows = rows[solids[number].contains(local)]
        semantics[rows] = part.category
    return semantics


def drawn(room: Room) -> dict[str, object]:
    """How a room was drawn, for ``item_dict.npz``: the original's names, as plain arrays instead of pickles."""
    boxes = [part.mesh.vertices[:, [0, 2]] for part in room.objects]
    return {
        "n_objects": len(room.objects),
        "objects": [part.name for part in room.objects],
        "classes": [part.category for part in room.objects],
        "scales": [part.edge for part in room.objects],
        "y_angles": [np.degrees(part.yaw) for part in room.objects],
        "bboxes": [[box.min(axis=0), box.max(axis=0)] for box in boxes],
        "xz_groundplane_range": room.floor,
        "walls": room.walls.astype(np.int64),
        "wall_sides": ["".join(("-" if side[1] < 0 else "+", side[0])) for side in SIDES],
        "wall_height": room.height,
    }


def write_surface(path: Path, cloud: Cloud, semantics: np.ndarray) -> None:
    """Write ``pointcloud_NN.npz``: `cloud` with normals, as float16, and (N,) semantics."""
    assert cloud.normals is not None
    half = {"points": cloud.points.astype(np.float16), "normals": cloud.normals.astype(np.float16)}
    write_npz(path, {**half, "semantics": semantics})


def write_queries(path: Path, points: np.ndarray, semantics: np.ndarray, free: int) -> None:
    """Write ``points_iou_NN.npz``: (N, 3) points, and (N,) semantics, which are `free` in the open."""
    inside = semantics != free
    write_npz(path, {"points": points, "occupancies": np.packbits(inside), "z_scale": 0, "semantics": semantics})


def truth(room: Room, solids: Sequence[Solid]) -> Mesh:
    """The room's surface with faces outward; each category has a colour, floor and walls are grey."""
    painted = []
    for number, part in enumerate(room.parts):
        mesh = part.mesh
        if number < len(solids):
            inner = solids[number].mesh
            mesh = Mesh(inner.vertices @ part.pose[:3, :3].T + part.pose[:3, 3], inner.faces)
        color = (0.75, 0.75, 0.73) if part.category == STRUCTURE else hue(part.category)
        paint = np.tile((255 * np.array(color)).astype(np.uint8), (len(mesh.vertices), 1))
        painted.append(Textured.plain(Mesh(mesh.vertices, mesh.faces, colors=paint)))
    return merged(painted).mesh


def portrait(mesh: Mesh, size: int = 160) -> np.ndarray:
    """(size, size, 3) uint8: a room from above a corner, on white."""
    eye = np.array([0.9, 1.0, 1.3])
    pose = look_at(eye, np.array([0.0, FLOOR + 0.1, 0.0]), np.array([0.0, 1.0, 0.0]))
    rgb, alpha = Renderer(Textured.plain(mesh), flat=True).picture(
        intrinsics_of_fov(38, (size, size)), pose, (size, size)
    )
    return before(rgb, alpha, 255)
