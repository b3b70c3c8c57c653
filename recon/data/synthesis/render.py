"""Pictures of textured meshes from any pinhole camera, on the CPU: embree casts the rays, numpy does the light.

World units and axes are the mesh's; cameras are OpenCV's (x right, y down, z forward), pixel centres at integer + 0.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from recon.data.synthesis.shading import STUDIO, Lights, base_colors, corner_normals, lit, unit
from recon.data.synthesis.textures import Textured
from recon.geometry.raycast import RayCaster

MOST_RAYS = 1 << 19  # at once: some 100 MB


@dataclass(frozen=True)
class Rendered:
    """What one camera sees.

    Attributes:
        rgb: (H, W, 3) uint8; what lies behind is not mixed in, pixels of alpha 0 are black.
        alpha: (H, W) uint8, the covered share of each pixel.
        depth: (H, W) float32, z along the viewing axis through the pixel's centre, 0 where there is nothing.
        normal: (H, W, 3) float32 unit world normals that face the camera, 0 where there is nothing.
        face: (H, W) int32 face numbers, -1 where there is nothing.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    face: np.ndarray


class Renderer:
    """A mesh made ready for any number of pictures.

    Args:
        mesh: what is seen.
        flat: shade faces flat; else smoothly where they meet at less than 40 degrees (or by the mesh's own normals).

    Raises:
        DataError: if a vertex in use is not finite.
    """

    def __init__(self, mesh: Textured, flat: bool = False) -> None:
        self.mesh, faces = mesh, np.asarray(mesh.mesh.faces, dtype=np.int64)
        self.caster = RayCaster(mesh.mesh)
        self.face_normals, self.corner_normals = corner_normals(mesh.mesh, flat)
        self.empty = len(faces) == 0
        if self.empty:
            return
        used = mesh.mesh.vertices[faces]
        low, high = used.min(axis=(0, 1)), used.max(axis=(0, 1))
        # Embree is float32: about the origin and of unit size it resolves most.
        self.centre, self.scale = (low + high) / 2, float((high - low).max()) / 2 or 1.0
        self.scene = EmbreeScene()
        TriangleMesh(self.scene, ((used - self.centre) / self.scale).astype(np.float32))

    def picture(
        self,
        K: np.ndarray,
        c2w: np.ndarray,
        size: tuple[int, int],
        lights: Lights = STUDIO,
        supersample: int = 2,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (H, W, 3) and coverage (H, W), both uint8, by `supersample`^2 rays a pixel; see `render`."""
        parts = [self._picture(part, c2w, rows, lights, supersample) for part, rows in _bands(K, size, supersample)]
        return np.concatenate([rgb for rgb, _ in parts]), np.concatenate([alpha for _, alpha in parts])

    def _picture(
        self, K: np.ndarray, c2w: np.ndarray, size: tuple[int, int], lights: Lights, supersample: int
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = size
        many = supersample * supersample
        alpha, color = np.zeros(height * width), np.zeros((height * width, 3))
        if not self.empty:
            directions = pixel_rays(K, size, supersample) @ np.asarray(c2w, dtype=np.float32)[:3, :3].T
            eye = ((np.asarray(c2w, dtype=np.float64)[:3, 3] - self.centre) / self.scale).astype(np.float32)
            origins = np.empty_like(directions)
            origins[:] = eye
            found = self.scene.run(origins, directions, query="INTERSECT", output=1)
            seen = np.flatnonzero(found["primID"] >= 0)
            pixel = seen // many
            alpha = np.bincount(pixel, minlength=height * width) / many
            hit = {key: found[key][seen] for key in ("primID", "u", "v", "tfar")}
            shade = self._shade(eye, directions[seen], hit, c2w, lights)
            for channel in range(3):
                color[:, channel] = np.bincount(pixel, shade[:, channel], height * width)
            color /= np.maximum(alpha * many, 1)[:, None]
        rgb = np.round(255 * np.clip(color, 0, 1)).astype(np.uint8).reshape(height, width, 3)
        return rgb, np.round(255 * alpha).astype(np.uint8).reshape(height, width)

    def _shade(
        self, eye: np.ndarray, directions: np.ndarray, hit: dict[str, np.ndarray], c2w: np.ndarray, lights: Lights
    ) -> np.ndarray:
        """(N, 3) float32 colours of the hits, in [0, 1] or a little above."""
        face = hit["primID"]
        share = np.stack([1 - hit["u"] - hit["v"], hit["u"], hit["v"]], axis=1)
        directions = unit(directions)
        normals = _interpolated(self.corner_normals, face, share)
        normals[np.einsum("nd,nd->n", self.face_normals[face], directions) > 0] *= -1
        place = eye + directions * hit["tfar"][:, None]
        base = base_colors(self.mesh, face, share)
        return lit(base, unit(normals), directions, place, self, c2w, lights)

    def geometry(
        self, K: np.ndarray, c2w: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth (H, W), normal (H, W, 3) and face (H, W) through the pixels' centres; see `Rendered`."""
        parts = [self._geometry(part, c2w, rows) for part, rows in _bands(K, size, 1)]
        depth, normal, face = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return depth, normal, face

    def _geometry(
        self, K: np.ndarray, c2w: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        c2w = np.asarray(c2w, dtype=np.float64)
        local = pixel_rays(K, size, 1, np.float64)
        directions = local @ c2w[:3, :3].T
        hits = self.caster.first_hit(np.broadcast_to(c2w[:3, 3], directions.shape), directions)
        depth, normal = np.zeros(len(local), dtype=np.float32), np.zeros((len(local), 3), dtype=np.float32)
        rows = np.flatnonzero(hits.hit)
        depth[rows] = hits.distance[rows] * local[rows, 2]
        found = _interpolated(self.corner_normals, hits.face[rows], hits.barycentric[rows].astype(np.float32))
        found[np.einsum("nd,nd->n", self.face_normals[hits.face[rows]], directions[rows]) > 0] *= -1
        normal[rows] = unit(found)
        return depth.reshape(size), normal.reshape(*size, 3), hits.face.astype(np.int32).reshape(size)

    def shadowed(self, place: np.ndarray, toward: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """(N,) bool: whether something lies between scaled places and the light, (N, 3) unit `toward`."""
        start, gap = place + np.float32(2e-3) * toward, np.float32(4e-3)
        reach = np.minimum(distance - gap, np.float32(1e6)).astype(np.float32)
        return np.asarray(self.scene.run(start, np.ascontiguousarray(toward), reach, query="OCCLUDED") >= 0)


def render(
    mesh: Textured | Renderer,
    K: np.ndarray,
    c2w: np.ndarray,
    size: tuple[int, int],
    lights: Lights = STUDIO,
    supersample: int = 2,
) -> Rendered:
    """What a camera sees of a mesh.

    Args:
        mesh: a `Renderer` for many pictures of one mesh.
        K: (3, 3) in pixels, pixel centres at integer + 0.5; may have skew.
        c2w: (4, 4) rigid, camera to world, OpenCV axes.
        size: (H, W).
        lights: see `Lights`.
        supersample: rays along each side of a pixel.
    """
    renderer = mesh if isinstance(mesh, Renderer) else Renderer(mesh)
    return Rendered(*renderer.picture(K, c2w, size, lights, supersample), *renderer.geometry(K, c2w, size))


def before(rgb: np.ndarray, alpha: np.ndarray, grey: int) -> np.ndarray:
    """(H, W, 3) uint8: a picture of `Renderer` before a background of 0 (black) to 255 (white)."""
    share = alpha[..., None].astype(np.uint16)
    return np.asarray((rgb * share + grey * (255 - share) + 127) // 255, dtype=np.uint8)


def pixel_rays(
    K: np.ndarray, size: tuple[int, int], supersample: int = 1, dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """(H * W * supersample^2, 3) unit camera-space directions, the samples of a pixel one after another."""
    height, width = size
    within = (np.arange(supersample) + 0.5) / supersample
    v, u, dv, du = np.meshgrid(np.arange(height), np.arange(width), within, within, indexing="ij")
    pixels = np.stack([(u + du).ravel(), (v + dv).ravel(), np.ones(u.size)], axis=1)
    rays = pixels @ np.linalg.inv(np.asarray(K, dtype=np.float64)).T
    return np.ascontiguousarray(rays / np.linalg.norm(rays, axis=1, keepdims=True), dtype=dtype)


def _bands(K: np.ndarray, size: tuple[int, int], supersample: int) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """A picture in bands of rows of at most `MOST_RAYS` rays (or one row), each as K and size of its own."""
    height, width = size
    step = max(1, MOST_RAYS // (width * supersample * supersample))
    for first in range(0, height, step):
        part = np.array(K, dtype=np.float64)
        part[1, 2] -= first
        yield part, (min(step, height - first), width)


def _interpolated(corners: np.ndarray, face: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(N, D) values within faces, from (F, 3, D) at their corners and (N, 3) barycentric shares."""
    values = corners[face]
    return np.asarray((values * share[:, :, None]).sum(axis=1))
