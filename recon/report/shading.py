"""Meshes and clouds to pictures on a CPU without a display: embree casts the rays, numpy does the light.

Pictures are float32 RGBA with premultiplied alpha until `finish` puts them on a background.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.ndimage import uniform_filter

from recon.io.types import Cloud, Mesh
from recon.report.camera import DISTANCE, Stage, View

Background = Literal["white", "dark", "transparent"]
BACKGROUNDS: dict[str, tuple[int, int, int]] = {"white": (255, 255, 255), "dark": (22, 24, 29)}
CLAY = np.array([201, 194, 184], dtype=np.float32) / 255
INNER = np.array([176, 120, 104], dtype=np.float32) / 255  # faces seen from behind: holes and flipped faces show
INK = np.array([70, 103, 148], dtype=np.float32) / 255
HAZE = np.array([205, 216, 228], dtype=np.float32) / 255
CREASE = np.float32(np.cos(np.deg2rad(40.0)))  # a sharper edge keeps its face normals
SUPERSAMPLE = 2
OCCLUSION_RAYS = 8
OCCLUSION_REACH = 0.5  # stage radii; what is farther darkens nothing
MAX_POINTS = 400_000  # more points than this show nothing more in a picture; a seeded draw stands for them


class MeshPainter:
    """A mesh on a stage, ready to be seen from many sides; the ray tree is built once.

    Args:
        mesh: faces with vertices that are not finite are left out.
        stage: what the pictures show.
        colors: (V, 3) uint8 vertex colours, or None for the mesh's own, or clay where it has none.
    """

    def __init__(self, mesh: Mesh, stage: Stage, colors: np.ndarray | None = None) -> None:
        finite = np.isfinite(mesh.vertices).all(axis=1)
        self.faces = mesh.faces[finite[mesh.faces].all(axis=1)].astype(np.int32)
        self.vertices = stage.to_local(np.where(finite[:, None], mesh.vertices, stage.centre))
        self.stage = stage
        colors = mesh.colors if colors is None else colors
        self.colors = None if colors is None else np.asarray(colors, dtype=np.float32)[:, :3] / 255
        self.scene = EmbreeScene()
        if len(self.faces):
            TriangleMesh(self.scene, self.vertices, self.faces)
            self.face_normals, self.corner_normals = _soft_normals(self.vertices, self.faces, mesh.normals)

    def paint(self, view: View, occlusion: bool = False) -> np.ndarray:
        """(size, size, 4) float32 in [0, 1], premultiplied."""
        size = view.size * SUPERSAMPLE
        canvas = np.zeros((size * size, 4), dtype=np.float32)
        if len(self.faces):
            eye, directions = view.rays(self.stage.up, size)
            hits = self.scene.run(np.broadcast_to(eye, directions.shape).copy(), directions, output=True)
            seen = np.flatnonzero(hits["primID"] >= 0)
            canvas[seen, :3] = self._light(view, directions[seen], {k: h[seen] for k, h in hits.items()})
            canvas[seen, 3] = 1
            if occlusion:
                canvas[:, :3] *= self._openness(eye, directions, hits["tfar"], seen, size)[:, None]
        return _halved(canvas.reshape(size, size, 4))

    def _light(self, view: View, directions: np.ndarray, hits: dict[str, np.ndarray]) -> np.ndarray:
        """(N, 3) sRGB of the hit points: a headlight, a key light from the upper left, and ambient light."""
        face = hits["primID"]
        share = np.stack([1 - hits["u"] - hits["v"], hits["u"], hits["v"]], axis=1)
        normals = np.einsum("nk,nkd->nd", share, self.corner_normals[face])
        normals = _unit(normals)
        behind = np.einsum("nd,nd->n", self.face_normals[face], directions) > 0
        normals[behind] *= -1
        if self.colors is None:
            base = np.where(behind[:, None], INNER, CLAY)
        else:
            base = np.einsum("nk,nkd->nd", share, self.colors[self.faces[face]])
        return _lit(base, normals @ view.axes(self.stage.up).T, flat=self.colors is not None)

    def _openness(
        self, eye: np.ndarray, directions: np.ndarray, depth: np.ndarray, seen: np.ndarray, size: int
    ) -> np.ndarray:
        """(size * size,) ambient occlusion: the share of a cosine-weighted hemisphere that sees the sky, softened."""
        coarse = seen[(seen % size % SUPERSAMPLE == 0) & (seen // size % SUPERSAMPLE == 0)]
        points = eye + directions[coarse] * depth[coarse, None]
        axis = self._facing(points, directions[coarse])
        draw = np.random.default_rng(0)
        open_count = np.zeros(len(coarse), dtype=np.float32)
        for _ in range(OCCLUSION_RAYS):
            toward = draw.standard_normal(points.shape, dtype=np.float32)
            toward /= np.linalg.norm(toward, axis=1, keepdims=True)
            toward += axis * np.float32(1.001)  # Lambert: normal plus a point on the unit sphere
            toward /= np.linalg.norm(toward, axis=1, keepdims=True)
            reach = np.full(len(coarse), OCCLUSION_REACH, dtype=np.float32)
            free = self.scene.run(points + axis * np.float32(2e-3), toward, reach, query="OCCLUDED")
            open_count += free < 0
        grid = np.zeros((size // SUPERSAMPLE, size // SUPERSAMPLE, 2), dtype=np.float32)
        grid[coarse // size // SUPERSAMPLE, coarse % size // SUPERSAMPLE] = np.stack(
            [open_count / OCCLUSION_RAYS, np.ones_like(open_count)], axis=1
        )
        grid = uniform_filter(grid, (5, 5, 0))
        share = np.where(grid[..., 1] > 0, grid[..., 0] / np.maximum(grid[..., 1], 1e-6), 1)
        return (0.35 + 0.65 * share).repeat(SUPERSAMPLE, 0).repeat(SUPERSAMPLE, 1).ravel()

    def _facing(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 3) face normals at what the rays hit, turned to the eye."""
        eye = (points - directions * np.float32(2 * DISTANCE)).astype(np.float32)
        face = self.scene.run(eye, directions, query="INTERSECT")
        normals = self.face_normals[face]
        away = np.einsum("nd,nd->n", normals, directions) > 0
        return np.where(away[:, None], -normals, normals).astype(np.float32)


