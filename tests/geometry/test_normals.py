"""PCA normals, their neighbourhood size against the best one in hindsight, and the whole estimate."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.geometry.neighbours import Neighbours
from recon.geometry.noise import estimate_noise
from recon.geometry.normals import choose_k, estimate_normals, least_axes, noise_angle, pca_normals
from recon.io.clouds import read_cloud


def mean_angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(np.abs((a * b).sum(axis=1)), 0, 1))).mean())


def samples(mesh: trimesh.Trimesh, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=0)
    return points + np.random.default_rng(1).normal(0, noise, points.shape), mesh.face_normals[faces]


SHAPES = {
    "torus": trimesh.creation.torus(0.7, 0.3, major_sections=96, minor_sections=48),
    "box": trimesh.creation.box((2, 1.2, 0.6)),
}


def test_axes_equal_those_of_numpy() -> None:
    patches = np.random.default_rng(0).normal(size=(50, 12, 3)) * (1.0, 0.7, 0.2)
    for patch, axis in zip(patches, least_axes(patches), strict=True):
        assert abs(np.linalg.svd(patch - patch.mean(axis=0))[2][2] @ axis) == pytest.approx(1, abs=1e-9)
    keep = np.arange(12) < 7
    np.testing.assert_allclose(
        np.abs((least_axes(patches, np.tile(keep, (50, 1))) * least_axes(patches[:, :7])).sum(axis=1)), 1, atol=1e-9
    )


def test_chunks_change_nothing() -> None:
    near = Neighbours(samples(SHAPES["torus"], 500, 0.0)[0])
    np.testing.assert_array_equal(pca_normals(near, 10), pca_normals(near, 10, chunk=64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("count", "noise"), [(3000, 0.0), (3000, 0.02), (10000, 0.005)])
def test_chosen_size_is_near_the_best(shape: str, count: int, noise: float) -> None:
    points, normals = samples(SHAPES[shape], count, noise)
    near = Neighbours(points)

    def error(k: int) -> float:
        return mean_angle(least_axes(points[near.of(points[:1500], k)[1]]), normals[:1500])

    assert error(choose_k(near, estimate_noise(near))) <= 1.15 * min(error(k) for k in (10, 20, 40, 80, 160, 320))


def test_noise_angle_is_that_of_fitted_planes() -> None:
    random = np.random.default_rng(0)
    radius, angle = np.sqrt(random.random((2000, 40))), 2 * np.pi * random.random((2000, 40))
    patches = np.stack([radius * np.cos(angle), radius * np.sin(angle), random.normal(0, 0.03, radius.shape)], axis=2)
    tilt = mean_angle(least_axes(patches), np.array([[0.0, 0.0, 1.0]]))
    assert noise_angle(0.03, 1.0, 40) == pytest.approx(tilt, rel=0.05)


def test_estimate_is_outward_and_says_what_it_did() -> None:
    points, normals = samples(SHAPES["torus"], 4000, 0.005)
    estimate = estimate_normals(1e3 * points + 5e4)
    assert ((estimate.normals * normals).sum(axis=1) > 0).mean() > 0.999
    assert estimate.noise == pytest.approx(5, rel=0.25)
    assert estimate.score > 0.95
    assert not estimate.warnings
    np.testing.assert_allclose(np.linalg.norm(estimate.normals, axis=1), 1, atol=1e-9)


def test_size_can_be_given_and_signs_left_open() -> None:
    points, _ = samples(SHAPES["box"], 500, 0.0)
    estimate = estimate_normals(points, k=9, orient=False)
    assert estimate.k == 9
    assert np.isnan(estimate.score)
    np.testing.assert_array_equal(estimate.normals, pca_normals(Neighbours(points), 9))


def test_same_seed_same_normals() -> None:
    points, _ = samples(SHAPES["torus"], 400, 0.01)
    np.testing.assert_array_equal(estimate_normals(points, seed=3).normals, estimate_normals(points, seed=3).normals)


def test_bunny_without_its_normals(data_dir: Path) -> None:
    cloud = read_cloud(data_dir / "stanford" / "bunny_normals.ply")
    assert cloud.normals is not None
    given = cloud.normals / np.linalg.norm(cloud.normals, axis=1, keepdims=True)
    estimate = estimate_normals(cloud.points)
    agreement = (estimate.normals * given).sum(axis=1)
    assert (agreement > 0).mean() > 0.9995
    assert np.degrees(np.arccos(np.clip(agreement, -1, 1))).mean() < 2.5
