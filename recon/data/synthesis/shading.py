"""The light on a surface: colours of materials and textures, normals smooth up to a crease, highlights, shadows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from recon.data.synthesis.textures import Textured
from recon.geometry.sampling import face_normals_and_areas
from recon.io.parsing import merge_equal
from recon.io.types import Mesh

CREASE = np.cos(np.deg2rad(40.0))  # a sharper edge keeps its face normals
MAX_VALENCE = 64


@dataclass(frozen=True)
class Light:
    """A light.

    Attributes:
        place: (3,) the direction towards a distant light, or the position of a lamp.
        color: RGB brightness.
        kind: ``"distant"``, or ``"lamp"`` at a position (its brightness does not fade).
        frame: the axes that `place` is given in: ``"world"``, or ``"camera"`` (x right, y down, z forward).
    """

    place: tuple[float, float, float]
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    kind: Literal["distant", "lamp"] = "distant"
    frame: Literal["world", "camera"] = "world"


@dataclass(frozen=True)
class Lights:
    """All light of a picture.

    Attributes:
        lights: any number.
        ambient: light from everywhere.
        specular: strength of highlights.
        shininess: how small highlights are (Blinn's exponent).
        shadows: whether faces cast them; a second batch of rays for each light.
    """

    lights: tuple[Light, ...]
    ambient: float = 0.4
    specular: float = 0.1
    shininess: float = 24.0
    shadows: bool = False


# A key light from the upper left, a weak one from the lower right, both fixed to the camera.
STUDIO = Lights(
    (
        Light((-0.5, -0.8, -0.75), (0.68, 0.68, 0.66), frame="camera"),
        Light((0.8, 0.2, -0.6), (0.25, 0.25, 0.27), frame="camera"),
    )
)


class Scene(Protocol):
    """What tells of shadows, in its own scaled coordinates."""

    centre: np.ndarray
    scale: float

    def shadowed(self, place: np.ndarray, toward: np.ndarray, distance: np.ndarray) -> np.ndarray: ...


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, 3) at length one, zero stays zero; keeps float32."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.asarray(vectors / np.maximum(length, 1e-20)[:, None])


def corner_normals(mesh: Mesh, flat: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) face normals and (F, 3, 3) normals at the corners, float32.

    A corner has the mesh's own vertex normal, if that leans from the face by less than the crease angle; where the
    mesh has none, the mean over those faces of its vertex that do. With `flat`, all corners have the face's.
    """
    normals, areas = face_normals_and_areas(mesh)
    corners = np.repeat(normals[:, None], 3, axis=1)
    if flat or not len(mesh.faces):
        return normals.astype(np.float32), corners.astype(np.float32)
    if mesh.normals is not None:
        given = mesh.normals[mesh.faces]
        near = np.einsum("fkd,fd->fk", given, normals) > CREASE
        corners[near] = given[near]
    else:
        corners = _smoothed(mesh, normals, areas)
    return normals.astype(np.float32), corners.astype(np.float32)


def _smoothed(mesh: Mesh, normals: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(F, 3, 3): at each corner the mean, by area, of the face normals about its place on this side of any crease."""
    _, place = merge_equal(mesh.vertices)  # seams of textures do not part a surface
    vertex = place[mesh.faces].ravel()
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex)
    # All pairs of corners at one vertex, but for the hubs of huge fans, whose pairs would fill the memory.
    sizes = np.where(counts[vertex[order]] > MAX_VALENCE, 1, counts[vertex[order]])
    first = np.repeat(order, sizes)
    begin = np.where(sizes > 1, (np.cumsum(counts) - counts)[vertex[order]], np.arange(len(order)))
    step = np.arange(len(first)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    second = order[np.repeat(begin, sizes) + step]
    here, there = normals[first // 3], normals[second // 3]
    weight = np.where(np.einsum("nd,nd->n", here, there) > CREASE, areas[second // 3], 0.0)
    total = [np.bincount(first, weight * there[:, k], len(vertex)) for k in range(3)]
    return unit(np.stack(total, axis=1)).reshape(-1, 3, 3)


def base_colors(mesh: Textured, face: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(N, 3) float32 colours in [0, 1] at points on faces, given by (N, 3) barycentric shares."""
    number = mesh.material[face]
    color = np.array([m.color for m in mesh.materials], dtype=np.float32)[number]
    if mesh.mesh.colors is not None:
        own = mesh.mesh.colors[mesh.mesh.faces[face]].astype(np.float32) / 255
        color *= np.einsum("nkd,nk->nd", own, share)
    if mesh.uv is not None and mesh.has_image:
        uv = np.einsum("nkd,nk->nd", mesh.uv[face], share)
        for index in np.unique(number):
            image = mesh.materials[index].image
            if image is not None:
                rows = np.flatnonzero(number == index)
                color[rows] *= looked_up(image, uv[rows])
    return color


def looked_up(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(N, 3) float32 in [0, 1]: bilinear values of an image that repeats, at (N, 2) coordinates (v = 1 on top)."""
    height, width = image.shape[:2]
    x, y = (uv[:, 0] % 1) * width - 0.5, (1 - uv[:, 1] % 1) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    a, b = (x - left)[:, None], (y - top)[:, None]
    right, below = (left + 1) % width, (top + 1) % height
    left, top = left % width, top % height
    upper = image[top, left] * (1 - a) + image[top, right] * a
    lower = image[below, left] * (1 - a) + image[below, right] * a
    return np.asarray((upper * (1 - b) + lower * b) / 255, dtype=np.float32)


def lit(
    base: np.ndarray,
    normals: np.ndarray,
    directions: np.ndarray,
    place: np.ndarray,
    scene: Scene,
    c2w: np.ndarray,
    lights: Lights,
) -> np.ndarray:
    """(N, 3) float32 colours under light (Blinn, Models of Light Reflection, 1977).

    Args:
        base: (N, 3) the surface's colours.
        normals: (N, 3) unit, towards the camera.
        directions: (N, 3) unit, from the camera.
        place: (N, 3) the points, in the scene's scaled coordinates.
        scene: of which the points are.
        c2w: (4, 4) pose of the camera.
        lights: all light.
    """
    color = base * np.float32(lights.ambient)
    for light in lights.lights:
        toward, distance = _toward(light, place, scene, c2w)
        diffuse = np.maximum(np.einsum("nd,nd->n", normals, toward), 0)
        if lights.shadows:
            diffuse[scene.shadowed(place, toward, distance)] = 0
        shine = np.array(light.color, dtype=np.float32)
        color += base * shine * diffuse[:, None]
        if lights.specular:
            half = np.einsum("nd,nd->n", normals, unit(toward - directions))
            gloss = np.float32(lights.specular) * np.maximum(half, 0) ** np.float32(lights.shininess) * (diffuse > 0)
            color += shine * gloss[:, None]
    return color


def _toward(light: Light, place: np.ndarray, scene: Scene, c2w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors to a light, (N, 3), and its distance, (N,), float32, in scaled coordinates."""
    given, pose = np.asarray(light.place, dtype=np.float64), np.asarray(c2w, dtype=np.float64)
    if light.kind == "distant":
        axis = pose[:3, :3] @ given if light.frame == "camera" else given
        axis = (axis / np.linalg.norm(axis)).astype(np.float32)
        return np.broadcast_to(axis, place.shape), np.full(len(place), np.inf, dtype=np.float32)
    world = pose[:3, :3] @ given + pose[:3, 3] if light.frame == "camera" else given
    offset = ((world - scene.centre) / scene.scale).astype(np.float32) - place
    return unit(offset), np.linalg.norm(offset, axis=1)