class CloudPainter:
    """A cloud on a stage: every point a disc, the nearest in front, depth edges darkened.

    Args:
        cloud: points that are not finite are left out; its normals, if any, take the light.
        stage: what the pictures show.
        colors: (N, 3) uint8, or None for the cloud's own, or ink where it has none.
    """

    def __init__(self, cloud: Cloud, stage: Stage, colors: np.ndarray | None = None) -> None:
        rows = np.flatnonzero(np.isfinite(cloud.points).all(axis=1))
        self.radius = float(np.clip(0.55 / np.sqrt(max(len(rows), 1)), 0.0018, 0.008))  # of the picture's side
        if len(rows) > MAX_POINTS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MAX_POINTS, replace=False))
        self.points = stage.to_local(cloud.points[rows])
        self.normals = None if cloud.normals is None else cloud.normals[rows].astype(np.float32)
        colors = cloud.colors if colors is None else colors
        self.colors = None if colors is None else np.asarray(colors, dtype=np.float32)[rows, :3] / 255
        self.stage = stage

    def paint(self, view: View, occlusion: bool = False) -> np.ndarray:
        """(size, size, 4) float32 in [0, 1], premultiplied; `occlusion` strengthens the depth edges."""
        size = view.size * SUPERSAMPLE
        column, row, depth = view.project(self.points, self.stage.up, size)
        order = np.argsort(-depth, kind="stable")  # far to near: the last one written stays
        disc = _disc(self.radius * size)
        columns = np.floor(column[order, None]).astype(np.int64) + disc[:, 0]
        rows = np.floor(row[order, None]).astype(np.int64) + disc[:, 1]
        inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
        canvas = np.zeros((size * size, 4), dtype=np.float32)
        nearest = np.full(size * size, np.inf, dtype=np.float32)
        pixel = (rows * size + columns)[inside]
        who = np.broadcast_to(order[:, None], inside.shape)[inside]
        canvas[pixel, :3] = self._light(view)[who]
        canvas[pixel, 3] = 1
        nearest[pixel] = depth[who]
        shade = _depth_edges(nearest.reshape(size, size), 2.0 if occlusion else 1.0)
        canvas[:, :3] *= shade.reshape(-1, 1)
        return _halved(canvas.reshape(size, size, 4))

    def _light(self, view: View) -> np.ndarray:
        base = np.broadcast_to(INK, self.points.shape) if self.colors is None else self.colors
        axes = view.axes(self.stage.up)
        if self.normals is None:
            return _hazed(base, self.points @ axes[2])
        normals = _unit(self.normals @ axes.T)
        away = normals[:, 2] < 0  # the far side, seen between the points of the near one, or a flipped normal
        normals[away] *= -1
        base = np.where(away[:, None], base * 0.35 + HAZE * 0.65, base)
        return _lit(base, normals, flat=self.colors is not None)


