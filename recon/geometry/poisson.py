"""Spectral Poisson reconstruction: the indicator function whose gradient fits oriented points, by three FFTs.

Source: Peng et al. 2021, "Shape As Points: A Differentiable Poisson Solver", section 3.1. The normals, each times the
area it stands for, are splatted onto a periodic grid as V; the indicator chi (1 inside) then solves
``laplace(chi) = -div V``, which in Fourier space is one division. Everything is differentiable, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

Corner = tuple[float, float, float]
CORNERS = tuple(product((0, 1), repeat=3))


@dataclass(frozen=True)
class Lattice3:
    """A periodic cubic grid of nodes.

    Attributes:
        low: position of node 0, the same along every axis.
        cell: distance of neighbouring nodes.
        resolution: nodes along an axis; node `resolution` is node 0 again.
    """

    low: float
    cell: float
    resolution: int

    @classmethod
    def about(cls, half: float, resolution: int) -> Lattice3:
        """The grid over the cube of side ``2 * half`` about the origin."""
        return cls(-half, 2 * half / resolution, resolution)

    def corners(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Flat numbers (8, N) and trilinear weights (8, N) of the nodes about (N, 3) points."""
        scaled = (points - self.low) / self.cell
        base = scaled.floor()
        t = scaled - base
        size, base = self.resolution, base.long()
        near = torch.stack((base, base + 1)) % size
        share = torch.stack((1 - t, t))
        keys = [(near[i, :, 0] * size + near[j, :, 1]) * size + near[k, :, 2] for i, j, k in CORNERS]
        weights = [share[i, :, 0] * share[j, :, 1] * share[k, :, 2] for i, j, k in CORNERS]
        return torch.stack(keys), torch.stack(weights)

    def splat(self, keys: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """(N,) values spread over the nodes of `corners`, as a density: (R, R, R) that integrates to their sum."""
        size = self.resolution
        grid = values.new_zeros(size**3)
        grid = grid.index_add(0, keys.flatten(), (weights * values).flatten())
        return grid.view(size, size, size) / self.cell**3

    def waves(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Angular wave numbers of derivatives along the axes of `rfftn`, broadcastable; 0 at the Nyquist frequency."""
        x, y, z = self._frequencies(device)
        if self.resolution % 2 == 0:  # that wave is sampled at its extremes, where its derivative is 0
            x[self.resolution // 2] = y[:, self.resolution // 2] = z[:, :, -1] = 0
        return x, y, z

    def square(self, device: torch.device) -> Tensor:
        """The squared length of the wave vectors of `rfftn`, the Nyquist frequency included."""
        x, y, z = self._frequencies(device)
        return x**2 + y**2 + z**2

    def _frequencies(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        full = 2 * torch.pi * torch.fft.fftfreq(self.resolution, self.cell, device=device)
        half = 2 * torch.pi * torch.fft.rfftfreq(self.resolution, self.cell, device=device)
        return full[:, None, None].clone(), full[None, :, None].clone(), half[None, None, :]


class GridField:
    """A periodic grid of values as a field: trilinear between nodes, exact on them.

    Args:
        grid: where the nodes are.
        values: (R, R, R) float32.
    """

    def __init__(self, grid: Lattice3, values: Tensor) -> None:
        self.grid, self.values = grid, values

    @property
    def low(self) -> Corner:
        """Lower corner of the box."""
        return (self.grid.low,) * 3

    @property
    def high(self) -> Corner:
        """Upper corner of the box, where the first nodes come again."""
        return (self.grid.low + self.grid.cell * self.grid.resolution,) * 3

    def __call__(self, points: Tensor) -> Tensor:
        """(N, 3) points to (N,) values."""
        keys, weights = self.grid.corners(points)
        return (self.values.flatten()[keys] * weights).sum(dim=0)

    def lattice(self, origins: Tensor, size: int, low: Corner, spacing: float) -> Tensor:
        """Values on cubes of nodes (see `recon.geometry.extraction.Lattice`); the grid's own where they coincide.

        Args:
            origins: (n, 3) int64, the node at the lower corner of each cube.
            size: nodes a side.
            low: position of node (0, 0, 0).
            spacing: distance of neighbouring nodes.

        Returns:
            (n, size, size, size).
        """
        steps = torch.arange(size, device=origins.device)
        nodes = origins[:, None, :] + steps[None, :, None]
        start = torch.tensor(low, dtype=torch.float64, device=origins.device)
        scaled = (start + spacing * nodes.double() - self.grid.low) / self.grid.cell
        nearest = scaled.round()
        if bool(((scaled - nearest).abs() < 1e-4).all()):
            x, y, z = (nearest.long() % self.grid.resolution).unbind(dim=2)
            rows = x[:, :, None] * self.grid.resolution + y[:, None, :]
            return torch.take(self.values, rows[:, :, :, None] * self.grid.resolution + z[:, None, None, :])
        return self._separable(scaled)

    def _separable(self, scaled: Tensor) -> Tensor:
        """Trilinear values on the products of (n, size, 3) positions in cells."""
        base = scaled.floor()
        share = (scaled - base).to(self.values.dtype)
        result: Tensor | float = 0.0
        for corner in CORNERS:
            x, y, z = ((base[:, :, a].long() + corner[a]) % self.grid.resolution for a in range(3))
            u, v, w = (share[:, :, a] if corner[a] else 1 - share[:, :, a] for a in range(3))
            weight = u[:, :, None, None] * v[:, None, :, None] * w[:, None, None, :]
            result = result + weight * self.values[x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]]
        return result  # type: ignore[return-value]

    def gradient(self, points: Tensor) -> Tensor:
        """(N, 3) points to the (N, 3) gradient, by central differences over two cells."""
        steps = self.grid.cell * torch.eye(3, dtype=points.dtype, device=points.device)
        return torch.stack([self(points + step) - self(points - step) for step in steps], dim=1) / (2 * self.grid.cell)


def solve_poisson(
    points: Tensor, normals: Tensor, areas: Tensor, resolution: int = 256, smoothing: float = 0.0, half: float = 1.2
) -> GridField:
    """The field of oriented points: level minus indicator, so that it is negative inside and 0 on the surface.

    Args:
        points: (N, 3) float32 within the cube of side ``2 * half`` about the origin.
        normals: (N, 3) outward unit normals.
        areas: (N,) surface that each point stands for; they set how much a point counts, and make the field jump by 1.
        resolution: nodes along an axis.
        smoothing: deviation of a Gaussian, in units of length; half a cell suffices, more shrinks the surface.
        half: half the side of the box; its images must not touch, so leave a margin about the points.

    Returns:
        The field; its level is the area-weighted mean of the indicator over the points.
    """
    grid = Lattice3.about(half, resolution)
    keys, weights = grid.corners(points)
    waves = grid.waves(points.device)
    flux = _divergence(grid, keys, weights, normals * areas[:, None], waves)
    chi = torch.fft.irfftn(flux * _kernel(grid.square(points.device), smoothing), s=(resolution,) * 3)
    at_points = (chi.flatten()[keys] * weights).sum(dim=0)
    level = (at_points * areas).sum() / areas.sum()
    return GridField(grid, level - chi)


def _divergence(
    grid: Lattice3, keys: Tensor, weights: Tensor, vectors: Tensor, waves: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """The Fourier transform of div V, for vectors splatted at `keys`; one component at a time, to bound the memory."""
    total: Tensor | float = 0.0
    for axis, wave in enumerate(waves):
        total = total + torch.fft.rfftn(grid.splat(keys, weights, vectors[:, axis])) * (1j * wave)
    return total  # type: ignore[return-value]


def _kernel(square: Tensor, smoothing: float) -> Tensor:
    """The Green's function of the Laplacian times a Gaussian, in Fourier space; the mean is left at 0."""
    kernel = torch.exp(square * (-0.5 * smoothing**2)) / square.clamp_min(1e-12)
    return torch.where(square > 0, kernel, torch.zeros_like(kernel))
