from __future__ import annotations

import numpy as np
import pytest
import trimesh

from recon.geometry.distance import MeshDistance
from recon.geometry.frames import Frame
from recon.geometry.sampling import sample_surface
from recon.geometry.voxel_mesh import boundary_mesh
from recon.geometry.voxelize import voxelize
from recon.io.binvox import Binvox, read_binvox, write_binvox
from recon.io.types import Mesh


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 4, 5), (9, 9, 9)])
def test_any_voxels_give_a_closed_mesh_of_their_volume(rng, share, shape):
    grid = rng.random(shape) < share
    grid[0, 0, 0] = True
    mesh = boundary_mesh(grid).to_trimesh()
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(grid.mean())


def test_one_voxel_is_a_cube_in_its_place():
    grid = np.zeros((4, 4, 4), dtype=bool)
    grid[0, 1, 3] = True
    mesh = boundary_mesh(grid, Frame(8.0, translation=np.array([10, 0, 0])))
    assert (len(mesh.vertices), len(mesh.faces)) == (8, 12)
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [6, -2, 2])
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [8, 0, 4])
    assert mesh.to_trimesh().volume == pytest.approx(8)


def test_no_voxel_is_no_mesh():
    assert boundary_mesh(np.zeros((4, 4, 4), dtype=bool)).is_empty


def test_voxels_that_touch_in_an_edge_are_two_bodies():
    grid = np.zeros((2, 2, 1), dtype=bool)
    grid[0, 0] = grid[1, 1] = True
    mesh = boundary_mesh(grid)
    assert (len(mesh.vertices), mesh.to_trimesh().body_count) == (16, 2)


def test_an_edge_that_bounds_two_tunnels_has_a_vertex_for_each():
    grid = np.ones((2, 2, 3), dtype=bool)
    grid[0, 0, 1] = grid[1, 1, 1] = False
    mesh = boundary_mesh(grid).to_trimesh()
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert mesh.volume == pytest.approx(10 / 12)


@pytest.mark.parametrize("shape", [trimesh.creation.icosphere(4, radius=0.4), trimesh.creation.torus(0.3, 0.12)])
def test_mesh_to_binvox_to_mesh_stays_within_a_voxel(tmp_path, shape):
    mesh = Mesh(np.asarray(shape.vertices), np.asarray(shape.faces))
    write_binvox(tmp_path / "model.binvox", Binvox(voxelize(mesh, 32), np.full(3, -0.5), 1.0))
    read = read_binvox(tmp_path / "model.binvox")
    back = boundary_mesh(read.grid, Frame(read.scale, translation=read.translate + read.scale / 2))
    diagonal = np.sqrt(3) / 32
    there = MeshDistance(back).query(sample_surface(mesh, 2000).points).distance
    home = MeshDistance(mesh).query(sample_surface(back, 2000).points).distance
    assert max(there.max(), home.max()) <= diagonal
    assert there.mean() < 1 / 32
    assert home.mean() < 1 / 32