def finish(canvas: np.ndarray, background: Background = "white") -> np.ndarray:
    """(H, W, 3) uint8 on a colour, or (H, W, 4) with straight alpha when transparent."""
    alpha = canvas[..., 3:]
    if background == "transparent":
        straight = canvas[..., :3] / np.maximum(alpha, 1e-6)
        return np.round(np.concatenate([straight, alpha], axis=-1).clip(0, 1) * 255).astype(np.uint8)
    behind = np.asarray(BACKGROUNDS[background], dtype=np.float32) / 255
    return np.round((canvas[..., :3] + (1 - alpha) * behind).clip(0, 1) * 255).astype(np.uint8)


def _lit(base: np.ndarray, normals: np.ndarray, flat: bool) -> np.ndarray:
    """(N, 3) sRGB of base colours under the lights, normals in camera axes.

    `flat` narrows the range of the light, so that colours that carry data stay legible.
    """
    key = np.array([-0.45, 0.65, 0.61], dtype=np.float32)
    head = np.clip(normals[:, 2], 0, 1)
    side = np.clip(normals @ key, 0, 1)
    sky = 0.5 + 0.5 * normals[:, 1]
    light = 0.58 + 0.28 * head + 0.18 * side if flat else 0.08 + 0.36 * head + 0.52 * side + 0.12 * sky
    gloss = np.clip(normals @ _half(key), 0, 1) ** 40 * (0.03 if flat else 0.10)
    linear = base.astype(np.float32) ** 2.2 * light[:, None] + gloss[:, None]
    return np.clip(linear, 0, 1) ** np.float32(1 / 2.2)


def _hazed(base: np.ndarray, nearness: np.ndarray) -> np.ndarray:
    """(N, 3) base colours that pale with distance, for points that have no normals to take the light."""
    share = np.clip(0.5 - 0.55 * nearness, 0, 1)[:, None] * np.float32(0.75)
    return base * (1 - share) + HAZE * share


def _half(light: np.ndarray) -> np.ndarray:
    """The direction half way between a light and the eye (Blinn's)."""
    middle = light + np.array([0, 0, 1], dtype=np.float32)
    return middle / np.linalg.norm(middle)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) float32 unit vertex normals, means of the faces around weighted by area; 0 where there are none."""
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = [np.bincount(faces.ravel(), area[:, d].repeat(3), minlength=len(vertices)) for d in range(3)]
    return _unit(np.stack(sums, axis=1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def _soft_normals(vertices: np.ndarray, faces: np.ndarray, given: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Unit face normals (F, 3), and corner normals (F, 3, 3): the vertex's, or the face's own across a crease."""
    corners = vertices[faces]
    face_normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    smooth = vertex_normals(vertices, faces) if given is None else _unit(np.nan_to_num(np.asarray(given)))
    soft = smooth[faces]
    sharp = np.einsum("fkd,fd->fk", soft, face_normals) < CREASE
    soft[sharp] = face_normals[np.nonzero(sharp)[0]]
    return face_normals, soft


def _disc(radius: float) -> np.ndarray:
    """(K, 2) pixel offsets of a disc."""
    reach = int(np.ceil(radius))
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    keep = x**2 + y**2 <= radius**2
    return np.stack([x[keep], y[keep]], axis=1)


def _depth_edges(depth: np.ndarray, strength: float) -> np.ndarray:
    """(H, W) factors below 1 where a neighbour is much nearer (eye-dome lighting, Boucheny 2009)."""
    padded = np.pad(depth, 3, constant_values=np.inf)
    height, width = depth.shape
    drop = np.zeros_like(depth)
    for down, right in ((0, 3), (0, -3), (3, 0), (-3, 0), (2, 2), (2, -2), (-2, 2), (-2, -2)):
        other = padded[3 + down : 3 + down + height, 3 + right : 3 + right + width]
        with np.errstate(invalid="ignore"):
            step = np.where(np.isfinite(other) & np.isfinite(depth), depth - other, 0)
        drop += np.clip(step, 0, 0.1)
    return np.exp(-strength * drop * np.float32(2.0))


def _halved(canvas: np.ndarray) -> np.ndarray:
    """The mean of every SUPERSAMPLE x SUPERSAMPLE block."""
    size = canvas.shape[0] // SUPERSAMPLE
    return canvas.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 4).mean(axis=(1, 3))
