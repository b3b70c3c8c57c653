"""Marching cubes: closed and outward for any signs, equal to skimage where nothing is ambiguous, one rule for zeros."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from skimage.measure import marching_cubes

from recon.geometry.extraction import Grid
from recon.geometry.marching import MARGIN, march
from recon.geometry.marching_tables import CENTRE, EDGES, tables
from recon.geometry.welding import Welder


def mesh_of(volume: np.ndarray, cut: tuple[int, ...] = ()) -> trimesh.Trimesh:
    """The surface of a volume, marched in slabs that end at the planes `cut`."""
    x, y, z = (n - 1 for n in volume.shape)
    grid, welder = Grid((0.0, 0.0, 0.0), 1.0, (x, y, z)), Welder()
    for start, end in zip((0, *cut), (*cut, x), strict=True):
        welder.add(march(volume[None, start : end + 1], np.array([[start, 0, 0]]), grid))
    vertices, faces = welder.join()
    return trimesh.Trimesh(vertices, faces, process=False)


def noise(rng: np.random.Generator, side: int = 24) -> np.ndarray:
    """White noise with an outside border: every ambiguity there is."""
    volume = rng.standard_normal((side, side + 1, side + 2)).astype(np.float32)
    for axis in range(3):
        edge = np.moveaxis(volume, axis, 0)
        edge[0] = edge[-1] = 1
    return volume


def smooth(side: int) -> np.ndarray:
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(x * x + y * y + z * z) - 0.7 + 0.05 * np.sin(7 * x + 2 * y) * np.sin(5 * z)


def test_every_cube_is_closed_and_balanced() -> None:
    """Around each row's triangles, the edges not shared within the cube must form its border, each used once."""
    table = tables()
    assert len(table.count) == 656
    for start, count in zip(table.start, table.count, strict=True):
        triangle = table.triangle[start : start + count]
        directed = [(int(t[i]), int(t[(i + 1) % 3])) for t in triangle for i in range(3)]
        assert len(set(directed)) == len(directed)
        rim = {edge for edge in directed if edge[::-1] not in directed}
        assert all(CENTRE not in edge for edge in rim)
        for a, b in rim:
            assert len(set(EDGES[a]) | set(EDGES[b])) in (3, 4)


def test_white_noise_is_watertight_whatever_the_slabs(rng: np.random.Generator) -> None:
    for _ in range(3):
        volume = noise(rng)
        whole, parts = mesh_of(volume), mesh_of(volume, (1, 7, 16))
        assert whole.is_watertight
        assert whole.is_winding_consistent
        assert whole.volume > 0
        assert len(parts.vertices) == len(whole.vertices)
        assert parts.is_watertight
        assert parts.volume == pytest.approx(whole.volume, rel=1e-12)


def test_integers_put_zeros_on_nodes_and_the_mesh_stays_closed(rng: np.random.Generator) -> None:
    volume = np.clip(np.round(noise(rng)), -1, 1).astype(np.float32)
    mesh = mesh_of(volume)
    assert (volume == 0).mean() > 0.2
    assert mesh.is_watertight
    assert len(np.unique(mesh.vertices.round(9), axis=0)) == len(mesh.vertices)
    assert np.abs(mesh.vertices - mesh.vertices.round()).max(axis=1).min() > MARGIN / 2
    assert mesh.area_faces.min() > 0


def test_smooth_volumes_agree_with_skimage() -> None:
    volume = smooth(40)
    ours = mesh_of(volume)
    vertices, faces, _, _ = marching_cubes(volume, 0.0)
    theirs = trimesh.Trimesh(vertices, faces, process=False)
    assert (len(ours.vertices), len(ours.faces)) == (len(vertices), len(faces))
    both = [np.array(sorted(map(tuple, v.round(3)))) for v in (ours.vertices, vertices)]
    np.testing.assert_allclose(both[0], both[1], atol=2e-3)
    assert ours.area == pytest.approx(theirs.area, rel=2e-4)
    assert ours.volume == pytest.approx(theirs.volume, rel=2e-4)


@pytest.mark.parametrize("joined", [True, False])
def test_saddles_decide_ambiguous_faces(joined: bool) -> None:
    """Two inside corners across a face are one body if the saddle of the face is inside, and two if not."""
    volume = np.ones((4, 4, 4), dtype=np.float32)
    depth = 3.0 if joined else 0.3
    volume[1, 1, 1], volume[1, 2, 2] = -depth, -depth
    assert mesh_of(volume).body_count == (1 if joined else 2)


def test_parts_that_overhang_the_grid_are_ignored() -> None:
    volume = smooth(33)
    grid = Grid((0.0, 0.0, 0.0), 1.0, (20, 25, 30))
    welder = Welder()
    welder.add(march(volume[None], np.zeros((1, 3), dtype=np.int64), grid))
    vertices, faces = welder.join()
    inside = mesh_of(np.ascontiguousarray(volume[:21, :26, :31]))
    np.testing.assert_array_equal(vertices, inside.vertices)
    np.testing.assert_array_equal(faces, inside.faces)
