"""Neighbours, spacing and areas against brute force and known densities."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from recon.geometry.neighbours import Neighbours, knn


def sphere(count: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_query_equals_brute_force_and_reuses_answers() -> None:
    points = np.random.default_rng(0).random((300, 3))
    near = Neighbours(points)
    distance, index = near.query(12)
    full = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_array_equal(index, np.argsort(full, axis=1)[:, :12])
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :12], atol=1e-12)
    np.testing.assert_array_equal(near.query(5)[1], index[:, :5])


def test_query_of_more_neighbours_than_points_gives_all() -> None:
    assert Neighbours(np.random.default_rng(0).random((20, 3))).query(50)[1].shape == (20, 20)


@pytest.mark.parametrize("chunk", [1 << 24, 1000])
def test_brute_force_in_torch_equals_the_tree(chunk: int) -> None:
    points = torch.rand(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    queries = torch.rand(70, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    distance, index = knn(queries, points, 7, chunk)
    expected = cKDTree(points.numpy()).query(queries.numpy(), 7)
    np.testing.assert_array_equal(index.numpy(), expected[1])
    np.testing.assert_allclose(distance.numpy(), expected[0], atol=1e-12)


def test_brute_force_without_queries() -> None:
    distance, index = knn(torch.zeros(0, 3), torch.rand(9, 3), 4)
    assert distance.shape == (0, 4)
    assert index.dtype == torch.long


def test_areas_add_up_to_the_surface() -> None:
    near = Neighbours(sphere(4000))
    assert near.areas(20).sum() == pytest.approx(4 * np.pi, rel=0.1)
    assert near.spacing() == pytest.approx(np.sqrt(4 * np.pi / 4000), rel=0.1)
    np.testing.assert_allclose(near.density(6) * near.areas(6), 1.0)


def test_smoothed_areas_vary_less_but_follow_the_density() -> None:
    uniform = Neighbours(sphere(3000))
    assert np.log(uniform.areas(smooth=50)).std() < 0.5 * np.log(uniform.areas()).std()
    points = sphere(6000)
    points = points[(points[:, 2] < 0) | (np.arange(6000) % 8 == 0)]
    areas = Neighbours(points).areas(smooth=50)
    ratio = np.median(areas[points[:, 2] > 0.3]) / np.median(areas[points[:, 2] < -0.3])
    assert ratio == pytest.approx(8, rel=0.25)


def test_repeated_points_keep_a_positive_area() -> None:
    points = np.repeat(sphere(60), 10, axis=0)
    assert (Neighbours(points).areas() > 0).all()
