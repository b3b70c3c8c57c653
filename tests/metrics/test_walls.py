"""Walls removed as for the synthetic rooms: what is beside or below the truth does not count, what is above does."""

from __future__ import annotations

import numpy as np
import pytest

from recon.errors import DataError
from recon.io.types import Mesh
from recon.metrics.walls import MARGIN, remove_walls

BOX = np.array([[-0.3, -0.5, -0.2], [0.3, 0.1, 0.2]])


def square(axis: int, place: float, side: float = 1.0) -> Mesh:
    """A square across an axis about the origin, of two triangles."""
    corners = side * np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return Mesh(np.insert(corners, axis, place, axis=1), np.array([[0, 1, 2], [0, 2, 3]]))


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = [m.faces + start for m, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


def test_only_what_lies_beside_or_below_is_dropped() -> None:
    floor_below, wall_beside, table_above = square(1, -0.52), square(0, 0.32), square(1, 0.4)
    kept = remove_walls(joined(floor_below, wall_beside, table_above), BOX, 5000)
    assert len(kept.points) == len(kept.faces) == len(kept.normals) == 5000
    assert set(kept.faces) == {4, 5}  # of the three squares the last, though it lies above the truth
    np.testing.assert_allclose(kept.points[:, 1], 0.4)
    low, high = kept.points.min(axis=0), kept.points.max(axis=0)
    np.testing.assert_allclose(low[[0, 2]], BOX[0, [0, 2]] - MARGIN, atol=2e-3)
    np.testing.assert_allclose(high[[0, 2]], BOX[1, [0, 2]] + MARGIN, atol=2e-3)
    np.testing.assert_allclose(np.abs(kept.normals), np.tile([0.0, 1, 0], (5000, 1)))


@pytest.mark.parametrize(("place", "kept"), [(-0.506, 3000), (-0.508, 0)])
def test_the_margin(place: float, kept: int) -> None:
    assert len(remove_walls(square(1, place), BOX, 3000).points) == kept


def test_samples_are_drawn_again_and_depend_on_the_seed() -> None:
    """Of twice as many, the share that lies there, with replacement: as many distinct ones as that share gives."""
    mesh = square(1, 0.0)
    first, second = remove_walls(mesh, BOX, 2000, seed=1), remove_walls(mesh, BOX, 2000, seed=1)
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.array_equal(first.points, remove_walls(mesh, BOX, 2000, seed=2).points)
    there = 4000 * 0.614 * 0.414
    assert len(np.unique(first.points, axis=0)) == pytest.approx(there * (1 - np.exp(-2000 / there)), rel=0.08)


def test_an_empty_mesh_is_an_error() -> None:
    with pytest.raises(DataError, match="Cannot sample"):
        remove_walls(Mesh.empty(), BOX, 10)
