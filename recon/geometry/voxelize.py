"""Mesh to voxels: those that its triangles touch, exactly, and those whose centres lie inside.

Needs no ray caster, and no closed mesh: insides are voted for along the three axes, from both ends of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recon.errors import DataError
from recon.io.types import Mesh

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
UNIT_BOX: Box = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
CHUNK = 1 << 18
"""Columns worked on at a time: some 100 MB."""
MARGIN = 1e-6
"""Of a voxel: what a triangle overlaps by less does not count, and triangles move in by twice as much, so that a face
between two layers of voxels belongs to the inner one."""
OFF_CENTRE = np.array([3.1e-5, 5.3e-5, 7.7e-5])
"""Columns run beside the centres of their voxels by this share of one, so that none meets an edge head on."""
CYCLES = ((1, 2, 0), (2, 0, 1), (0, 1, 2))  # the axes, with the first, second, third last


def voxelize(mesh: Mesh, resolution: int = 32, box: Box = UNIT_BOX) -> np.ndarray:
    """The voxels of a cube that a mesh fills: all that its surface touches, and all inside.

    Args:
        mesh: outward faces, closed or not; what lies beyond the box is cut off.
        resolution: voxels along each side.
        box: lowest and highest corner of the cube, in the mesh's coordinates.

    Returns:
        (D, H, W) bool, axes x, y, z; voxel (i, j, k) has its centre at low + side * ((i, j, k) + 0.5) / resolution.

    Raises:
        DataError: if a vertex in use is not finite.
    """
    corners = grid_corners(mesh, resolution, box)
    return touched(corners, resolution) | enclosed(corners, resolution)


def grid_corners(mesh: Mesh, resolution: int, box: Box = UNIT_BOX) -> np.ndarray:
    """(F, 3, 3) float64 corners of the faces, in voxels from the lowest corner of the box.

    Raises:
        DataError: if one is not finite.
    """
    low, high = np.asarray(box, dtype=np.float64)
    side = high - low
    if not (side > 0).all() or np.ptp(side) > 1e-9 * side.max():
        raise ValueError(f"{box} is not a cube")
    corners = (np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces] - low) * (resolution / side)
    if not np.isfinite(corners).all():
        raise DataError("Cannot voxelize a mesh with vertices that are not finite.", "Remove them first.")
    return corners


def touched(corners: np.ndarray, resolution: int, margin: float = MARGIN) -> np.ndarray:
    """(n, n, n) bool: the voxels that triangles overlap.

    A box and a triangle overlap if the box meets the triangle's plane and they overlap in all three projections
    (Schwarz and Seidel, Fast Parallel Surface and Solid Voxelization, 2010, section 4.1).

    Args:
        corners: (F, 3, 3) in voxels.
        resolution: n.
        margin: see `MARGIN`; at 0, every voxel that is touched counts.
    """
    full = np.zeros((resolution,) * 3, dtype=bool)
    normals = _normals(corners)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    inner = corners - 2 * margin * (normals / np.where(length > 0, length, 1))[:, None]
    steepest = np.abs(normals).argmax(axis=1)
    for last, axes in enumerate(CYCLES):
        rows = np.flatnonzero(steepest == last)
        turned, across = inner[rows][:, :, axes], normals[rows][:, axes]
        view = full.transpose(axes)
        low, high = _spans(turned, margin, resolution)
        for triangle, column in _columns(low[:, :2], high[:, :2]):
            picked, cells = _cells(turned, across, low, high, triangle, column)
            view[tuple(cells[_overlap(turned[picked], across[picked], cells)].T)] = True
    return full


def enclosed(corners: np.ndarray, resolution: int) -> np.ndarray:
    """(n, n, n) bool: the voxels whose centres lie inside.

    A line through the centres of a column enters and leaves the solid; entries less exits before a centre, or after
    it, are its winding number, not zero inside. Six such counts vote. For closed meshes they agree, also where parts
    overlap; holes, or faces that are turned, spoil some of them.

    Args:
        corners: (F, 3, 3) in voxels.
        resolution: n.
    """
    votes = np.zeros((resolution,) * 3, dtype=np.uint8)
    normals = _normals(corners)
    for axes in CYCLES:
        turned = corners[:, :, axes] - OFF_CENTRE[list(axes)]
        across = normals[:, axes]
        entries = np.zeros((resolution, resolution, resolution + 1), dtype=np.int32)
        flat = turned[:, :, :2].clip(-1, resolution + 1) - 0.5
        low, high = np.ceil(flat.min(axis=1)), np.floor(flat.max(axis=1))
        for triangle, column in _columns(low.clip(0), high.clip(max=resolution - 1)):
            hit = _contains(turned[triangle], across[triangle, 2], column + 0.5)
            triangle, column = triangle[hit], column[hit]
            depth = _depth(turned[triangle, 0], across[triangle], column + 0.5)
            first = np.ceil(depth - 0.5).clip(0, resolution).astype(np.int64)
            np.add.at(entries, (*column.T, first), -np.sign(across[triangle, 2]).astype(np.int32))
        before = entries.cumsum(axis=2, dtype=np.int32)
        inside = before[..., :-1]
        view = votes.transpose(axes)
        view += (inside != 0).view(np.uint8)
        view += (inside != before[..., -1:]).view(np.uint8)
    return votes > 3


def _normals(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _spans(corners: np.ndarray, margin: float, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) first and last voxel of (F, 3, 3) triangles along each axis."""
    corners = corners.clip(-1, resolution + 1)
    low, high = np.floor(corners.min(axis=1) + margin), np.floor(corners.max(axis=1) - margin)
    return np.minimum(low, high).clip(0), np.maximum(low, high).clip(max=resolution - 1)


