from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import trimesh

from recon.errors import DataError
from recon.geometry.raycast import contains
from recon.geometry.voxelize import enclosed, grid_corners, touched, voxelize
from recon.io.types import Mesh


def mesh_of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def centres(resolution: int) -> np.ndarray:
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def separated(triangle: np.ndarray, centre: np.ndarray) -> bool:
    """Whether one of the 13 axes of the theorem of separating axes parts a triangle from a unit box."""
    corners = triangle - centre
    edges = np.roll(corners, -1, axis=0) - corners
    axes = [*np.eye(3), np.cross(edges[0], edges[1])]
    axes += [np.cross(a, edge) for a, edge in product(np.eye(3), edges)]
    reaches = [(corners @ axis, 0.5 * np.abs(axis).sum()) for axis in axes]
    return any(p.min() > r + 1e-12 or p.max() < -r - 1e-12 for p, r in reaches)


@pytest.mark.parametrize(("resolution", "faces"), [(4, 24), (7, 6)])
def test_touched_voxels_are_those_no_axis_separates(rng, resolution, faces):
    corners = rng.uniform(-0.1, 1.1, (faces, 3, 3)) * resolution
    corners[::4, :, 0] = corners[::4, :1, 0]  # some parallel to an axis
    expected = np.zeros((resolution,) * 3, dtype=bool)
    for cell in product(range(resolution), repeat=3):
        expected[cell] = any(not separated(triangle, np.add(cell, 0.5)) for triangle in corners)
    np.testing.assert_array_equal(touched(corners, resolution, margin=0), expected)


@pytest.mark.parametrize(
    "shape",
    [
        trimesh.creation.icosphere(3, radius=0.4),
        trimesh.creation.torus(0.3, 0.1),
        trimesh.creation.annulus(0.2, 0.4, 0.5),
        trimesh.creation.box((0.7, 0.3, 0.9), transform=trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])),
    ],
)
def test_insides_are_those_of_rays_from_every_centre(shape):
    mesh = mesh_of(shape)
    inside = enclosed(grid_corners(mesh, 24), 24)
    np.testing.assert_array_equal(inside.ravel(), contains(mesh, centres(24)))
    np.testing.assert_allclose(inside.mean(), shape.volume, rtol=0.1)


def test_a_box_on_the_lattice_fills_its_voxels_and_no_more():
    filled = voxelize(mesh_of(trimesh.creation.box((0.5, 0.25, 0.75))), 32)
    expected = np.zeros((32, 32, 32), dtype=bool)
    expected[8:24, 12:20, 4:28] = True
    np.testing.assert_array_equal(filled, expected)


def test_axes_are_x_y_z_and_the_box_may_be_anywhere():
    mesh = mesh_of(trimesh.creation.box((8, 2, 4), transform=trimesh.transformations.translation_matrix([10, 0, -3])))
    filled = voxelize(mesh, 16, ((2, -8, -11), (18, 8, 5)))
    assert [len(np.unique(part)) for part in np.nonzero(filled)] == [8, 2, 4]
    assert np.argwhere(filled).min(axis=0).tolist() == [4, 7, 6]


def test_overlapping_parts_are_one_and_hollows_stay_empty():
    ball = trimesh.creation.icosphere(3, radius=0.3)
    shifted = ball.copy()
    shifted.apply_translation([0.15, 0, 0])
    both = enclosed(grid_corners(mesh_of(ball + shifted), 32), 32)
    apart = [enclosed(grid_corners(mesh_of(part), 32), 32) for part in (ball, shifted)]
    np.testing.assert_array_equal(both, apart[0] | apart[1])
    core = trimesh.creation.icosphere(3, radius=0.15)
    core.invert()
    assert not enclosed(grid_corners(mesh_of(ball + core), 32), 32)[16, 16, 16]


def test_a_box_without_its_lid_is_still_full():
    box = trimesh.creation.box((0.6, 0.6, 0.6))
    lidless = Mesh(np.asarray(box.vertices), np.asarray(box.faces)[box.face_normals[:, 2] < 0.5])
    assert len(lidless.faces) == 10
    assert voxelize(lidless, 16)[8, 8, 8]
    assert abs(int(voxelize(lidless, 16).sum()) - int(voxelize(mesh_of(box), 16).sum())) <= 100


def test_sheets_lines_and_points_are_seen():
    sheet = Mesh(
        np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    )
    assert voxelize(sheet, 8).sum() == 64
    line = Mesh(np.array([[-0.45, 0.01, 0.01], [0.45, 0.01, 0.01]]), np.array([[0, 1, 1]]))
    assert voxelize(line, 8).sum() == 8
    assert voxelize(Mesh(line.vertices, np.array([[0, 0, 0]])), 8).sum() == 1


def test_what_lies_outside_is_cut_off():
    assert voxelize(mesh_of(trimesh.creation.icosphere(3, radius=5)), 8).all()
    far = trimesh.creation.icosphere(2)
    far.apply_translation([1e9, 0, 0])
    assert not voxelize(mesh_of(far), 8).any()
    assert not voxelize(Mesh.empty(), 8).any()


def test_what_cannot_be_voxelized_is_told():
    with pytest.raises(DataError, match="not finite"):
        voxelize(Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])))
    with pytest.raises(ValueError, match="not a cube"):
        voxelize(Mesh.empty(), 8, ((0, 0, 0), (1, 1, 2)))
