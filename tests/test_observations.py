"""Observations: what is refused, and what normalising keeps."""

import numpy as np
import pytest
import torch

from recon.errors import DataError
from recon.io.types import Cloud
from recon.observations import OrientedPoints, Points, PosedRGBD, PosedViews, Views, first_common


def cloud(rng: np.random.Generator, count: int = 40) -> Cloud:
    return Cloud(5e6 + 10 * rng.random((count, 3)), rng.normal(size=(count, 3)))


def test_normalised_points_are_float32_in_the_box_and_come_back(rng: np.random.Generator) -> None:
    given = cloud(rng)
    scene = Points.from_cloud(given, "far").normalized("box", 1.8)
    assert isinstance(scene, OrientedPoints)
    assert scene.points.dtype == scene.normals.dtype == torch.float32
    assert np.ptp(scene.points.numpy(), axis=0).max() == pytest.approx(1.8, rel=1e-6)
    back = scene.to_cloud()
    np.testing.assert_allclose(back.points, given.points, atol=1e-6 * 10)
    lengths = np.linalg.norm(given.normals, axis=1, keepdims=True)
    np.testing.assert_allclose(back.normals, given.normals / lengths, atol=1e-6)


def test_normalised_twice_is_one_frame(rng: np.random.Generator) -> None:
    once = Points.from_cloud(cloud(rng), "far")
    twice = once.normalized("sphere", 4.0).normalized("box", 2.0)
    np.testing.assert_allclose(twice.to_cloud().points, once.points.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.zeros((0, 3)), "is empty"),
        (np.zeros((50, 2)), r"\(50, 2\)"),
        (np.zeros((31, 3)), "has 31 points"),
        (np.full((50, 3), np.nan), "50 of 50 points"),
    ],
)
def test_clouds_that_cannot_be_used_are_named(points: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=f"'odd'.*{said}"):
        Points.from_cloud(Cloud(points), "odd")


def test_normals_must_match_and_be_finite(rng: np.random.Generator) -> None:
    given = cloud(rng)
    for normals in (given.normals[:-1], np.full_like(given.normals, np.nan)):
        with pytest.raises(DataError, match="normals of 'odd'"):
            Points.from_cloud(Cloud(given.points, normals), "odd")


def test_the_first_type_that_both_sides_know() -> None:
    assert first_common((OrientedPoints, Points), (OrientedPoints, Points)) is OrientedPoints
    assert first_common((OrientedPoints, Points), (Points,)) is Points
    assert first_common((Points,), (OrientedPoints,)) is Points
    assert first_common((Views,), (PosedRGBD,)) is Views
    assert first_common((PosedRGBD,), (PosedViews, Points)) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_points_and_normals_are_normalised_to_one_device(rng: np.random.Generator) -> None:
    scene = Points.from_cloud(cloud(rng), "gpu").to("cuda").normalized()
    assert scene.points.device == scene.normals.device
