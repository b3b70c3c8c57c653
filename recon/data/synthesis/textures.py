"""`Textured`: a mesh with what its faces look like; read from files with materials by trimesh, safely.

A colour is the product of the vertex colour, the material's colour and its image, each white where there is none.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import FilePathResolver

from recon.errors import DataError
from recon.io.meshes import read_geometry
from recon.io.types import Mesh

log = logging.getLogger("recon")

CLAY = (0.74, 0.72, 0.69)
WHITE = (1.0, 1.0, 1.0)
MAX_SIDE = 2048  # larger textures are shrunk when read
MAX_TEXELS = 120_000_000  # of an image as stored; more is not a texture but an attack


@dataclass(frozen=True)
class Material:
    """What a face looks like.

    Attributes:
        color: RGB in [0, 1].
        image: (h, w, 3) uint8 texture that repeats, its first row at v = 1; or None.
    """

    color: tuple[float, float, float] = WHITE
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Textured:
    """A mesh with materials.

    Attributes:
        mesh: its normals, if any, are used for smooth shading; its colours multiply those of the materials.
        materials: at least one.
        material: (F,) int64 number of each face's material.
        uv: (F, 3, 2) float32 texture coordinates of the faces' corners (v points up), or None.
    """

    mesh: Mesh
    materials: tuple[Material, ...]
    material: np.ndarray
    uv: np.ndarray | None = None

    @classmethod
    def plain(cls, mesh: Mesh, color: tuple[float, float, float] | None = None) -> Textured:
        """A mesh of one colour (RGB in [0, 1]); None is its vertex colours, or clay where it has none."""
        color = color or (WHITE if mesh.colors is not None else CLAY)
        return cls(mesh, (Material(color),), np.zeros(len(mesh.faces), dtype=np.int64))

    @classmethod
    def mapped(cls, mesh: Mesh, uv: np.ndarray, image: np.ndarray) -> Textured:
        """A mesh with one image; `uv` is (V, 2) a vertex or (F, 3, 2) a corner."""
        corners = uv if uv.ndim == 3 else uv[mesh.faces]
        return cls(mesh, (Material(image=image),), np.zeros(len(mesh.faces), dtype=np.int64), corners)

    @property
    def has_image(self) -> bool:
        """Whether some material has a texture."""
        return any(m.image is not None for m in self.materials)

    def transformed(self, matrix: np.ndarray) -> Textured:
        """The same, moved by a (4, 4) similarity."""
        vertices = self.mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        normals = self.mesh.normals
        if normals is not None:
            normals = normals @ matrix[:3, :3].T
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
        return replace(self, mesh=replace(self.mesh, vertices=vertices, normals=normals))


def merged(parts: Sequence[Textured]) -> Textured:
    """Several as one; faces keep their order, part after part."""
    meshes = [p.mesh for p in parts]
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes])
    numbers = np.cumsum([0] + [len(p.materials) for p in parts])
    normals = colors = uv = None
    if all(m.normals is not None for m in meshes):
        normals = np.concatenate([m.normals for m in meshes if m.normals is not None])
    if any(m.colors is not None for m in meshes):
        white = [np.full((len(m.vertices), 3), 255, np.uint8) if m.colors is None else m.colors for m in meshes]
        colors = np.concatenate(white)
    if any(p.uv is not None for p in parts):
        flat = [np.zeros((len(p.mesh.faces), 3, 2), np.float32) if p.uv is None else p.uv for p in parts]
        uv = np.concatenate(flat)
    mesh = Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + o for m, o in zip(meshes, offsets[:-1], strict=True)]),
        normals,
        colors,
    )
    material = np.concatenate([p.material + n for p, n in zip(parts, numbers[:-1], strict=True)])
    return Textured(mesh, tuple(m for p in parts for m in p.materials), material, uv)


def read_textured(path: str | Path) -> Textured:
    """A mesh file with its materials: .obj with .mtl and images, .glb; other formats have vertex colours or none.

    Materials that cannot be read are left out with a warning, for the shape is still of use. Images are looked for in
    the mesh's folder and below it, nowhere else.

    Raises:
        DataError: if the geometry cannot be read, or the file holds points only.
    """
    path = Path(path)
    geometry = read_geometry(path)
    if not isinstance(geometry, Mesh):
        raise DataError(f"'{path}' holds points, no faces.", "Give a mesh.")
    if path.suffix.lower() == ".glb" or (path.suffix.lower() == ".obj" and b"mtllib" in path.read_bytes()):
        found = _with_materials(path)
        # Both readers agree on the shape; where they do not, the shape alone is trusted.
        if found is not None and len(found.mesh.faces) == len(geometry.faces):
            return found
    return Textured.plain(geometry)


def _with_materials(path: Path) -> Textured | None:
    try:
        resolver = InFolder(path)
        scene = trimesh.load_scene(path, resolver=resolver, process=False)
        parts = [_part(scene, node) for node in scene.graph.nodes_geometry]
        return merged([p for p in parts if p is not None]) if any(p is not None for p in parts) else None
    except Exception as error:  # trimesh raises anything on files of others; the shape was read before
        log.warning("'%s': its materials cannot be read and are left out (%s).", path, error)
        return None


class InFolder(FilePathResolver):
    """Reads what a mesh refers to, if it lies in the mesh's folder or below."""

    def __init__(self, source: Path) -> None:
        super().__init__(str(source))
        self.home = source.parent.resolve()

    def get(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: if it is not there or lies elsewhere.
        """
        place = (self.home / name.strip().replace("\\", "/")).resolve()
        if not place.is_relative_to(self.home) or not place.is_file():
            raise FileNotFoundError(name)
        return place.read_bytes()


def _part(scene: Any, node: str) -> Textured | None:
    matrix, name = scene.graph[node]
    shape = scene.geometry[name]
    if not isinstance(shape, trimesh.Trimesh) or not len(shape.faces):
        return None
    faces = np.asarray(shape.faces, dtype=np.int64)
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1].copy()
    vertices = trimesh.transform_points(shape.vertices, matrix)
    visual: Any = shape.visual
    if visual.kind == "texture":
        material = _material(visual.material)
        uv = None if visual.uv is None or material.image is None else np.asarray(visual.uv, np.float32)[faces]
        if uv is None or not np.isfinite(uv).all():
            uv, material = None, replace(material, image=None)
        return Textured(Mesh(vertices, faces), (material,), np.zeros(len(faces), dtype=np.int64), uv)
    colors = np.asarray(visual.vertex_colors, dtype=np.uint8)[:, :3] if visual.kind == "vertex" else None
    return Textured.plain(Mesh(vertices, faces, colors=colors))


def _material(material: Any) -> Material:
    """Colour and image of trimesh's `SimpleMaterial` or `PBRMaterial`."""
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    color = getattr(material, "baseColorFactor", None)
    if color is None:
        color = getattr(material, "diffuse", None)
    if color is None:
        color = (255, 255, 255) if image is not None else tuple(255 * c for c in CLAY)
    color = np.clip(np.asarray(color, dtype=np.float64)[:3] / 255, 0, 1)
    texture = None if image is None else _texels(image)
    if texture is not None and not color.any():
        color = np.ones(3)  # many exporters write black behind a texture
    return Material((float(color[0]), float(color[1]), float(color[2])), texture)


def _texels(image: Image.Image) -> np.ndarray:
    if image.width * image.height > MAX_TEXELS:
        raise ValueError(f"a texture of {image.width} x {image.height} texels")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    image = image.convert("RGB")
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return np.asarray(image)
