import math

import numpy as np
import trimesh

from recon.io.types import Cloud, Mesh
from recon.metrics.scan import scan_to_mesh

BOX = trimesh.creation.box((2, 2, 2))
MESH = Mesh(np.asarray(BOX.vertices, dtype=np.float64), np.asarray(BOX.faces, dtype=np.int64))


def test_points_at_known_distances_of_a_cube():
    row = scan_to_mesh(Cloud(np.array([[0.0, 0, 1.5], [0, 0, 0.9], [0, 0, 1.0]])), MESH)
    np.testing.assert_allclose(row["scan_to_mesh_mean"], 0.2)
    np.testing.assert_allclose(row["scan_to_mesh_rms"], math.sqrt(0.26 / 3))
    np.testing.assert_allclose(row["scan_to_mesh_max"], 0.5)


def test_an_empty_mesh_is_infinitely_far():
    assert set(scan_to_mesh(Cloud(np.zeros((4, 3))), Mesh.empty()).values()) == {math.inf}
