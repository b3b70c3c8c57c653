import math

import numpy as np
import pytest
import torch
import trimesh

from recon.errors import DataError
from recon.io.types import Mesh
from recon.metrics.volume import mesh_occupancy_iou, occupancy_iou, volumetric_iou


def box(size, offset=0.0):
    shape = trimesh.creation.box((size,) * 3)
    return Mesh(np.asarray(shape.vertices) + offset, np.asarray(shape.faces))


def test_iou_of_occupancies():
    assert occupancy_iou(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)) == pytest.approx(1 / 3)
    assert occupancy_iou(torch.tensor([0.9, 0.5, 0.4]), torch.tensor([1.0, 1, 0])) == 1
    assert occupancy_iou(np.zeros(3, bool), np.ones(3, bool)) == 0
    assert occupancy_iou(np.zeros(3, bool), np.zeros(3, bool)) == 1


def test_iou_of_shifted_and_scaled_cubes():
    assert volumetric_iou(box(1), box(1, 0.5), seed=1) == pytest.approx(1 / 15, abs=0.006)
    assert volumetric_iou(box(1), box(2), seed=1) == pytest.approx(1 / 8, abs=0.006)
    assert volumetric_iou(box(2), box(2)) == 1
    assert volumetric_iou(box(2), box(1, 9)) == 0


def test_iou_is_seeded():
    assert volumetric_iou(box(1), box(2), 500, seed=3) == volumetric_iou(box(1), box(2), 500, seed=3)


def test_a_mesh_against_given_occupancies(rng):
    points = rng.uniform(-1, 1, (2000, 3))
    assert mesh_occupancy_iou(box(1), points, np.abs(points).max(axis=1) < 0.5) == 1
    assert mesh_occupancy_iou(Mesh.empty(), points, np.ones(2000, bool)) == 0


def test_what_has_no_inside():
    leaky = Mesh(box(1).vertices, box(1).faces[1:])
    assert math.isnan(volumetric_iou(leaky, box(1)))
    assert math.isnan(volumetric_iou(box(1), leaky))
    assert volumetric_iou(Mesh.empty(), box(1)) == 0


def test_an_empty_truth_is_refused():
    with pytest.raises(DataError, match="The truth is empty"):
        volumetric_iou(box(1), Mesh.empty())


def test_occupancies_of_different_shapes_are_refused():
    with pytest.raises(DataError, match=r"shapes \(3,\) and \(2,\) cannot be compared"):
        occupancy_iou(np.ones(3), np.ones(2))
