"""Which side of a face is outside: by the volume of closed parts, by what can be seen from either side of others.

The latter after Takayama et al., A Simple Method for Correcting Facet Orientations in Polygon Meshes Based on Ray
Casting, 2014.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recon.errors import need
from recon.geometry.cleanup import components
from recon.geometry.raycast import RayCaster
from recon.geometry.sampling import face_normals_and_areas, sample_surface
from recon.io.types import Mesh

RAYS = 20_000
RAYS_EACH = 16  # at least, of every patch
SHEET = 0.1  # of the rays from either side: where more of them reach the sky, a patch encloses nothing
START = 1e-5  # of the unit cube: how far from the faces rays start


def parts_outward(mesh: Mesh) -> Mesh:
    """Closed parts turned outward, but for those that lie within another and face inward: they are its cavities."""
    count, label = components(mesh.faces, len(mesh.vertices))
    part = label[mesh.faces[:, 0]]
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    volume = np.bincount(part, np.einsum("nd,nd->n", a, np.cross(b, c)), count)
    inward = np.flatnonzero(volume < 0)
    if not len(inward):
        return mesh
    outer = RayCaster(replace(mesh, faces=mesh.faces[~np.isin(part, inward)]))
    asked = np.flatnonzero(np.isin(label, inward))
    # Only where all of it lies within others is it a cavity; else one of its parts was exported inside out.
    turned = np.unique(label[asked[outer.winding(mesh.vertices[asked]) == 0]])
    faces = mesh.faces.copy()
    rows = np.isin(part, turned)
    faces[rows] = faces[rows][:, ::-1]
    return replace(mesh, faces=faces)


def seen_outward(mesh: Mesh, rng: np.random.Generator) -> tuple[Mesh, np.ndarray]:
    """A mesh of unit size with its faces turned to where more can be seen, and (F,) which of them belong to sheets.

    Neighbours are made to agree first, as far as edges of two faces reach; each patch then turns as a whole, after
    the votes of pairs of rays from both of its sides: what sees farther is the outside. A patch that sees the sky
    from both sides is a sheet: a shell chair's seat, a vase, a box without a lid; a scan with a hole is none.

    Raises:
        ConfigError: if libigl is not installed.
    """
    found, patch = need("igl", "prepare").bfs_orient(np.asarray(mesh.faces, dtype=np.int64))
    faces, patch = np.asarray(found, dtype=np.int64), np.asarray(patch).ravel()
    mesh = replace(mesh, faces=faces)
    face, ahead, behind = _looks(mesh, patch, rng)
    counts = np.bincount(patch[face])
    flip = np.bincount(patch[face], (behind > ahead) * 1.0 - (behind < ahead)) > 0
    sky = [np.bincount(patch[face], np.isinf(look)) / counts for look in (ahead, behind)]
    faces[flip[patch]] = faces[flip[patch]][:, ::-1]
    return mesh, (np.minimum(*sky) > SHEET)[patch]


def _looks(mesh: Mesh, patch: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces that rays start from, and how far those see ahead and, mirrored, behind the face; inf: the sky."""
    normals, areas = face_normals_and_areas(mesh)
    drawn = sample_surface(mesh, RAYS, rng)
    largest = np.lexsort((areas, patch))[np.cumsum(np.bincount(patch)) - 1].repeat(RAYS_EACH)
    face = np.concatenate([drawn.faces, largest])
    points = np.concatenate([drawn.points, mesh.vertices[mesh.faces[largest]].mean(axis=1)])
    normal = normals[face]
    drift = rng.normal(size=points.shape)
    # Lambert's law: straight ahead counts most.
    toward = normal + 0.999 * drift / np.linalg.norm(drift, axis=1, keepdims=True)
    mirrored = toward - 2 * np.einsum("nd,nd->n", toward, normal)[:, None] * normal
    caster = RayCaster(mesh)
    ahead = caster.first_hit(points + START * normal, toward).distance
    behind = caster.first_hit(points - START * normal, mirrored).distance
    return face, ahead, behind
