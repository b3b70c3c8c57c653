"""Coarse-to-fine search: the dense mesh for a fraction of its evaluations, closed across blocks, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from recon.geometry.block_bounds import bounds, suspicious
from recon.geometry.blocks import NODES, SIDE, Blocks
from recon.geometry.surface import Extraction, Surface

LOW, HIGH = (-1.2,) * 3, (1.2,) * 3


class Network(nn.Module):
    """A small SDF network whose last layer bends a ball, as a fitted one would be bent."""

    def __init__(self, seed: int, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Softplus(20))
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x.norm(dim=1) - 0.7 + 0.5 * torch.tanh(self.out(self.layers(3 * x))[:, 0])


class Waves:
    """A sum of plane waves: smooth, with saddles in cells and faces, and a slope far from one."""

    def __init__(self, seed: int, reach: float = 14.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.k = torch.randn(6, 3, generator=generator) * reach / 3**0.5
        self.phase = 6.3 * torch.rand(6, generator=generator)

    def __call__(self, x: Tensor) -> Tensor:
        inside = torch.sin(x @ self.k.T + self.phase).sum(dim=1) / 6
        return torch.maximum(inside, x.abs().amax(dim=1) - 1.1)


def shell(x: Tensor) -> Tensor:
    """A sheet of 1.3 cells of a 128 grid: thinner than any coarse cell."""
    return (x.norm(dim=1) - 0.8).abs() - 0.012


def same(ours: Extraction, theirs: Extraction, near: float = 1e-5 * 2.4) -> None:
    """The same vertices up to their order, and the same triangles between them."""
    mine, other = ours.mesh, theirs.mesh
    assert (len(mine.vertices), len(mine.faces)) == (len(other.vertices), len(other.faces))
    distance, twin = cKDTree(other.vertices).query(mine.vertices)
    assert distance.max() <= near
    assert len(np.unique(twin)) == len(twin)
    first, second = (np.sort(_turned(faces), axis=0) for faces in (twin[mine.faces], other.faces))
    np.testing.assert_array_equal(first, second)


def _turned(faces: np.ndarray) -> np.ndarray:
    """Each triangle as one number, its smallest vertex first."""
    start = faces.argmin(axis=1)[:, None]
    a, b, c = np.take_along_axis(faces, (start + np.arange(3)) % 3, axis=1).T
    return (a << 42) + (b << 21) + c


@pytest.mark.parametrize("field", [Network(0), Waves(0), shell], ids=["network", "waves", "shell"])
def test_the_sparse_mesh_is_the_dense_mesh_at_128(field: Callable[[Tensor], Tensor]) -> None:
    surface = Surface(field, LOW, HIGH)
    dense = surface.mesh(resolution=128, extraction="dense", normals=False)
    sparse = surface.mesh(resolution=128, extraction="coarse_to_fine", normals=False)
    assert sparse.evaluations < dense.evaluations
    same(sparse, dense)


@pytest.mark.parametrize("seed", range(4))
def test_random_smooth_fields_are_closed_through_block_borders(seed: int) -> None:
    result = Surface(Waves(seed, reach=30.0), LOW, HIGH).mesh(resolution=72, normals=False)
    mesh = result.mesh.to_trimesh()
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert not result.cut


def test_values_that_flicker_do_not_tear_the_surface() -> None:
    """A field whose last bits depend on the batch, as a network's do, magnified: each node must count once."""
    generator = torch.Generator().manual_seed(0)

    def field(x: Tensor) -> Tensor:
        return x.norm(dim=1) - 0.7 + 2e-3 * torch.rand(len(x), generator=generator)

    mesh = Surface(field, LOW, HIGH).mesh(resolution=128, normals=False, chunk=1000).mesh.to_trimesh()
    assert mesh.is_watertight


def test_512_takes_a_fortieth_of_the_evaluations_at_most() -> None:
    result = Surface(Network(0), LOW, HIGH).mesh(resolution=512, normals=False)
    assert 40 * result.evaluations <= 513**3
    assert result.mesh.to_trimesh().is_watertight