def _columns(low: np.ndarray, high: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of triangles and the columns that their boxes span, about `CHUNK` at a time.

    Args:
        low: (F, 2) whole numbers, the first column of each.
        high: (F, 2) the last, included.

    Yields:
        (m,) triangles and (m, 2) columns.
    """
    low, width = low.astype(np.int64), (high - low + 1).clip(0).astype(np.int64)
    counts = width.prod(axis=1)
    ends = counts.cumsum()
    begins = ends - counts
    start = 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(ends, begins[start] + CHUNK, side="right")))
        triangle = np.repeat(np.arange(start, stop), counts[start:stop])
        number = np.arange(begins[start], ends[stop - 1]) - begins[triangle]
        yield triangle, low[triangle] + np.column_stack(np.divmod(number, width[triangle, 1]))
        start = stop


def _cells(
    corners: np.ndarray,
    normals: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    triangle: np.ndarray,
    column: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of columns that the triangles' planes pass, as (m,) triangles and (m, 3) voxels."""
    slope = np.abs(normals[triangle])
    flat = slope[:, 2] > 0  # else the triangle is a line or a point, and its box must do
    middle = _depth(corners[triangle, 0], normals[triangle], column + 0.5)
    reach = np.where(flat, (slope[:, 0] + slope[:, 1]) / (2 * np.where(flat, slope[:, 2], 1)) + 1e-9, np.inf)
    first = np.maximum(low[triangle, 2], np.floor(middle - reach))
    last = np.minimum(high[triangle, 2], np.floor(middle + reach))
    counts = (last - first + 1).clip(0).astype(np.int64)
    owner = np.repeat(np.arange(len(triangle)), counts)
    step = np.arange(len(owner)) - np.repeat(counts.cumsum() - counts, counts)
    return triangle[owner], np.column_stack([column[owner], first[owner].astype(np.int64) + step])


def _depth(point: np.ndarray, normal: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Where the planes through (m, 3) points pass (m, 2) places, along the last axis."""
    across = ((point[:, :2] - column) * normal[:, :2]).sum(axis=1)
    return point[:, 2] + across / np.where(normal[:, 2] == 0, 1, normal[:, 2])


def _overlap(corners: np.ndarray, normals: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(m,) bool: whether (m, 3, 3) triangles overlap (m, 3) voxels in all three projections."""
    good = np.ones(len(cells), dtype=bool)
    for u, v, w in CYCLES:
        facing = np.where(normals[:, w] >= 0, 1.0, -1.0)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            edge_u, edge_v = corners[:, b, u] - corners[:, a, u], corners[:, b, v] - corners[:, a, v]
            inward_u, inward_v = -edge_v * facing, edge_u * facing
            # The voxel's corner that lies farthest inward of the edge must be on the triangle's side of it.
            height = inward_u * (cells[:, u] - corners[:, a, u]) + inward_v * (cells[:, v] - corners[:, a, v])
            good &= height + np.maximum(inward_u, 0) + np.maximum(inward_v, 0) >= 0
    return good


def _contains(corners: np.ndarray, facing: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(m,) bool: whether (m, 2) places lie in (m, 3, 3) triangles seen along the last axis."""
    good = facing != 0
    for a, b in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, b, :2] - corners[:, a, :2]
        off = places - corners[:, a, :2]
        good &= (edge[:, 0] * off[:, 1] - edge[:, 1] * off[:, 0]) * np.sign(facing) >= 0
    return good
