"""The terms of the smoothing-spline energy as matrix-free operators on one level of coefficients.

Every term is a weighted sum of squares ``sum_r w_r ((J c)_r - b_r)^2`` over linear functionals of the coefficients c,
and offers what a conjugate-gradient solver asks for: the product ``J' W J c``, its diagonal and ``J' W b``. Gathers and
scatters over fixed index tables replace assembled matrices: at 256^3 assembling alone cost as much as solving.

Vectors have M + 1 entries, the last of which is a dummy that stands for coefficients that are not stored: always 0.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from recon.geometry.bspline import Level, stencil


class Term(Protocol):
    """A weighted sum of squares of linear functionals."""

    def product(self, vector: Tensor) -> Tensor:
        """``J' W J`` times a vector."""

    def diagonal(self) -> Tensor:
        """The diagonal of ``J' W J``."""

    def right(self) -> Tensor:
        """``J' W b``."""


class PointTerm:
    """``sum_i p_i (f(x_i) - y_i)^2 + q_i |grad f(x_i) - n_i|^2``.

    Args:
        level: the level whose coefficients are sought.
        points: (N, 3).
        normals: (N, 3) targets of the gradient.
        position: (N,) weights p, one over length: area / trust length^2.
        direction: (N,) weights q: areas.
        values: (N,) targets y of the value, or None for 0.
    """

    def __init__(
        self,
        level: Level,
        points: Tensor,
        normals: Tensor,
        position: Tensor,
        direction: Tensor,
        values: Tensor | None = None,
    ) -> None:
        cells, t = level.grid.locate(points)
        self.size = len(level.values)
        self.slots = level.around(cells)
        self.flat = self.slots.flatten()
        self.rows = stencil(t, level.grid.cell)
        zeros = normals.new_zeros(len(normals), 1)
        self.targets = torch.cat((zeros if values is None else values[:, None], normals), dim=1)
        self.weigh(position, direction)

    def weigh(self, position: Tensor, direction: Tensor) -> None:
        """Replace the weights, for re-weighting."""
        self.weights = torch.stack((position, direction, direction, direction), dim=1)

    def jet(self, vector: Tensor) -> Tensor:
        """Values and gradients at the points: (N, 4)."""
        gathered = vector.index_select(0, self.flat).view(self.slots.shape)
        return torch.einsum("nkj,nj->nk", self.rows, gathered)

    def product(self, vector: Tensor) -> Tensor:
        return self._scatter(combined(self.rows, self.weights * self.jet(vector)))

    def diagonal(self) -> Tensor:
        return self._scatter(combined(self.rows**2, self.weights))

    def right(self) -> Tensor:
        return self._scatter(combined(self.rows, self.weights * self.targets))

    def _scatter(self, contributions: Tensor) -> Tensor:
        out = self.rows.new_zeros(self.size)
        out.index_add_(0, self.flat, contributions.reshape(-1))
        out[-1] = 0
        return out


def combined(rows: Tensor, weights: Tensor) -> Tensor:
    """(N, K, J) rows and (N, K) weights to their (N, J) sums over K; an einsum takes four times as long."""
    out = rows[:, 0] * weights[:, :1]
    for k in range(1, rows.shape[1]):
        out.addcmul_(rows[:, k], weights[:, k : k + 1])
    return out


class Adjacency:
    """Slots of the six face neighbours of every stored coefficient, and of the dummy (its own).

    Attributes:
        plus, minus: three (M + 1,) int32 tables each; M where the neighbour is not stored.
        inner: (M + 1,) 1 where all six are stored, else 0.
    """

    def __init__(self, level: Level) -> None:
        cells = level.grid.cells(level.keys)
        self.plus, self.minus = [], []
        for axis in range(3):
            step = torch.zeros(3, dtype=torch.long, device=cells.device)
            step[axis] = 1
            last = level.grid.shape[axis] - 1
            self.plus.append(_neighbour(level, cells, step, cells[:, axis] < last))
            self.minus.append(_neighbour(level, cells, -step, cells[:, axis] > 0))
        absent = torch.stack(self.plus + self.minus) == level.size
        self.inner = (~absent.any(dim=0)).to(level.values.dtype)


def _neighbour(level: Level, cells: Tensor, step: Tensor, inside: Tensor) -> Tensor:
    found = level.slots[level.grid.keys(torch.where(inside[:, None], cells + step, cells))]
    found = torch.where(inside, found, level.size).to(torch.int32)
    return torch.cat((found, found.new_full((1,), level.size)))