def test_a_bound_that_errs_is_mended_by_following_the_surface() -> None:
    """A rod with a steep end: the coarse grid sees slopes of one, the rod's tip is found by its stem."""

    def field(x: Tensor) -> Tensor:
        rod = torch.maximum(x[:, 1:].norm(dim=1) - 0.021, -x[:, 0])
        ball = x.norm(dim=1) - 0.3
        tip = torch.maximum(rod, x[:, 0] - 0.93)
        return torch.minimum(ball, torch.where(tip < 0.01, tip, 0.9))

    surface = Surface(field, LOW, HIGH)
    sparse = surface.mesh(resolution=128, normals=False)
    dense = surface.mesh(resolution=128, normals=False, extraction="dense")
    assert dense.mesh.vertices[:, 0].max() > 0.9
    same(sparse, dense)


class Table:
    """A field with a `lattice`, and if wanted an `active`, that flicker in the last bits from cube to cube."""

    def __init__(self, field: Callable[[Tensor], Tensor]) -> None:
        self.field, self.asked = field, 0

    def __call__(self, x: Tensor) -> Tensor:
        return self.field(x)

    def lattice(self, origins: Tensor, size: int, low: Any, spacing: float) -> Tensor:
        steps = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"), dim=-1)
        points = (torch.tensor(low) + spacing * (origins[:, None, None, None] + steps)).float()
        self.asked += len(origins) * size**3
        value = self.field(points.reshape(-1, 3)).reshape(points.shape[:-1])
        return value + 1e-7 * torch.rand(len(origins), 1, 1, 1)


class BoundedTable(Table):
    def active(self, origins: Tensor, cells: int, low: Any, spacing: float, level: float) -> Tensor:
        centre = torch.tensor(low) + spacing * (origins + cells / 2)
        return (self.field(centre.float()) - level).abs() <= 1.1 * spacing * cells * 3**0.5 / 2


@pytest.mark.parametrize("kind", [Table, BoundedTable])
@pytest.mark.parametrize("extraction", ["dense", "coarse_to_fine"])
def test_lattices_are_used_and_give_the_same_surface(kind: type[Table], extraction: Any) -> None:
    def field(x: Tensor) -> Tensor:
        return (x - torch.tensor([0.1, 0.0, 0.05])).norm(dim=1) - 0.8

    table = kind(field)
    ours = Surface(table, LOW, HIGH).mesh(resolution=100, extraction=extraction, normals=False)
    theirs = Surface(field, LOW, HIGH).mesh(resolution=100, extraction="dense", normals=False)
    same(ours, theirs, near=1e-3)
    assert ours.mesh.to_trimesh().is_watertight
    assert table.asked > ours.evaluations / 2


def test_bounds_never_overstate_a_field_of_known_slope(rng: np.random.Generator) -> None:
    axis = np.arange(NODES) / SIDE
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    centre = rng.uniform(-0.5, 1.5, (50, 1, 1, 1, 3))
    truth = (np.linalg.norm(nodes - centre, axis=-1) - rng.uniform(0.1, 1, (50, 1, 1, 1))).astype(np.float32)
    bound = bounds(truth[:, ::2, ::2, ::2], 2 / SIDE)
    sure = bound != 0
    assert (np.sign(bound[sure]) == np.sign(truth[sure])).all()
    assert (np.abs(bound) <= np.abs(truth) + 1e-6).all()
    np.testing.assert_array_equal(bound[:, ::2, ::2, ::2], truth[:, ::2, ::2, ::2])
    crossing = (truth < 0).any(axis=(1, 2, 3)) & (truth >= 0).any(axis=(1, 2, 3))
    assert suspicious(truth[:, ::SIDE, ::SIDE, ::SIDE], 1.0).any(axis=(1, 2, 3))[crossing].all()


def test_nodes_are_written_to_all_blocks_that_share_them() -> None:
    coords = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shape = (8, NODES, NODES, NODES)
    blocks = Blocks((2, 2, 2), coords, np.zeros(shape, np.float32), np.zeros(shape, bool))
    touched = blocks.write(np.array([[8, 8, 8], [3, 8, 5], [1, 1, 1]]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(touched, np.arange(8))
    assert (blocks.values == 1).sum() == 8
    assert (blocks.values == 2).sum() == 2
    assert blocks.values[0, 1, 1, 1] == 3
    assert blocks.known.sum() == 11
