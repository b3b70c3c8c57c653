"""Means and maxima of point features over the cells of a grid, and weighted sums of rows as one sparse linear map.

Rows are features of points or of cells, (rows, C) and contiguous; an integer index says which cell a point is in.
Maxima and sums come from torch alone; the compiled `torch_scatter` may serve instead, and is held equal by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from recon.errors import need

Backend = Literal["native", "torch_scatter"]


@dataclass(frozen=True)
class Bags:
    """The rows of a sparse matrix: output row r is the sum of ``weights[e] * x[sources[e]]`` over its entries e.

    Attributes:
        sources: (E,) the input row of each entry; entries of the same output row follow each other.
        offsets: (rows,) the first entry of each output row.
        weights: (E,) float.
    """

    sources: Tensor
    offsets: Tensor
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """(inputs, C) to (rows, C)."""
        return F.embedding_bag(self.sources, x, self.offsets, mode="sum", per_sample_weights=self.weights.to(x.dtype))


@dataclass(frozen=True)
class RowMap:
    """A sparse linear map of rows and its transpose, both ready for use, so that neither pass adds atomically.

    Attributes:
        forward: from inputs to outputs.
        backward: from outputs to inputs.
    """

    forward: Bags
    backward: Bags

    @classmethod
    def of(cls, outputs: Tensor, inputs: Tensor, weights: Tensor, shape: tuple[int, int]) -> RowMap:
        """The map with these entries.

        Args:
            outputs: (E,) int64 row of each entry.
            inputs: (E,) int64 column of each entry.
            weights: (E,) float.
            shape: numbers of output and input rows.
        """
        return cls(_bags(outputs, inputs, weights, shape[0]), _bags(inputs, outputs, weights, shape[1]))

    def __call__(self, x: Tensor) -> Tensor:
        """(inputs, C) to (outputs, C), differentiable by `x`."""
        return _Apply.apply(x, self)


def _bags(rows: Tensor, columns: Tensor, weights: Tensor, count: int) -> Bags:
    counts = torch.bincount(rows, minlength=count)
    offsets = counts.cumsum(0) - counts
    if bool((rows[1:] >= rows[:-1]).all()):
        return Bags(columns, offsets, weights)
    order = rows.argsort(stable=True)
    return Bags(columns[order], offsets, weights[order])


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: RowMap) -> Tensor:
        ctx.rows = rows
        return rows.forward(x.contiguous())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.rows.backward(grad.contiguous()), None


def mean_map(cells: Tensor, count: int) -> RowMap:
    """The map from points to the mean of each cell's points; empty cells get zeros.

    Args:
        cells: (G, N) the cell of each point in each of G grids; ids of different grids differ.
        count: number of cells in all.
    """
    flat = cells.reshape(-1)
    points = torch.arange(cells.shape[1], device=cells.device).expand_as(cells).reshape(-1)
    share = 1.0 / torch.bincount(flat, minlength=count).clamp(min=1).float()
    return RowMap.of(flat, points, share[flat], (count, cells.shape[1]))


def scatter_mean(x: Tensor, cells: Tensor, count: int, backend: Backend = "native") -> Tensor:
    """Mean of the rows of each cell, zero where there are none.

    Args:
        x: (N, C).
        cells: (N,) int64 in [0, count).
        count: number of cells.
        backend: ``"torch_scatter"`` uses the compiled library, if it is installed.

    Returns:
        (count, C).
    """
    if backend == "torch_scatter":
        return need("torch_scatter", "scatter").scatter_mean(x, cells, dim=0, dim_size=count)
    return mean_map(cells[None], count)(x)


def bin_max(x: Tensor, cells: Tensor, count: int, backend: Backend = "native") -> Tensor:
    """For each point the maximum over the points of its cell, channel by channel.

    Where several points attain it, the gradient is split evenly among them.

    Args:
        x: (N, C).
        cells: (N,) int64 in [0, count).
        count: number of cells.
        backend: as in `scatter_mean`; there one of the points gets the whole gradient.

    Returns:
        (N, C).
    """
    if backend == "torch_scatter":
        return need("torch_scatter", "scatter").scatter_max(x, cells, dim=0, dim_size=count)[0][cells]
    return _BinMax.apply(x, cells, count)


class _BinMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cells: Tensor, count: int) -> Tensor:
        index = cells[:, None].expand_as(x)
        top = x.new_full((count, x.shape[1]), -torch.inf).scatter_reduce_(0, index, x, "amax")
        answer = top.index_select(0, cells)
        ctx.save_for_backward(answer == x, cells)
        ctx.count = count
        return answer

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        attained, cells = ctx.saved_tensors
        index = cells[:, None].expand_as(grad)
        mask, size = attained.to(grad.dtype), (ctx.count, grad.shape[1])
        summed = grad.new_zeros(size).scatter_add_(0, index, grad.contiguous()).index_select(0, cells)
        ties = grad.new_zeros(size).scatter_add_(0, index, mask).index_select(0, cells)
        return summed.mul_(mask).div_(ties), None, None
