"""MISE: the dense mesh for fields it can see, and what it leaves open is filled with the right sign."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.geometry.evaluation import Evaluator
from recon.geometry.extraction import Grid
from recon.geometry.mise import Mise, mise_steps
from recon.geometry.surface import Surface


def occupancy(x: Tensor) -> Tensor:
    """A probability that is flat away from a bent ball's surface."""
    return torch.sigmoid(300 * (0.3 - x.norm(dim=1) + 0.04 * torch.sin(9 * x).sum(dim=1)))


def test_steps_are_those_of_the_published_settings() -> None:
    assert [mise_steps((n, n, 1)) for n in (16, 32, 64, 128, 200, 256, 512)] == [0, 0, 1, 2, 2, 3, 4]


@pytest.mark.parametrize("resolution", [24, 100, 128])
def test_the_mesh_is_the_dense_mesh(resolution: int) -> None:
    surface = Surface(occupancy, (-0.55,) * 3, (0.55,) * 3, kind="occupancy", level=0.5)
    ours = surface.mesh(resolution=resolution, normals=False)
    theirs = surface.mesh(resolution=resolution, extraction="dense", normals=False)
    assert len(ours.mesh.faces) == len(theirs.mesh.faces)
    np.testing.assert_allclose(
        np.array(sorted(map(tuple, ours.mesh.vertices.round(9)))),
        np.array(sorted(map(tuple, theirs.mesh.vertices.round(9)))),
        atol=1e-6,
    )
    assert ours.mesh.to_trimesh().is_watertight
    if resolution == 128:
        assert 10 * ours.evaluations < theirs.evaluations


def test_the_filled_volume_has_the_signs_of_the_field() -> None:
    evaluator = Evaluator(occupancy, Grid.over((-0.55,) * 3, (0.55,) * 3, 64), level=0.5, sign=-1.0)
    mise = Mise(evaluator, 3).run()
    nodes = np.stack(np.meshgrid(*[np.arange(65)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    truth = evaluator.nodes(nodes).reshape(65, 65, 65)
    assert ((mise.dense() < 0) == (truth < 0)).all()
    assert sum(mise.points_per_round) == len(mise.keys) < truth.size / 5


def test_memory_grows_with_the_surface() -> None:
    def refined(resolution: int) -> tuple[Mise, int]:
        grid = Grid.over((-0.5,) * 3, (0.5,) * 3, resolution)
        evaluator = Evaluator(lambda x: (x - 0.01).norm(dim=1) - 0.06, grid)
        tracemalloc.start()
        try:
            mise = Mise(evaluator, mise_steps(grid.cells)).run()
            return mise, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, small_peak = refined(512)
    large, large_peak = refined(1024)
    assert 3 < len(large.finest) / len(small.finest) < 5
    assert sum(len(level.keys) for level in large.levels) < len(large.keys)
    assert large_peak < 5 * small_peak
    assert large_peak < 400 * len(large.finest)  # bytes; all voxels of side 2 alone would be 1200
