"""Where the thing is that posed photographs show: the sphere of interest, from masks, points or the cameras alone.

Each function gives the `Frame` that takes the unit sphere to that sphere in the world. IDR's and NeuS' data bring it
along as ``scale_mat``; other recordings do not.
"""

from __future__ import annotations

import numpy as np

from recon.errors import DataError
from recon.geometry.cameras import pixel_centres, project, strided
from recon.geometry.frames import Frame

MARGIN = 1.1  # of the sphere over what it has to hold, as in IDR's data
VIEWS = 48  # that are looked at; more tell no more
PIXELS = 400  # of a mask's longer side that are looked at, likewise
CELLS = 48  # along the grid in which the hull is carved
MISSES = 0.05  # share of the masks that may leave out what belongs to the object
BY_HAND = "Give data.center=[x,y,z] and data.radius=r, in the units of the cameras."


def from_box(box: np.ndarray) -> Frame:
    """The sphere about a box, (2, 3) corners."""
    low, high = np.asarray(box, dtype=np.float64)
    return Frame(float(np.linalg.norm(high - low) / 2), translation=(low + high) / 2)


def from_points(points: np.ndarray) -> Frame:
    """The sphere about the bulk of a cloud: stray points and distant background are left outside.

    Points farther from the median than three times the median distance do not count, nor does the last percent.

    Args:
        points: (N, 3) world coordinates.

    Raises:
        DataError: if the points have no extent.
    """
    points = np.asarray(points, dtype=np.float64)
    for _ in range(3):
        distance = np.linalg.norm(points - np.median(points, axis=0), axis=1) if len(points) else np.zeros(0)
        points = points[distance <= 3 * np.median(distance)] if len(points) else points
    if len(points) < 4 or not np.ptp(points, axis=0).max() > 0:
        raise DataError(f"The {len(points)} points known of this scene have no extent.", BY_HAND)
    low, high = np.percentile(points, [1, 99], axis=0)
    centre = (low + high) / 2
    radius = float(np.percentile(np.linalg.norm(points - centre, axis=1), 99))
    return Frame(MARGIN * radius, translation=centre)


def from_cameras(intrinsics: np.ndarray, poses: np.ndarray, size: tuple[int, int]) -> Frame:
    """The sphere about the point that the cameras look at, as large as their images show whole.

    Args:
        intrinsics: (V, 3, 3).
        poses: (V, 4, 4) camera to world.
        size: (height, width) of the images.

    Raises:
        DataError: if the cameras look at no common point in front of them.
    """
    axes, centres = poses[:, :3, 2], poses[:, :3, 3]
    meet = nearest_point(centres, axes)
    reach = None if meet is None else ((meet - centres) * axes).sum(axis=1)
    if meet is None or reach is None or (reach > 0).mean() < 0.8:
        raise DataError(f"The optical axes of the {len(poses)} cameras meet in no point in front of them.", BY_HAND)
    slope = np.minimum(size[0] / intrinsics[:, 1, 1], size[1] / intrinsics[:, 0, 0]) / 2
    shown = float(np.median(reach[reach > 0] * np.sin(np.arctan(slope))[reach > 0]))
    nearest = float(np.percentile(np.linalg.norm(meet - centres, axis=1), 5))
    return Frame(min(shown, 0.9 * nearest), translation=meet)


