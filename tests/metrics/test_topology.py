import math

import numpy as np
import pytest
import trimesh

from recon.io.types import Mesh
from recon.metrics.topology import topology, watertight

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def as_mesh(shape):
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))


@pytest.mark.parametrize(
    ("shape", "genus"),
    [(trimesh.creation.icosphere(2), 0), (trimesh.creation.torus(1, 0.3), 1), (trimesh.creation.annulus(1, 2, 1), 1)],
    ids=["sphere", "torus", "annulus"],
)
def test_closed_shapes(shape, genus):
    found = topology(as_mesh(shape))
    assert found.watertight
    assert (found.components, found.boundary_edges, found.nonmanifold_edges) == (1, 0, 0)
    assert (found.genus, found.euler) == (genus, 2 - 2 * genus)


def test_repeated_vertices_are_welded():
    shape = trimesh.creation.torus(1, 0.3)
    soup = Mesh(shape.triangles.reshape(-1, 3), np.arange(3 * len(shape.faces)).reshape(-1, 3))
    assert topology(soup) == topology(as_mesh(shape))
    # Plus and minus zero are one place.
    signed = CORNERS[TETRAHEDRON].reshape(-1, 3)
    signed[::2] *= np.where(signed[::2] == 0, -1.0, 1.0)
    assert watertight(Mesh(signed, np.arange(12).reshape(-1, 3)))


def test_a_hole_a_flipped_face_and_a_fin():
    open_shape = topology(Mesh(CORNERS, TETRAHEDRON[1:]))
    assert not open_shape.watertight
    assert open_shape.boundary_edges == 3
    assert math.isnan(open_shape.genus)
    flipped = TETRAHEDRON.copy()
    flipped[0] = flipped[0, ::-1]
    assert topology(Mesh(CORNERS, flipped)).boundary_edges == 0
    assert not watertight(Mesh(CORNERS, flipped))
    fin = topology(Mesh(np.concatenate([CORNERS, [[2, 2, 2]]]), np.concatenate([TETRAHEDRON, [[0, 1, 4]]])))
    assert (fin.nonmanifold_edges, fin.boundary_edges, fin.watertight) == (1, 2, False)


def test_two_parts_and_unused_vertices():
    two = Mesh(np.concatenate([CORNERS, CORNERS + 5, [[9.0, 9, 9]]]), np.concatenate([TETRAHEDRON, TETRAHEDRON + 4]))
    found = topology(two)
    assert (found.components, found.euler, found.genus, found.watertight) == (2, 4, 0, True)


@pytest.mark.parametrize("mesh", [Mesh.empty(), Mesh(CORNERS, np.array([[0, 1, 1]]))], ids=["empty", "collapsed"])
def test_no_faces_are_no_surface(mesh):
    found = topology(mesh)
    assert (found.watertight, found.components, found.boundary_edges, found.euler) == (False, 0, 0, 0)
    assert math.isnan(found.genus)


def test_one_face():
    found = topology(Mesh(CORNERS, TETRAHEDRON[:1]))
    assert (found.watertight, found.components, found.boundary_edges, found.euler) == (False, 1, 3, 1)
