"""What masks tell of space: the visual hull, and which points they keep.

The hull is the largest shape with these silhouettes (Laurentini, 1994). It is carved with signed distances to the
silhouettes rather than with the masks' yes and no, so that its surface is smooth and lies between pixels.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

from recon.geometry.cameras import project
from recon.geometry.extraction import Grid
from recon.geometry.frames import Frame
from recon.geometry.marching import march
from recon.geometry.welding import Welder
from recon.io.types import Mesh

CHUNK = 1 << 19  # nodes projected at a time


def visual_hull(
    masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, frame: Frame, resolution: int = 128
) -> Mesh:
    """The surface of all that no mask excludes, within a cube.

    A view says nothing of what lies outside its image or behind it; what no view sees is outside.

    Args:
        masks: (V, H, W) bool, or numbers of which more than half of the type's largest is inside.
        intrinsics: (V, 3, 3) K in pixels.
        poses: (V, 4, 4) camera to world.
        frame: the cube [-1, 1]^3 in it is carved.
        resolution: cells along a side of it.

    Returns:
        A closed mesh in world coordinates, empty if nothing is left.
    """
    masks = inside_of(masks)
    grid = Grid.over((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), resolution)
    values = _carved(grid, resolution, frame, masks, intrinsics, poses).reshape((resolution + 1,) * 3)
    for axis in range(3):  # the cube's walls are outside, so that the mesh is closed
        np.moveaxis(values, axis, 0)[[0, -1]] = np.minimum(
            np.moveaxis(values, axis, 0)[[0, -1]], -0.5 * grid.spacing * frame.scale
        )
    welder = Welder()
    welder.add(march(-values[None].astype(np.float32), np.zeros((1, 3), dtype=np.int64), grid))
    vertices, faces = welder.join()
    return Mesh(frame.to_world(grid.positions(vertices)), faces)


def _carved(
    grid: Grid, resolution: int, frame: Frame, masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray
) -> np.ndarray:
    """About the distance of all nodes, in world units, to the nearest silhouette's cone: positive inside all of them.

    Exact within three cells of the hull only: what is farther out is not looked at again.
    """
    shape, reach = (resolution + 1,) * 3, 3 * grid.spacing * frame.scale
    nearest = np.full(np.prod(shape), reach)
    seen, left = np.zeros(nearest.shape, dtype=bool), np.arange(nearest.size)
    for mask, k, pose in zip(masks, intrinsics, poses, strict=True):
        silhouette, side = _signed_distance(mask), np.sqrt(k[0, 0] * k[1, 1])
        for start in range(0, len(left), CHUNK):
            rows = left[start : start + CHUNK]
            world = frame.to_world(grid.positions(np.stack(np.unravel_index(rows, shape), axis=1)))
            pixels, depth, there = _visible(world, k, pose, mask.shape)
            rows, distance = rows[there], _sampled(silhouette, pixels[there]) * depth[there] / side
            nearest[rows], seen[rows] = np.minimum(nearest[rows], distance), True
        left = left[nearest[left] > -reach]
    return np.where(seen, nearest, -reach)


def filtered_by_masks(
    points: np.ndarray, masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, dilation: float = 12
) -> np.ndarray:
    """Which points masks keep: inside every mask in whose image they fall, and in at least one image.

    So the stereo clouds of DTU were cleaned for Iso-Points, with masks dilated by a disk of 12 pixels.

    Args:
        points: (N, 3) world.
        masks: (V, H, W), as for `visual_hull`.
        intrinsics: (V, 3, 3) K in pixels.
        poses: (V, 4, 4) camera to world.
        dilation: radius of the disk, in pixels.

    Returns:
        (N,) bool.
    """
    kept, seen = np.ones(len(points), dtype=bool), np.zeros(len(points), dtype=bool)
    for mask, k, pose in zip(inside_of(masks), intrinsics, poses, strict=True):
        rows = np.flatnonzero(kept)
        pixels, _, there = _visible(points[rows], k, pose, mask.shape)
        wide = distance_transform_edt(~mask) <= dilation if mask.any() else mask
        column, row = np.floor(pixels[there]).astype(np.int64).T
        seen[rows[there]] = True
        kept[rows[there]] = wide[row, column]
    return kept & seen


def inside_of(masks: np.ndarray) -> np.ndarray:
    """Masks as bool: more than half of the largest value is inside (127.5 of 8 bits, 0.5 of floats)."""
    masks = np.asarray(masks)
    if masks.dtype == bool:
        return masks
    half = np.iinfo(masks.dtype).max / 2 if masks.dtype.kind in "ui" else 0.5
    return np.asarray(masks > half)


def _visible(
    points: np.ndarray, k: np.ndarray, pose: np.ndarray, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, depths, and which points lie before the camera and within its image."""
    pixels, depth = project(points, k, pose)
    there = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < size[1]) & (pixels[:, 1] < size[0])
    return pixels, depth, there


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """(H, W) pixels to the silhouette, positive inside; it runs half way between pixels in and out."""
    far = float(np.hypot(*mask.shape))
    into = distance_transform_edt(mask) if not mask.all() else np.full(mask.shape, far)
    away = distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, far)
    return np.where(mask, into - 0.5, 0.5 - away)


def _sampled(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Bilinear values at pixels, whose centres are at integer + 0.5."""
    return np.asarray(map_coordinates(image, pixels[:, ::-1].T - 0.5, order=1, mode="nearest"))