def from_masks(masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> Frame:
    """The sphere about the visual hull: what all cones of the masks have in common.

    Args:
        masks: (V, H, W) bool.
        intrinsics: (V, 3, 3) in pixels of the masks.
        poses: (V, 4, 4) camera to world.

    Raises:
        DataError: if the masks are empty or full, or their cones have nothing in common.
    """
    step = max(1, max(masks.shape[1:]) // PIXELS)
    masks, intrinsics = masks[:, ::step, ::step], strided(intrinsics, step)
    share = masks.mean(axis=(1, 2))
    useful = np.flatnonzero((share > 0) & (share < 1))
    useful = useful[np.linspace(0, len(useful) - 1, min(VIEWS, len(useful))).astype(int)] if len(useful) else useful
    masks, intrinsics, poses = masks[useful], intrinsics[useful], poses[useful]
    centre, half = _first_guess(masks, intrinsics, poses)
    for _ in range(6):
        points = _grid(centre, half)
        kept = points[carved(points, masks, intrinsics, poses)]
        if not len(kept):
            raise DataError("The cones of the masks have nothing in common.", f"Check masks and cameras. {BY_HAND}")
        low, high = kept.min(axis=0), kept.max(axis=0)
        cell = 2 * half / (CELLS - 1)
        if (np.abs([low - centre, high - centre]) < half - cell / 2).all():
            if (high - low).max() > half:
                break
            centre, half = (low + high) / 2, float((high - low).max() / 2 + 2 * cell)  # a closer look
        else:
            half *= 2.0
    middle = (low + high) / 2
    radius = np.linalg.norm(kept - middle, axis=1).max() + cell / 2
    return Frame(float(MARGIN * radius), translation=middle)


def carved(points: np.ndarray, masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """(N,) bool: which of (N, 3) `points` belong to the visual hull.

    A point outside an image is not judged by it, for images may cut the object off; but half as many views as see the
    best seen point have to see it, and two at least.
    """
    height, width = masks.shape[1:]
    seen, hits = np.zeros(len(points), dtype=np.int64), np.zeros(len(points), dtype=np.int64)
    for mask, k, pose in zip(masks, intrinsics, poses, strict=True):
        pixels, depth = project(points, k, pose)
        inside = (depth > 0) & ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
        columns, rows = pixels[inside].astype(np.int64).T
        seen += inside
        hits[inside] += mask[rows, columns]
    return np.asarray((seen >= max(2, seen.max(initial=0) / 2)) & (hits >= (1 - MISSES) * seen))


def nearest_point(origins: np.ndarray, directions: np.ndarray) -> np.ndarray | None:
    """The (3,) point nearest to lines, by least squares that mind stray lines less; None if they are parallel.

    Args:
        origins: (V, 3).
        directions: (V, 3) unit.
    """
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    weight, point = np.ones(len(origins)), np.zeros(3)
    for _ in range(10):
        system = (weight[:, None, None] * across).sum(axis=0)
        if len(origins) < 2 or np.linalg.eigvalsh(system)[0] < 1e-3 * weight.sum():
            return None
        point = np.linalg.solve(system, (weight[:, None, None] * across @ origins[:, :, None]).sum(axis=0))[:, 0]
        distance = np.linalg.norm((across @ (point - origins)[:, :, None])[..., 0], axis=1)
        weight = 1 / np.maximum(distance, np.median(distance) + 1e-12 * (1 + np.abs(point).max()))
    return np.asarray(point)


def _first_guess(masks: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, float]:
    """The point in the middle of all masks, and how far about it they reach."""
    if len(masks) < 2:
        raise DataError("Fewer than two masks show something and leave something out.", BY_HAND)
    pixels = pixel_centres(*masks.shape[1:])
    middles = np.array([pixels[mask].mean(axis=0) for mask in masks])
    homogeneous = np.column_stack([middles, np.ones(len(middles))])
    directions = np.einsum("vij,vj->vi", poses[:, :3, :3] @ np.linalg.inv(intrinsics), homogeneous)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = nearest_point(poses[:, :3, 3], directions)
    if centre is None:
        raise DataError("The masks' cones are parallel.", BY_HAND)
    reach = [
        depth[0] * np.linalg.norm(pixels[mask] - place, axis=1).max() / np.sqrt(k[0, 0] * k[1, 1])
        for mask, k, pose in zip(masks, intrinsics, poses, strict=True)
        for place, depth in [project(centre[None], k, pose)]
    ]
    half = float(np.median(reach))
    if not half > 0:
        raise DataError("The masks' cones meet behind the cameras.", f"Check masks and cameras. {BY_HAND}")
    return centre, half


def _grid(centre: np.ndarray, half: float) -> np.ndarray:
    line = np.linspace(-half, half, CELLS)
    return centre + np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
