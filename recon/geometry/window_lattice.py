"""Overlapping cubes over a scene, the weights that blend them, and the points in each.

Lengths are in windows: each cube has side 1, and its neighbour starts ``1 - overlap`` further on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from recon.errors import ConfigError
from recon.geometry.voxels import CORNERS

BATCH = 1 << 20
"""Points looked at in one go."""


@dataclass(frozen=True)
class WindowLattice:
    """A lattice of overlapping unit cubes.

    Attributes:
        start: (3,) lower corner of the first window.
        shape: windows along x, y, z.
        overlap: share of its side that a window has in common with the next, in (0, 0.5].
    """

    start: tuple[float, float, float]
    shape: tuple[int, int, int]
    overlap: float

    @classmethod
    def over(cls, low: np.ndarray, high: np.ndarray, overlap: float) -> WindowLattice:
        """The fewest windows that cover a box, centred on it.

        Raises:
            ConfigError: if the overlap is not in (0, 0.5].
        """
        if not 0 < overlap <= 0.5:
            raise ConfigError(f"overlap={overlap}: it is a share of a window's side.", "Give a number in (0, 0.5].")
        stride = 1 - overlap
        count = 1 + np.maximum(np.ceil((high - low - 1) / stride - 1e-9), 0).astype(np.int64)
        start = (low + high) / 2 - ((count - 1) * stride + 1) / 2
        x, y, z = start.tolist()
        nx, ny, nz = count.tolist()
        return cls((x, y, z), (nx, ny, nz), overlap)

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    @property
    def stride(self) -> float:
        return 1 - self.overlap

    def centres(self, places: np.ndarray) -> np.ndarray:
        """(N, 3) places in the lattice to (N, 3) centres."""
        return np.asarray(self.start) + places * self.stride + 0.5

    def covering(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The windows that hold each of (N, 3) points, eight at most, and their weights, which add up to one.

        Along each axis a weight is 1 where a window is alone and falls to 0 across the overlap as the cubic smooth
        step does, so that what is blended with them has no seams: values and slopes are continuous. Beyond the
        outermost windows these keep weight 1.

        Returns:
            (P,) rows of points, (P,) numbers ``(x * ny + y) * nz + z`` of windows, (P,) weights, none of them 0.
        """
        first, share = self._along(points)
        rows, windows, weights = [], [], []
        for corner in CORNERS.tolist():
            weight = points.new_ones(len(points))
            window = torch.zeros(len(points), dtype=torch.int64, device=points.device)
            for axis, next_one in enumerate(corner):
                weight = weight * (share[:, axis] if next_one else 1 - share[:, axis])
                window = window * self.shape[axis] + first[:, axis] + next_one
            held = torch.nonzero(weight > 0)[:, 0]
            rows.append(held)
            windows.append(window[held])
            weights.append(weight[held])
        return torch.cat(rows), torch.cat(windows), torch.cat(weights)

    def _along(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """For each axis the last window whose overlap with the one before is passed, and the weight of the next."""
        ahead = (points - points.new_tensor(self.start)) / self.stride
        last = torch.tensor(self.shape, device=points.device) - 1
        first = torch.minimum((ahead.floor().long() - 1).clamp(min=0), last)
        share = ((ahead - first - 1) * (self.stride / self.overlap)).clamp(0, 1)
        passed = (share == 1) & (first < last)
        first, share = first + passed, torch.where(passed | (first == last), 0, share)
        return first, share * share * (3 - 2 * share)

    def occupied(self, points: np.ndarray) -> np.ndarray:
        """(X, Y, Z) how many of (N, 3) points lie in each window."""
        counts = np.zeros(len(self), dtype=np.int64)
        for begin in range(0, len(points), BATCH):
            _, windows, _ = self.covering(torch.from_numpy(points[begin : begin + BATCH]))
            counts += np.bincount(windows.numpy(), minlength=len(self))
        return counts.reshape(self.shape)


class WindowCloud:
    """Points sorted so that those of a window are found at once.

    Args:
        lattice: of the windows.
        points: (N, 3) float32.
        context: how far beyond a window points still belong to it, less than 0.5.
    """

    def __init__(self, lattice: WindowLattice, points: np.ndarray, context: float) -> None:
        self.lattice, self.context = lattice, context
        self._shape = np.array(lattice.shape) + 3
        bucket = np.floor((points - np.asarray(lattice.start)) / lattice.stride).astype(np.int64) + 1
        bucket = np.clip(bucket, 0, self._shape - 1)
        key = (bucket[:, 0] * self._shape[1] + bucket[:, 1]) * self._shape[2] + bucket[:, 2]
        order = np.argsort(key, kind="stable")
        self.points = points[order]
        self._ends = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=int(self._shape.prod())))])

    def within(self, place: np.ndarray) -> np.ndarray:
        """(M, 3) the points in the window at a place of the lattice and in its context, relative to its centre."""
        reach = 1 + int((1 + self.context) / self.lattice.stride)
        x, y, z = np.minimum(place + reach, self._shape - 1)
        parts = []
        for i, j in product(range(place[0], x + 1), range(place[1], y + 1)):
            line = (i * self._shape[1] + j) * self._shape[2]
            parts.append(self.points[self._ends[line + place[2]] : self._ends[line + z + 1]])
        local = np.concatenate(parts) - self.lattice.centres(place).astype(np.float32)
        return local[(np.abs(local) <= 0.5 + self.context).all(axis=1)]
