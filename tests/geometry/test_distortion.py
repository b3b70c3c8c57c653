"""Lenses: the model is OpenCV's, and the pinhole that replaces one sees nothing that the lens did not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.errors import DataError
from recon.geometry.distortion import distort, pinhole_for, sampled, undistort

K = np.array([[300.0, 0, 170], [0, 310.0, 115], [0, 0, 1]])
SIZE = (240, 320)
BARREL = np.array([-0.3, 0.1, 0.001, -0.002, 0, 0, 0, 0])
PINCUSHION = np.array([0.2, 0.05, 0, 0, 0.01, 0, 0, 0])
RATIONAL = np.array([0.5, 0.1, 0.001, 0.001, 0.02, 0.7, 0.1, 0.01])


def test_the_model_against_its_formula():
    """Numbers worked out by hand from OpenCV's documentation for x = 0.5, y = -0.25."""
    k1, k2, p1, p2, k3, k4, k5, k6 = RATIONAL
    x, y, r2 = 0.5, -0.25, 0.3125
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    expected = [
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    ]
    np.testing.assert_allclose(distort(np.array([x, y]), RATIONAL), expected, rtol=1e-14)
    np.testing.assert_array_equal(distort(np.array([[x, y]]), np.zeros(8)), [[x, y]])


@pytest.mark.parametrize("lens", [BARREL, PINCUSHION, RATIONAL, np.zeros(8)])
def test_the_pinhole_has_no_blank_borders_and_wastes_little(lens):
    target = pinhole_for(K, SIZE, lens)
    assert target[0, 0] >= K[0, 0]
    assert (target[:2, 2] == K[:2, 2]).all()
    corners = np.array([[0.0, 0], [320, 0], [0, 240], [320, 240], [160, 0], [160, 240], [0, 120], [320, 120]])
    seen = sampled(K, target, lens, corners)
    assert ((seen >= -0.5) & (seen <= [320.5, 240.5])).all()
    if target[0, 0] > K[0, 0]:  # it was narrowed: some border pixel lies on the border
        assert min(np.abs(seen - 0).min(), np.abs(seen - [320, 240]).min()) < 3


def test_lenses_that_no_pinhole_can_replace():
    for folded in (np.array([-3.0, 0, 0, 0, 0, 0, 0, 0]) * 20, np.array([0, 0, 50.0, 0, 0, 0, 0, 0])):
        with pytest.raises(DataError, match=r"(?s)fits no pinhole.*image_undistorter"):
            pinhole_for(K, SIZE, folded)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_pixels_come_from_where_the_lens_put_them(mode):
    """An image of which every pixel holds its own place, undistorted, tells where it came from; strips do not show."""
    tall = (600, 320)
    k = np.array([[300.0, 0, 170], [0, 310.0, 300], [0, 0, 1]])
    v, u = np.mgrid[: tall[0], : tall[1]] + 0.5
    target = pinhole_for(k, tall, BARREL / 4)
    places = undistort(torch.from_numpy(np.stack([u, v])).float(), k, target, BARREL / 4, mode).numpy()
    expected = sampled(k, target, BARREL / 4, np.stack([u, v], axis=-1)).transpose(2, 0, 1)
    error = np.abs(places - expected)[:, 2:-2, 2:-2]
    assert error.max() < (0.02 if mode == "bilinear" else 0.52)
    same = undistort(torch.full((3, *tall), 77, dtype=torch.uint8), k, target, BARREL / 4, mode)
    assert same.dtype == torch.uint8
    assert (same == 77).all()
