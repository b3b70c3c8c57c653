"""Region growing: the nodes of the described algorithm, each once; and what it does with what it cannot reach."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recon.errors import ConfigError
from recon.geometry.evaluation import Evaluator
from recon.geometry.region_growing import blocks_about, grow, region_blocks, region_grid
from recon.geometry.surface import Surface
from recon.geometry.voxels import keys_of, places_of

MAJOR, MINOR = 0.35, 0.14


def torus(x: Tensor) -> Tensor:
    ring = x[:, [0, 2]].norm(dim=1) - MAJOR
    return torch.stack([ring, x[:, 1]], dim=1).norm(dim=1) - MINOR


def on_torus(count: int, seed: int = 0, noise: float = 0.005) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 2 * np.pi, (2, count))
    out = MAJOR + MINOR * np.cos(b)
    return np.stack([out * np.cos(a), MINOR * np.sin(b), out * np.sin(a)], axis=1) + rng.normal(0, noise, (count, 3))


def probability(x: Tensor) -> Tensor:
    return torch.sigmoid(-200 * torus(x))


def surface(points: np.ndarray, field: Any = probability) -> Surface:
    support = torch.from_numpy(points).float()
    return Surface(field, (-0.55,) * 3, (0.55,) * 3, kind="occupancy", level=0.5, inside="above", support=support)


def described(evaluator: Evaluator) -> np.ndarray:
    """The algorithm as it is published, on a whole volume with loops: which nodes it evaluates."""
    shape = np.array(evaluator.grid.cells) + 1
    every = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    values = evaluator.nodes(every).reshape(shape)
    assert evaluator.seeds is not None
    low = evaluator.seeds.min()
    frontier = np.trunc((evaluator.seeds - low) / evaluator.grid.spacing + 1e-6).astype(int) + 1
    evaluated, seen = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    while len(frontier):
        near = {True: np.zeros(shape, dtype=bool), False: np.zeros(shape, dtype=bool)}
        for x, y, z in frontier:
            seen[x, y, z] = True
            block = tuple(slice(max(i - 2, 0), i + 2) for i in (x, y, z))
            evaluated[block] = near[bool(values[x, y, z] < 0)][block] = True
        frontier = np.argwhere(~seen & ((near[True] & (values >= 0)) | (near[False] & (values < 0))))
    return evaluated


def test_blocks_are_two_before_to_one_after_and_stay_in_the_grid() -> None:
    shape = np.array([5, 6, 7])
    nodes = np.array([[0, 3, 6], [4, 0, 2]])
    expected = {
        (x + i, y + j, z + k)
        for x, y, z in nodes.tolist()
        for i, j, k in product(range(-2, 2), repeat=3)
        if 0 <= x + i < 5 and 0 <= y + j < 6 and 0 <= z + k < 7
    }
    found = places_of(blocks_about(np.sort(keys_of(nodes, shape)), shape), shape)
    assert set(map(tuple, found.tolist())) == expected


@pytest.mark.parametrize(("count", "noise"), [(40, 0.0), (300, 0.02)])
def test_it_evaluates_what_the_published_algorithm_does_and_each_node_once(count: int, noise: float) -> None:
    points = on_torus(count, noise=noise)
    evaluator = Evaluator(probability, region_grid(points, 40), 0.5, -1.0, seeds=points)
    nodes, values = grow(evaluator)
    assert evaluator.count == len(nodes) == len(np.unique(nodes, axis=0))
    np.testing.assert_allclose(values, evaluator.nodes(nodes), atol=1e-6)
    reference = described(Evaluator(probability, region_grid(points, 40), 0.5, -1.0, seeds=points))
    np.testing.assert_array_equal(nodes, np.argwhere(reference))


def test_a_torus_from_3000_noisy_points_as_published() -> None:
    """The program's figures at 256: watertight, 182,812 vertices, volume within 0.01 %, 5.08 M evaluations."""
    found = surface(on_torus(3000)).mesh(extraction="region", resolution=256, normals=False)
    mesh = found.mesh.to_trimesh()
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 0
    assert (found.components, found.warnings) == (1, ())
    assert len(mesh.vertices) == pytest.approx(182_812, rel=0.03)
    assert mesh.volume == pytest.approx(2 * np.pi**2 * MAJOR * MINOR**2, rel=2e-4)
    assert found.evaluations < 5.08e6 / 3
    assert torus(torch.from_numpy(mesh.vertices)).abs().max() < 0.01 / 256


def test_mise_needs_fewer_evaluations() -> None:
    region, mise = (
        surface(on_torus(1000)).mesh(extraction=e, resolution=128, normals=False, bisect=1) for e in ("region", "mise")
    )
    assert mise.evaluations < region.evaluations
    assert mise.mesh.to_trimesh().volume == pytest.approx(region.mesh.to_trimesh().volume, rel=2e-3)


def test_surface_without_points_nearby_is_missed_unless_it_hangs_together() -> None:
    points = on_torus(500)
    part = surface(points[points.max(axis=1) < 0.3]).mesh(extraction="region", resolution=96, normals=False)
    assert part.cut
    assert "the box of the points" in part.warnings[0]
    assert part.mesh.vertices.max() < 0.32  # the box ends a cell beyond the largest of all coordinates

    def two(x: Tensor) -> Tensor:
        return torch.maximum(probability(x), torch.sigmoid(200 * (0.05 - x.norm(dim=1))))

    assert surface(points, two).mesh(extraction="region", resolution=96, normals=False).components == 1
    assert surface(points, two).mesh(extraction="mise", resolution=96, normals=False).components == 2


def test_memory_and_evaluations_grow_with_the_surface() -> None:
    points = on_torus(200)

    def grown(resolution: int) -> tuple[int, int]:
        evaluator = Evaluator(probability, region_grid(points, resolution), 0.5, -1.0, seeds=points)
        return region_blocks(evaluator).values.size, evaluator.count

    (few, cheap), (many, dear) = grown(64), grown(128)
    assert many < 5 * few
    assert dear < 5 * cheap


def test_no_surface_and_no_points() -> None:
    nothing = surface(on_torus(100), lambda x: torch.zeros(len(x))).mesh(extraction="region", resolution=32)
    assert nothing.mesh.is_empty
    assert "no surface" in nothing.warnings[0]
    bare = Surface(probability, (-0.55,) * 3, (0.55,) * 3, kind="occupancy", level=0.5)
    with pytest.raises(ConfigError, match="does not know its input"):
        bare.mesh(extraction="region")
