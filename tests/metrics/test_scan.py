import math

import numpy as np
import trimesh

from recon.geometry.sampling import sample_surface
from recon.io.types import Cloud, Mesh
from recon.metrics.scan import scan_to_mesh, unsupported_share

BOX = trimesh.creation.box((2, 2, 2))
MESH = Mesh(np.asarray(BOX.vertices, dtype=np.float64), np.asarray(BOX.faces, dtype=np.int64))


def test_points_at_known_distances_of_a_cube():
    row = scan_to_mesh(Cloud(np.array([[0.0, 0, 1.5], [0, 0, 0.9], [0, 0, 1.0]])), MESH)
    np.testing.assert_allclose(row["scan_to_mesh_mean"], 0.2)
    np.testing.assert_allclose(row["scan_to_mesh_rms"], math.sqrt(0.26 / 3))
    np.testing.assert_allclose(row["scan_to_mesh_max"], 0.5)


def test_an_empty_mesh_is_infinitely_far():
    assert set(scan_to_mesh(Cloud(np.zeros((4, 3))), Mesh.empty()).values()) == {math.inf}


def test_the_side_of_a_cube_that_was_not_scanned_is_unsupported():
    scan = sample_surface(MESH, 20_000, seed=0).points
    seen = scan[scan[:, 2] < 0.999]
    assert unsupported_share(Cloud(scan), MESH) == 0
    # The sixth side, but for a strip of five spacings along its rim.
    assert 0.12 < unsupported_share(Cloud(seen), MESH) < 1 / 6
    assert unsupported_share(Cloud(seen), Mesh.empty()) == 0
