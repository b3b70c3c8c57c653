"""Means and maxima over cells, and weighted sums of rows, against loops; the compiled library where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from recon.geometry.scatter import RowMap, bin_max, scatter_mean

POINTS, CELLS = 60, 12


@pytest.fixture
def cells() -> Tensor:
    return torch.randint(0, CELLS - 2, (POINTS,))  # the last two stay empty


def test_mean_of_each_cell_and_zeros_where_there_is_none(cells: Tensor) -> None:
    x = torch.randn(POINTS, 5)
    mean = scatter_mean(x, cells, CELLS)
    for cell in range(CELLS):
        held = x[cells == cell]
        torch.testing.assert_close(mean[cell], held.mean(dim=0) if len(held) else torch.zeros(5))


def test_maximum_of_each_point_s_cell(cells: Tensor) -> None:
    x = torch.randn(POINTS, 5)
    top = bin_max(x, cells, CELLS)
    for point in range(POINTS):
        torch.testing.assert_close(top[point], x[cells == cells[point]].amax(dim=0))


def test_gradients(cells: Tensor) -> None:
    x = torch.randn(POINTS, 3).requires_grad_()
    ours, theirs = torch.autograd.grad((bin_max(x, cells, CELLS) ** 2).sum(), x)[0], torch.zeros_like(x)
    for cell in cells.unique():
        for channel in range(3):
            members = (cells == cell).nonzero().flatten()
            best = members[x[members, channel].argmax()]
            theirs[best, channel] = 2 * x[best, channel] * len(members)
    torch.testing.assert_close(ours, theirs.detach())
    mean = torch.autograd.grad((scatter_mean(x, cells, CELLS) ** 2).sum(), x)[0]
    count = torch.bincount(cells, minlength=CELLS)[cells, None]
    torch.testing.assert_close(mean, (2 * scatter_mean(x, cells, CELLS)[cells] / count).detach())


def test_equal_points_share_the_gradient_of_a_maximum() -> None:
    x = torch.tensor([[2.0], [2.0], [1.0]]).requires_grad_()
    bin_max(x, torch.zeros(3, dtype=torch.long), 1).sum().backward()
    assert x.grad.flatten().tolist() == [1.5, 1.5, 0]


def test_a_map_of_rows_is_its_matrix_both_ways() -> None:
    outputs, inputs, weights = torch.randint(0, 7, (30,)), torch.randint(0, 9, (30,)), torch.rand(30)
    dense = torch.zeros(7, 9).index_put_((outputs, inputs), weights, accumulate=True)
    x, seen = torch.randn(9, 4).requires_grad_(), torch.randn(7, 4)
    answer = RowMap.of(outputs, inputs, weights, (7, 9))(x)
    torch.testing.assert_close(answer, dense @ x)
    answer.backward(seen)
    torch.testing.assert_close(x.grad, dense.t() @ seen)


@pytest.mark.skipif(find_spec("torch_scatter") is None, reason="torch_scatter is not installed (extra: scatter)")
def test_the_compiled_library_gives_the_same(cells: Tensor) -> None:
    x = torch.randn(POINTS, 5)
    for function in (scatter_mean, bin_max):
        torch.testing.assert_close(function(x, cells, CELLS), function(x, cells, CELLS, "torch_scatter"))
