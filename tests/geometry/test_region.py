"""The sphere of interest, found from masks, points and cameras alone."""

from __future__ import annotations

import numpy as np
import pytest

from recon.errors import DataError
from recon.geometry.cameras import look_at
from recon.geometry.region import PIXELS, carved, from_box, from_cameras, from_masks, from_points, nearest_point
from tests.data.recordings import CENTRE, RADIUS, SIZE, K, poses, seen

CAMERAS = poses()
INTRINSICS = np.broadcast_to(K, (len(CAMERAS), 3, 3))
MASKS = np.stack([seen(pose)[1] > 0 for pose in CAMERAS])


def test_masks_give_the_hull_s_sphere():
    region = from_masks(MASKS, INTRINSICS, CAMERAS)
    assert np.linalg.norm(region.translation - CENTRE) < 0.03
    assert 1.1 * RADIUS < region.scale < 1.35 * RADIUS


def test_large_masks_say_the_same_at_the_same_cost():
    times = -(-4 * PIXELS // max(SIZE))
    large = np.kron(MASKS[:12], np.ones((times, times), dtype=bool))
    region = from_masks(large, np.diag([times, times, 1.0]) @ INTRINSICS[:12], CAMERAS[:12])
    small = from_masks(MASKS[:12], INTRINSICS[:12], CAMERAS[:12])
    np.testing.assert_allclose(region.translation, small.translation, atol=0.03)
    assert region.scale == pytest.approx(small.scale, rel=0.05)


def test_a_missing_and_a_full_mask_say_nothing_and_one_in_twenty_may_be_wrong():
    masks = np.concatenate([MASKS, MASKS, np.zeros_like(MASKS[:1]), np.ones_like(MASKS[:1])])
    masks[3] = np.roll(masks[3], 25, axis=1)
    twice = np.concatenate([CAMERAS, CAMERAS, CAMERAS[:2]])
    region = from_masks(masks, np.broadcast_to(K, (len(twice), 3, 3)), twice)
    assert np.linalg.norm(region.translation - CENTRE) < 0.06
    assert RADIUS < region.scale < 1.5 * RADIUS


def test_the_hull_holds_what_all_masks_hold():
    points = CENTRE + np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    kept = carved(points, MASKS, INTRINSICS, CAMERAS)
    distance = np.linalg.norm(points - CENTRE, axis=1)
    assert kept[distance < 0.95 * RADIUS].all()
    assert not kept[distance > 1.5 * RADIUS].any()


@pytest.mark.parametrize(
    ("masks", "match"),
    [
        (np.zeros_like(MASKS), "Fewer than two masks"),
        (np.ones_like(MASKS), "Fewer than two masks"),
        (np.stack([np.roll(m, 35 * (-1) ** i, axis=1) for i, m in enumerate(MASKS)]), "nothing in common"),
    ],
)
def test_masks_that_say_nothing(masks, match):
    with pytest.raises(DataError, match=match):
        from_masks(masks, INTRINSICS, CAMERAS)


def test_points_with_background_and_strays(rng):
    ball = rng.normal(size=(2000, 3))
    ball = CENTRE + RADIUS * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    region = from_points(np.concatenate([ball, CENTRE + rng.normal(0, 30, (300, 3)), [[1e9, 0, 0]]]))
    assert np.linalg.norm(region.translation - CENTRE) < 0.1
    assert RADIUS < region.scale < 1.7 * RADIUS
    with pytest.raises(DataError, match=r"(?s)have no extent.*data\.center"):
        from_points(np.ones((50, 3)))
    with pytest.raises(DataError, match="The 0 points"):
        from_points(np.zeros((0, 3)))


def test_cameras_alone():
    region = from_cameras(INTRINSICS, CAMERAS, SIZE)
    assert np.linalg.norm(region.translation - CENTRE) < 0.06
    assert RADIUS < region.scale < 1.4 * RADIUS  # what images show whole
    strays = CAMERAS.copy()
    strays[4] = look_at(strays[4, :3, 3], np.array([30.0, 2, 9]), np.array([0.0, 1, 0]))
    assert np.linalg.norm(from_cameras(INTRINSICS, strays, SIZE).translation - CENTRE) < 0.1


def test_cameras_that_meet_nowhere():
    apart = CAMERAS @ np.diag([-1.0, 1, -1, 1])
    with pytest.raises(DataError, match=r"(?s)meet in no point.*data\.center"):
        from_cameras(INTRINSICS, apart, SIZE)
    parallel = np.tile(np.eye(4), (3, 1, 1))
    parallel[:, 0, 3] = [0, 1, 2]
    with pytest.raises(DataError, match="meet in no point"):
        from_cameras(INTRINSICS[:3], parallel, SIZE)
    with pytest.raises(DataError, match="meet in no point"):
        from_cameras(INTRINSICS[:1], CAMERAS[:1], SIZE)


def test_nearest_point_and_boxes(rng):
    origins = rng.normal(size=(5, 3))
    directions = (np.array([1.0, 2, 3]) - origins) / np.linalg.norm(np.array([1.0, 2, 3]) - origins, axis=1)[:, None]
    np.testing.assert_allclose(nearest_point(origins, directions), [1, 2, 3], atol=1e-9)
    region = from_box(np.array([[0.0, 0, 0], [2, 4, 4]]))
    assert region.scale == 3.0
    assert region.translation.tolist() == [1, 2, 2]
