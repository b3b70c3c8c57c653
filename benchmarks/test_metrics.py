"""Exact distances, cloud distances, samples and occupancy, on a generated mesh of about 80 000 faces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from recon.geometry.distance import MeshDistance
from recon.geometry.raycast import RayCaster
from recon.geometry.sampling import sample_blue_noise, sample_surface
from recon.io.types import Mesh
from recon.metrics.functional import cloud_distances
from recon.metrics.protocols import evaluate

Compare = Callable[..., object]


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """A sphere with waves, closed, with faces of uneven size."""
    shape = trimesh.creation.icosphere(6)
    x = np.asarray(shape.vertices, dtype=np.float64)
    return Mesh(x * (1 + 0.1 * np.sin(9 * x).prod(axis=1, keepdims=True)) * [1, 0.8, 0.6], np.asarray(shape.faces))


def near(mesh: Mesh, count: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, 3))
    return sample_surface(mesh, count, seed).points + 0.005 * noise


def test_exact_distance_of_50k_points_near_the_surface(compare: Compare, mesh: Mesh) -> None:
    points = near(mesh, 50_000, 0)
    compare(lambda: MeshDistance(mesh).query(points))


def test_exact_distance_of_50k_points_all_over_the_box(compare: Compare, mesh: Mesh) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (50_000, 3))
    compare(lambda: MeshDistance(mesh).query(points), rounds=2)


def test_cloud_distances_200k(compare: Compare, mesh: Mesh) -> None:
    a, b = near(mesh, 200_000, 0), near(mesh, 200_000, 1)
    compare(lambda: cloud_distances(a, b), lambda: (cKDTree(a).query(b), cKDTree(b).query(a)), rounds=2)


def test_occupancy_of_100k_points(compare: Compare, mesh: Mesh) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (100_000, 3))
    other = mesh.to_trimesh()
    compare(lambda: RayCaster(mesh).contains(points), lambda: other.contains(points), rounds=2)


def test_blue_noise_of_10k_points(compare: Compare, mesh: Mesh) -> None:
    compare(lambda: sample_blue_noise(mesh, 10_000), rounds=3)


def test_the_whole_protocol(compare: Compare, mesh: Mesh) -> None:
    compare(lambda: evaluate(mesh, mesh), rounds=2)


def test_memory_of_a_million_points_against_a_million(benchmark: Callable[..., str]) -> None:
    code = """
import resource, numpy as np
from recon.metrics.functional import cloud_distances
rng = np.random.default_rng(0)
cloud_distances(*rng.random((4, 1_000_000, 3)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    run = benchmark.pedantic(  # type: ignore[attr-defined]
        lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout,
        rounds=1,
    )
    benchmark.extra_info["peak_mib"] = float(run)  # type: ignore[attr-defined]
    print(f"\npeak memory {float(run):.0f} MiB")
    assert float(run) < 2048
