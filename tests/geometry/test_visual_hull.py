"""The visual hull of masks, and the points that masks keep."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.ndimage import binary_dilation
from skimage.morphology import disk

from recon.geometry.cameras import look_at, pixel_centres, project, rays
from recon.geometry.frames import Frame
from recon.geometry.visual_hull import filtered_by_masks, inside_of, visual_hull

K = np.array([[120.0, 0, 60], [0, 120, 50], [0, 0, 1]])
SIZE = (100, 120)


def ring(count, centre=(0.0, 0, 0), distance=4.0):
    rng = np.random.default_rng(1)
    eye = rng.normal(size=(count, 3))
    eye = np.array(centre) + distance * eye / np.linalg.norm(eye, axis=1, keepdims=True)
    return look_at(eye, np.array(centre), np.array([0, 0, 1.0]))


def sphere_masks(poses, centre, radius):
    origins, directions = rays(pixel_centres(*SIZE).reshape(-1, 2), np.tile(K, (len(poses), 1, 1)), poses)
    away = np.linalg.norm(np.cross(np.array(centre) - origins, directions), axis=-1)
    return (away < radius).reshape(-1, *SIZE)


def test_hull_of_a_sphere_is_a_sphere():
    centre = np.array([10.0, -5, 2])
    poses = ring(60, centre, 8.0)
    masks = sphere_masks(poses, centre, 1.5)
    mesh = visual_hull(masks, np.tile(K, (60, 1, 1)), poses, Frame(2.0, translation=centre), 48)
    assert mesh.to_trimesh().is_watertight
    assert mesh.to_trimesh().volume > 0  # outwards
    away = np.linalg.norm(mesh.vertices - centre, axis=1)
    # A pixel is 8 / 120 wide there; between few views the hull bulges a little.
    assert abs(np.median(away) - 1.5) < 0.02
    assert away.min() > 1.42
    assert away.max() < 1.75


def test_hull_is_closed_where_images_or_the_cube_end():
    poses = ring(12)
    full = np.full((12, *SIZE), 255, dtype=np.uint8)
    mesh = visual_hull(full, np.tile(K, (12, 1, 1)), poses, Frame(0.5), 12)
    box = trimesh.creation.box((1, 1, 1))
    assert mesh.to_trimesh().is_watertight
    assert mesh.to_trimesh().volume == pytest.approx(box.volume, rel=0.15)
    assert visual_hull(0 * full, np.tile(K, (12, 1, 1)), poses, Frame(0.5), 12).is_empty


def test_points_are_kept_as_the_definition_says(rng):
    poses = ring(6)
    masks = sphere_masks(poses, (0.0, 0, 0), 0.8)
    points = rng.uniform(-2.5, 2.5, (3000, 3))
    expected, seen = np.ones(len(points), dtype=bool), np.zeros(len(points), dtype=bool)
    for mask, pose in zip(masks, poses, strict=True):
        wide = binary_dilation(mask, disk(5))
        pixels, depth = project(points, K, pose)
        for i, ((u, v), z) in enumerate(zip(pixels, depth, strict=True)):
            if z > 0 and 0 <= u < SIZE[1] and 0 <= v < SIZE[0]:
                seen[i] = True
                expected[i] &= wide[int(v), int(u)]
    kept = filtered_by_masks(points, masks, np.tile(K, (6, 1, 1)), poses, 5)
    np.testing.assert_array_equal(kept, expected & seen)
    assert 0 < kept.sum() < len(points)
    assert not filtered_by_masks(points, 0 * masks, np.tile(K, (6, 1, 1)), poses).any()


def test_what_is_inside_a_mask():
    np.testing.assert_array_equal(inside_of(np.array([0, 127, 128, 255], np.uint8)), [0, 0, 1, 1])
    np.testing.assert_array_equal(inside_of(np.array([0.0, 0.5, 0.6, 1])), [0, 0, 1, 1])
    np.testing.assert_array_equal(inside_of(np.array([True, False])), [1, 0])
