"""Dual contouring: edges stay sharp, planes plane, thin walls apart; the mesh closes and winds outwards."""

import numpy as np
import pytest

from recon.data.fields import box, cylinder, gradient, moved, sphere, union, without
from recon.geometry.dual_contouring import dual_contour
from recon.io.types import Mesh


def contour(field, cells=32, low=-1.03, high=1.01) -> Mesh:
    cell = (high - low) / cells
    nodes = low + cell * np.stack(np.meshgrid(*[np.arange(cells + 1)] * 3, indexing="ij"), axis=-1)
    values = field(nodes.reshape(-1, 3)).reshape([cells + 1] * 3)
    return dual_contour(field, lambda p: gradient(field, p, 1e-6), values, np.full(3, low), cell)


def test_a_box_is_a_box_with_its_corners():
    mesh = contour(box(0.7, 0.5, 0.3)).to_trimesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(8 * 0.7 * 0.5 * 0.3, rel=1e-9)
    assert np.allclose(np.abs(mesh.bounds), [0.7, 0.5, 0.3], atol=1e-9)


def test_a_ball_is_round_and_winds_outwards():
    mesh = contour(sphere((0, 0, 0), 0.8)).to_trimesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.01)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.8).max() < 0.005


def test_two_walls_in_one_cell_keep_vertices_of_their_own():
    cell = 2.04 / 32
    gap = 0.6 * cell
    plates = union(moved(box(0.6, 0.2, 0.6), (0, 0.2 + gap / 2, 0)), moved(box(0.6, 0.2, 0.6), (0, -0.2 - gap / 2, 0)))
    mesh = contour(plates).to_trimesh()
    assert mesh.is_watertight
    assert mesh.body_count in (1, 2)
    assert contour(plates, cells=64).to_trimesh().body_count == 2


def test_a_bored_block_has_its_genus_and_sharp_rims():
    mesh = contour(without(box(0.7, 0.7, 0.3), cylinder(0.4, 2)), cells=48).to_trimesh()
    assert mesh.is_watertight
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(0.6 * (1.4**2 - np.pi * 0.4**2), rel=2e-3)


def test_nothing_inside_is_an_empty_mesh():
    assert contour(sphere((5, 0, 0), 0.5)).is_empty
