"""Depth images and clouds: a frame's points in space, points back to a depth image, many frames fused to one cloud.

Depth is z along the optical axis, 0 where nothing was measured. K is in pixels with pixel centres at integer + 0.5;
poses are camera to world, OpenCV axes (x right, y down, z forward).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from recon.errors import DataError
from recon.geometry.cameras import directions_of, project
from recon.geometry.depth_normals import depth_normals
from recon.io.parsing import unit
from recon.io.types import Cloud

LIMIT = 1 << 20  # voxels on either side of the origin that a key of three times 21 bits can tell
Table = tuple[np.ndarray, np.ndarray]  # voxels' numbers, and sums over their points
PENDING = 2_000_000  # points that wait before they are merged into the fused cloud


def camera_points(depth: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that a depth image shows, in camera coordinates.

    Args:
        depth: (H, W), 0 or not finite where nothing was measured.
        K: (3, 3).

    Returns:
        (N, 3) float64 points, and (N,) int64 which pixels they are of, as ``row * W + column``.
    """
    depth = np.asarray(depth, dtype=np.float64)
    pixels = np.flatnonzero((depth > 0) & np.isfinite(depth))
    rows, columns = np.divmod(pixels, depth.shape[1])
    directions = directions_of(np.stack([columns + 0.5, rows + 0.5], axis=1), K)
    return directions * depth.ravel()[pixels, None], pixels


def frame_cloud(
    depth: np.ndarray, K: np.ndarray, pose: np.ndarray, rgb: np.ndarray | None = None, normals: bool = False
) -> Cloud:
    """One frame's points in world coordinates.

    Args:
        depth: (H, W), 0 where nothing was measured.
        K: (3, 3).
        pose: (4, 4) camera to world.
        rgb: (H, W, 3) uint8 colours of the pixels.
        normals: give normals (see `depth_normals`), towards the camera; pixels without one are left out, which
            removes the flying points at the edges of things.
    """
    pose = np.asarray(pose, dtype=np.float64)
    turned = None
    if normals:
        facing = depth_normals(depth, K)
        depth = np.where(facing.any(axis=2), depth, 0)
    points, pixels = camera_points(depth, K)
    if normals:
        turned = facing.reshape(-1, 3)[pixels] @ pose[:3, :3].T
    colors = None if rgb is None else rgb.reshape(-1, 3)[pixels]
    return Cloud(points @ pose[:3, :3].T + pose[:3, 3], turned, colors)


def depth_image(points: np.ndarray, K: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The depth image of points: the nearest one of each pixel (a z-buffer).

    Args:
        points: (N, 3) world coordinates.
        K: (3, 3).
        pose: (4, 4) camera to world.
        size: (H, W).

    Returns:
        (H, W) float64 z, 0 where no point falls.
    """
    height, width = size
    pixels, depth = project(points, K, pose)
    pixels, depth = np.floor(pixels[depth > 0]), depth[depth > 0]
    seen = ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
    columns, rows = pixels[seen].astype(np.int64).T
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, rows * width + columns, depth[seen])
    return np.where(np.isfinite(nearest), nearest, 0).reshape(height, width)


def thin(cloud: Cloud, voxel: float) -> Cloud:
    """The mean point, normal and colour of each cubic voxel.

    Args:
        cloud: any cloud.
        voxel: side of the voxels, positive, in the cloud's unit.

    Raises:
        DataError: as `fuse`.
    """
    return fuse([cloud], voxel)


def fuse(clouds: Iterable[Cloud], voxel: float) -> Cloud:
    """Many clouds as one: the mean point, normal and colour of each cubic voxel; all of its points weigh the same.

    The clouds are taken one after another, so that memory goes with the size of the result, not with their number.

    Args:
        clouds: in one coordinate system; normals and colours are kept if all clouds have them.
        voxel: side of the voxels, positive, in the clouds' unit.

    Raises:
        DataError: if a point lies more than a million voxels from the origin.
    """
    tables: list[Table] = []
    oriented = colored = True
    waiting = 0
    for cloud in clouds:
        oriented, colored = oriented and cloud.normals is not None, colored and cloud.colors is not None
        tables.append(_merged([_table(cloud, voxel)]))
        waiting += len(tables[-1][0])
        if waiting > PENDING:
            tables, waiting = [_merged(tables)], 0
    if not tables:
        return Cloud(np.zeros((0, 3)))
    _, sums = _merged(tables)
    mean = sums[:, :9] / sums[:, 9:]
    colors = np.clip(np.round(mean[:, 6:]), 0, 255).astype(np.uint8)
    return Cloud(mean[:, :3], unit(mean[:, 3:6]) if oriented else None, colors if colored else None)


def _table(cloud: Cloud, voxel: float) -> Table:
    """(N,) number of each point's voxel; (N, 10) point, normal, colour (0 where there is none), and the weight 1."""
    places = np.floor(cloud.points / voxel)
    if not (np.abs(places) < LIMIT).all():
        raise DataError(
            f"A point lies more than {LIMIT} voxels of side {voxel:g} from the origin, or is not finite.",
            "Give a larger voxel, and check the poses and the unit of the depth.",
        )
    x, y, z = (places.astype(np.int64) + LIMIT).T
    rows = np.zeros((len(places), 10))
    rows[:, :3], rows[:, 9] = cloud.points, 1
    if cloud.normals is not None:
        rows[:, 3:6] = cloud.normals
    if cloud.colors is not None:
        rows[:, 6:9] = cloud.colors
    return (x << 42) | (y << 21) | z, rows


def _merged(tables: list[Table]) -> Table:
    """The sums of all rows of the same voxel, in the order of the voxels."""
    keys, rows = (np.concatenate(part) for part in zip(*tables, strict=True))
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.add.reduceat(rows[order], first, axis=0) if len(keys) else rows
