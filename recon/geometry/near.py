"""Neighbourhoods in packed clouds, in torch: kd-trees on the CPU, brute force in blocks on an accelerator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from recon.geometry.neighbours import knn
from recon.geometry.packed import Counts, counts_of


@dataclass(frozen=True)
class Near:
    """The neighbours of M points.

    Attributes:
        index: (M, k) rows of the packed cloud; of slots that are not `valid` any row.
        square: (M, k) squared distances, ascending; infinite in slots that are not valid.
        valid: (M, k), within the radius; clouds of fewer than k points fill fewer slots.
    """

    index: Tensor
    square: Tensor
    valid: Tensor

    def within(self, radius: Tensor | float) -> Near:
        """Only those as near as `radius`, a number or (M, 1)."""
        valid = self.valid & (self.square <= radius * radius)
        return Near(self.index, torch.where(valid, self.square, torch.inf), valid)

    def first(self, k: int) -> Near:
        """The nearest `k`."""
        return Near(self.index[:, :k], self.square[:, :k], self.valid[:, :k])


class Trees:
    """What is asked of the neighbourhoods of packed clouds; a tree a cloud, built once.

    Args:
        points: (N, 3).
        counts: points a cloud.
        brute: compare all with all instead; by default where there are no trees, on an accelerator.
    """

    def __init__(self, points: Tensor, counts: Counts = None, brute: bool | None = None) -> None:
        self.points, self.counts = points.detach(), counts_of(points, counts)
        self._clouds = self.points.split(self.counts)
        brute = points.device.type != "cpu" if brute is None else brute
        self._trees = None if brute else [_tree(cloud) for cloud in self._clouds]

    def query(self, queries: Tensor, k: int, counts: Counts = None) -> Near:
        """The `k` nearest points of (M, 3) `queries`, cloud by cloud.

        Args:
            queries: packed, as many clouds as there are trees.
            k: neighbours a query.
            counts: queries a cloud.
        """
        asked = queries.detach().split(counts_of(queries, counts))
        start, found = 0, []
        for number, (part, cloud) in enumerate(zip(asked, self._clouds, strict=True)):
            index = self._index(number, part, min(k, len(cloud)))
            missing = k - index.shape[1]
            found.append(torch.nn.functional.pad(index, (0, missing), value=-1 - start) + start)
            start += len(cloud)
        return nearest_first(queries.detach(), self.points, torch.cat(found))

    def around(self, k: int) -> Near:
        """The `k` nearest other points of every point."""
        near = self.query(self.points, k + 1, self.counts)
        return Near(near.index[:, 1:], near.square[:, 1:], near.valid[:, 1:])

    def _index(self, cloud: int, queries: Tensor, k: int) -> Tensor:
        if k == 0 or len(queries) == 0:
            return torch.zeros(len(queries), k, dtype=torch.long, device=queries.device)
        if self._trees is None:
            return knn(queries, self._clouds[cloud], k)[1]
        index = self._trees[cloud].query(queries.numpy(), k=k)[1]
        return torch.from_numpy(np.asarray(index, dtype=np.int64).reshape(len(queries), k))


def nearest_first(queries: Tensor, points: Tensor, index: Tensor) -> Near:
    """Neighbours (M, k) of `queries` among `points`, by distances of the tensors' own precision; -1 is no neighbour."""
    valid = index >= 0
    index = index.clamp(min=0)
    if len(points) == 0:
        return Near(index, torch.full(index.shape, torch.inf, dtype=points.dtype, device=points.device), valid)
    square = (queries[:, None] - points[index]).square().sum(dim=-1)
    square, order = torch.where(valid, square, torch.inf).sort(dim=1, stable=True)
    return Near(index.gather(1, order), square, valid.gather(1, order))


def _tree(cloud: Tensor) -> cKDTree:
    # Points that move a little are searched as fast in a tree that was not balanced, which takes half the time.
    return cKDTree(cloud.numpy(), balanced_tree=False)


def spacing(points: Tensor, counts: Counts = None) -> Tensor:
    """(N,) distance of each point to the nearest other; 0 in a cloud of one."""
    near = Trees(points, counts).around(1)
    return torch.where(near.valid, near.square, 0.0).sqrt()[:, 0]
