"""Nearest neighbours of points, and what follows from their distances: spacing, density, area per point."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

SPACING_K = 6


class Neighbours:
    """One kd-tree over a cloud, for every question about its neighbourhoods.

    Args:
        points: (N, 3) coordinates, in any unit.
        workers: threads of a query (-1: all cores).
    """

    def __init__(self, points: np.ndarray, workers: int = 1) -> None:
        self.points = np.ascontiguousarray(points, dtype=np.float64)
        self.tree = cKDTree(self.points)
        self.workers = workers
        self._distance = np.zeros((len(self.points), 0))
        self._index = np.zeros((len(self.points), 0), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.points)

    def query(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest points of every point, itself first; a larger earlier answer is reused.

        Args:
            k: neighbours a point; clouds with fewer points give all they have.

        Returns:
            Distances (N, k) float64, ascending, and indices (N, k) int64.
        """
        k = min(k, len(self))
        if k > self._index.shape[1]:
            self._distance, self._index = self.of(self.points, k)
        return self._distance[:, :k], self._index[:, :k]

    def of(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest points of each of (M, 3) `queries`: distances and indices, both (M, k)."""
        k = min(k, len(self))
        distance, index = self.tree.query(queries, k=k, workers=self.workers)
        return distance.reshape(len(queries), k), index.reshape(len(queries), k)

    def spacing(self) -> float:
        """The length of a point's share of the surface: sqrt of the median area per point."""
        return float(np.sqrt(np.median(self.areas())))

    def density(self, k: int = SPACING_K) -> np.ndarray:
        """(N,) points per unit of surface, from the disc that the k-th neighbour spans."""
        return 1.0 / self.areas(k)

    def areas(self, k: int = SPACING_K, smooth: int = 0) -> np.ndarray:
        """(N,) surface area that each point stands for.

        The disc through the k-th neighbour holds k points in its inside and on its rim, so its area over k is that
        of one point. Under noise outliers would gain weight; then average over more neighbours.

        Args:
            k: neighbours that span the disc.
            smooth: neighbours whose areas are averaged (geometric mean), or 0.
        """
        distance, index = self.query(max(k + 1, smooth))
        k = min(k, distance.shape[1] - 1)
        area = np.pi * distance[:, k] ** 2 / k
        positive = area[area > 0]
        area = np.maximum(area, positive.min() if len(positive) else 1.0)  # repeated points
        if smooth > 1:
            area = np.exp(np.log(area)[index[:, :smooth]].mean(axis=1))
        return area


def knn(queries: Tensor, points: Tensor, k: int, chunk: int = 1 << 24) -> tuple[Tensor, Tensor]:
    """Nearest neighbours by brute force in torch, for tensors that live on an accelerator.

    Args:
        queries: (M, 3).
        points: (N, 3), same device and type.
        k: neighbours a query, at most N.
        chunk: entries of the distance matrix held at once; bounds the memory.

    Returns:
        Distances (M, k), ascending, and indices (M, k) into `points`.
    """
    k = min(k, len(points))
    rows = max(1, chunk // max(1, len(points)))
    found = [_nearest(block, points, k) for block in queries.split(rows)]
    if not found:
        return queries.new_zeros(0, k), torch.zeros(0, k, dtype=torch.long, device=queries.device)
    return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])


def _nearest(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    # The product form of the distance would lose half of the digits for near points.
    distance = torch.cdist(queries, points, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.topk(distance, k, dim=1, largest=False, sorted=True)
