"""What a mesh is, whatever the truth: closed or not, in how many parts, with how many handles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.io.types import Mesh


@dataclass(frozen=True)
class Topology:
    """Counts over a mesh whose vertices at equal positions were welded and whose collapsed faces were dropped.

    Attributes:
        watertight: every edge belongs to exactly two faces that run along it in opposite directions.
        components: parts connected through shared vertices.
        boundary_edges: edges of a single face.
        nonmanifold_edges: edges of more than two faces.
        euler: vertices - edges + faces.
        genus: number of handles, summed over the components; NaN unless watertight.
    """

    watertight: bool
    components: int
    boundary_edges: int
    nonmanifold_edges: int
    euler: int
    genus: float


def topology(mesh: Mesh) -> Topology:
    """Count; a mesh without faces is not watertight and has no components."""
    faces = _welded(mesh)
    if len(faces) == 0:
        return Topology(False, 0, 0, 0, 0, float("nan"))
    vertices = int(faces.max()) + 1
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forward = np.where(directed[:, 0] < directed[:, 1], 1, -1)
    keys = directed.min(axis=1) * vertices + directed.max(axis=1)
    edges, edge_of, uses = np.unique(keys, return_inverse=True, return_counts=True)
    balance = np.bincount(edge_of, forward, len(edges))
    watertight = bool((uses == 2).all() and (balance == 0).all())
    links = coo_matrix((np.ones(len(directed)), (directed[:, 0], directed[:, 1])), shape=(vertices, vertices))
    components = int(connected_components(links, directed=False)[0])
    euler = vertices - len(edges) + len(faces)
    genus = components - euler / 2 if watertight else float("nan")
    return Topology(watertight, components, int((uses == 1).sum()), int((uses > 2).sum()), euler, genus)


def watertight(mesh: Mesh) -> bool:
    """Whether the mesh is closed and consistently wound (see `Topology`)."""
    return topology(mesh).watertight


def _welded(mesh: Mesh) -> np.ndarray:
    """(F, 3) faces over vertices that are distinct, all in use and numbered from 0."""
    faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
    # Files such as stl repeat every vertex; + 0.0 makes -0.0 equal 0.0.
    positions = np.ascontiguousarray(np.asarray(mesh.vertices, dtype=np.float64).reshape(-1, 3) + 0.0)
    _, same = np.unique(positions.view(np.dtype((np.void, 24))).ravel(), return_inverse=True)
    faces = same[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    return np.unique(faces, return_inverse=True)[1].reshape(-1, 3)
