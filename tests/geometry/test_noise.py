"""The estimated noise follows the noise that was put in."""

from itertools import pairwise

import numpy as np
import pytest

from recon.geometry.neighbours import Neighbours
from recon.geometry.noise import estimate_noise, quadric_residuals


def torus(count: int, noise: float, seed: int = 0) -> np.ndarray:
    """Samples of a torus of longest side 2."""
    random = np.random.default_rng(seed)
    u, v = random.random((2, count)) * 2 * np.pi
    ring = 0.7 + 0.3 * np.cos(v)
    points = np.stack([ring * np.cos(u), ring * np.sin(u), 0.3 * np.sin(v)], axis=1)
    return points + random.normal(0, noise, points.shape)


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02, 0.04, 0.08])
def test_estimate_is_within_a_quarter_of_the_truth(noise: float) -> None:
    assert estimate_noise(Neighbours(torus(20000, noise))) == pytest.approx(noise, rel=0.25)


def test_clean_data_have_little_and_estimates_rise_with_noise() -> None:
    estimates = [estimate_noise(Neighbours(torus(8000, s))) for s in (0.0, 0.003, 0.01, 0.03, 0.06)]
    assert estimates[0] < 0.001
    assert all(a < b for a, b in pairwise(estimates))


def test_estimate_scales_with_the_unit() -> None:
    points = torus(4000, 0.01)
    assert estimate_noise(Neighbours(points * 1e3)) == pytest.approx(1e3 * estimate_noise(Neighbours(points)), rel=1e-6)


def test_residual_of_an_exact_quadric_is_zero() -> None:
    random = np.random.default_rng(0)
    u, v = random.uniform(-0.1, 0.1, (2, 5, 40))
    patches = np.stack([u, v, 0.4 * u * u - 0.3 * u * v + 0.2 * v * v], axis=2)
    assert quadric_residuals(patches).max() < 1e-4
    assert quadric_residuals(patches + random.normal(0, 0.01, patches.shape)).mean() == pytest.approx(0.01, rel=0.2)


def test_tiny_clouds_work() -> None:
    assert estimate_noise(Neighbours(torus(32, 0.01))) > 0