class CurvatureTerm:
    """``s int h |Hess f|^2``: the thin-plate energy, of weight h in every cell.

    Second differences of the coefficients stand for second derivatives: pure ones in the cells, mixed ones on their
    edges, which keeps linear fields (and no others) free of charge and is exact to O(cell^2).

    Args:
        level: the level whose coefficients are sought.
        near: its neighbour tables.
        strength: s, a length.
        weights: (M + 1,) h, or None for 1.
    """

    def __init__(self, level: Level, near: Adjacency, strength: float, weights: Tensor | None = None) -> None:
        self.near, self.size = near, level.size
        ones = torch.ones_like(level.values)
        ones[-1] = 0
        # cell volume times (1 / cell^2)^2.
        self.weight = strength / level.grid.cell * (ones if weights is None else weights * ones)
        self.cell = level.grid.cell
        self.pure = [self._present(ones, p, m) for p, m in zip(near.plus, near.minus, strict=True)]
        self.mixed = [self._corners(ones, i, j) for i, j in PAIRS]

    def _present(self, ones: Tensor, plus: Tensor, minus: Tensor) -> Tensor:
        return self.weight * ones[plus] * ones[minus]

    def _corners(self, ones: Tensor, i: int, j: int) -> Tensor:
        plus = self.near.plus
        both = ones[plus[i]] * ones[plus[j]] * ones[plus[j]][plus[i]]
        return 2 * self.weight * both

    def product(self, vector: Tensor) -> Tensor:
        plus, minus = self.near.plus, self.near.minus
        ahead = [vector.index_select(0, plus[a]).sub_(vector) for a in range(3)]
        out = torch.zeros_like(vector)
        for a in range(3):
            bent = ahead[a] - ahead[a].index_select(0, minus[a])
            bent.mul_(self.pure[a])
            out += bent.index_select(0, plus[a]).add_(bent.index_select(0, minus[a])).sub_(bent, alpha=2)
        for weight, (i, j) in zip(self.mixed, PAIRS, strict=True):
            twist = ahead[i].index_select(0, plus[j]).sub_(ahead[i]).mul_(weight)
            back = twist.index_select(0, minus[j]).sub_(twist)
            out += back.index_select(0, minus[i]).sub_(back)
        out[-1] = 0
        return out

    def diagonal(self) -> Tensor:
        plus, minus = self.near.plus, self.near.minus
        out = torch.zeros_like(self.weight)
        for a in range(3):
            out += 4 * self.pure[a] + self.pure[a][plus[a]] + self.pure[a][minus[a]]
        for weight, (i, j) in zip(self.mixed, PAIRS, strict=True):
            edge = weight + weight[minus[j]]
            out += edge + edge[minus[i]]
        out[-1] = 0
        return out

    def right(self) -> Tensor:
        return torch.zeros_like(self.weight)

    def bending(self, vector: Tensor) -> Tensor:
        """(M + 1,) Frobenius norms of the Hessian in every cell, for re-weighting."""
        plus, minus = self.near.plus, self.near.minus
        ahead = [vector.index_select(0, plus[a]).sub_(vector) for a in range(3)]
        total = torch.zeros_like(vector)
        for a in range(3):
            total += (ahead[a] - ahead[a].index_select(0, minus[a])).mul_(self.pure[a] > 0).square_()
        for weight, (i, j) in zip(self.mixed, PAIRS, strict=True):
            total += 2 * (ahead[i].index_select(0, plus[j]) - ahead[i]).mul_(weight > 0).square_()
        return total.sqrt_() / self.cell**2


PAIRS = ((0, 1), (0, 2), (1, 2))


class EikonalTerm:
    """``s int m^2 |grad f - d|^2`` with d the direction of the last field's gradient and m = min(|its gradient|, 1).

    It majorises ``(|grad f| - 1)^2`` (for |x| >= x.d); the weight m keeps it quiet where the direction is not known.
    Gradients are differences of neighbouring coefficients, with d and m averaged over the two cells.

    Args:
        level: the level, whose `values` are the last field.
        near: its neighbour tables.
        strength: s, without unit.
        weights: (M + 1,) 0 for cells that a finer level covers, else 1.
    """

    def __init__(self, level: Level, near: Adjacency, strength: float, weights: Tensor) -> None:
        self.near, cell, last = near, level.grid.cell, level.values
        slopes = [(last[p] - last[m]) / (2 * cell) for p, m in zip(near.plus, near.minus, strict=True)]
        norm = torch.stack(slopes).norm(dim=0).clamp_min_(1e-6)
        trust = strength * cell * norm.clamp_max(1).square() * near.inner * weights
        self.weights, self.targets = [], []
        for slope, plus in zip(slopes, near.plus, strict=True):
            unit = slope / norm
            both = near.inner * near.inner[plus]
            self.weights.append(0.5 * (trust + trust[plus]) * both)
            self.targets.append(0.5 * cell * (unit + unit[plus]))

    def product(self, vector: Tensor) -> Tensor:
        out = torch.zeros_like(vector)
        for weight, plus, minus in zip(self.weights, self.near.plus, self.near.minus, strict=True):
            flux = vector.index_select(0, plus).sub_(vector).mul_(weight)
            out += flux.index_select(0, minus).sub_(flux)
        return out

    def diagonal(self) -> Tensor:
        return sum((w + w[m] for w, m in zip(self.weights, self.near.minus, strict=True)), torch.zeros(()))

    def right(self) -> Tensor:
        out = torch.zeros_like(self.weights[0])
        for weight, target, minus in zip(self.weights, self.targets, self.near.minus, strict=True):
            flux = weight * target
            out += flux.index_select(0, minus).sub_(flux)
        return out
