"""`Solid`: what a mesh encloses, closed or leaky, and samples of its outer surface.

Closed meshes are decided by rays. Leaky ones by the generalised winding number (Jacobson, Kavan and Sorkine-Hornung,
Robust Inside-Outside Segmentation using Generalized Winding Numbers, 2013; Barill et al., Fast Winding Numbers for
Soups and Clouds, 2018), once their faces are turned outward and sheets, which enclose nothing, are known
(`recon.data.synthesis.outward`). Sheets get a thickness, as in the fused meshes of Occupancy Networks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from recon.data.synthesis.outward import parts_outward, seen_outward
from recon.errors import DataError, need
from recon.geometry.raycast import RayCaster
from recon.geometry.sampling import Samples, sample_surface
from recon.io.types import Mesh

Kind = Literal["oriented", "closed", "leaky"]
ASIDE = 2e-4  # of the unit cube: how far beside the surface its two sides are asked
ROUNDS = 8


class Solid:
    """What a mesh of about unit size encloses.

    Attributes:
        kind: ``"oriented"``: closed, neighbours' faces agree; ``"closed"``: they do not; ``"leaky"``: it has holes.
        mesh: the mesh; unless of kind "closed", its faces are turned outward.
        sheet: (F,) bool, which of its faces belong to sheets: seen from both sides, they enclose nothing.

    Args:
        mesh: cleaned (see `normalise.cleaned`).
        rng: for rays that find the outer side of leaky meshes.
        thickness: of sheets: what is nearer than half of it lies inside.

    Raises:
        ConfigError: if the mesh is leaky and libigl is not installed.
    """

    def __init__(self, mesh: Mesh, rng: np.random.Generator, thickness: float = 0.01) -> None:
        self.kind: Kind = kind_of(mesh.faces, len(mesh.vertices))
        self.sheet = np.zeros(len(mesh.faces), dtype=bool)
        if self.kind == "oriented":
            mesh = parts_outward(mesh)
        elif self.kind == "leaky":
            mesh, self.sheet = seen_outward(mesh, rng)
        self.mesh, self._half = mesh, thickness / 2
        self._walls, self._sheets = (replace(mesh, faces=mesh.faces[rows]) for rows in (~self.sheet, self.sheet))
        self._caster = RayCaster(mesh)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: which of (N, 3) points lie inside; where parts overlap, too."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        if self.kind == "oriented":
            return self._caster.winding(points) > 0
        if self.kind == "closed":
            return self._caster.contains(points)
        inside = winding_number(self._walls, points) > 0.5
        if self._half and not self._sheets.is_empty:
            rest = np.flatnonzero(~inside)
            inside[rest] = distance(self._sheets, points[rest]) < self._half
        return inside

    def surface(self, count: int, rng: np.random.Generator) -> Samples:
        """Points uniform by area on the outer surface, normals outward; faces between two insides have none.

        Raises:
            DataError: if hardly any of the surface is outer.
        """
        found: list[Samples] = []
        have = 0
        for _ in range(ROUNDS):
            found.append(self._outer(sample_surface(self.mesh, count if not found else 2 * (count - have), rng), rng))
            have += len(found[-1].points)
            if have >= count:
                names = ("points", "faces", "normals")
                return Samples(*(np.concatenate([getattr(s, n) for s in found])[:count] for n in names))
        raise DataError("Hardly any of its surface has an outside.")

    def _outer(self, drawn: Samples, rng: np.random.Generator) -> Samples:
        """The samples that face an outside; those of sheets are moved to either of their two surfaces."""
        half = np.where(self.sheet[drawn.faces], self._half, 0.0)[:, None]
        aside = (half + ASIDE) * drawn.normals
        front, back = self.contains(drawn.points + aside), self.contains(drawn.points - aside)
        either = self.sheet[drawn.faces] & ~front & ~back
        turned = front | (either & (rng.random(len(front)) < 0.5))
        normals = np.where(turned, -1.0, 1.0)[:, None] * drawn.normals
        keep = ~(front & back)
        return Samples((drawn.points + half * normals)[keep], drawn.faces[keep], normals[keep])


def kind_of(faces: np.ndarray, vertices: int) -> Kind:
    """Whether faces close: every edge is used once each way, or at least an even number of times, or not."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    edges, which = np.unique(np.minimum(start, end) * vertices + np.maximum(start, end), return_inverse=True)
    if (np.bincount(which) % 2).any():
        return "leaky"
    balance = np.bincount(which, np.where(start < end, 1, -1), len(edges))
    return "closed" if balance.any() else "oriented"


def winding_number(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """(N,) float64 generalised winding numbers (libigl).

    Raises:
        ConfigError: if libigl is not installed.
    """
    igl = need("igl", "prepare")
    if mesh.is_empty:
        return np.zeros(len(points))
    found = igl.fast_winding_number(mesh.vertices, mesh.faces, np.ascontiguousarray(points))
    return np.asarray(found, dtype=np.float64)


def distance(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """(N,) float64 distances of points from a mesh (libigl).

    Raises:
        ConfigError: if libigl is not installed.
    """
    igl = need("igl", "prepare")
    return np.sqrt(igl.point_mesh_squared_distance(np.ascontiguousarray(points), mesh.vertices, mesh.faces)[0])
