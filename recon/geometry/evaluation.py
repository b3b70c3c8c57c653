"""Evaluating a surface's field on a grid: in chunks, counted, and with the sign turned so that inside is negative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as made_by

import numpy as np
import torch
from torch import Tensor

from recon.errors import ReconError
from recon.geometry.extraction import Bounded, Composed, Grid, Lattice

Progress = Callable[[int, int], None]
"""Told (evaluations done, evaluations known to be needed so far)."""

CHUNK = {"cpu": 8192}
"""Points in one call: activations of a network of 512 channels then stay in the cache of a core."""

GPU_CHUNK = 1 << 18
BORDER_SAMPLES = 33

FAR_OUTSIDE = np.float32(1e30)
"""Stands for values that are not finite: large, and still safe to subtract."""


@dataclass
class Evaluator:
    """A field with its level set moved to zero and its inside made negative.

    Attributes:
        field: (N, 3) float32 points to (N,) values.
        grid: where the nodes lie.
        level: the value on the surface.
        sign: 1 if smaller values are inside, -1 if larger ones are.
        device: where the field wants its points.
        chunk: points in one call, 0 for a size that suits the device.
        progress: told how far things are, or None.
        seeds: (M, 3) input points, from which regions grow, or None.
        count: evaluations so far.
        broken: values so far that were not finite; they count as outside.
        capped: inside nodes on the border of the grid that were made outside, as where regions grow.
    """

    field: Callable[[Tensor], Tensor]
    grid: Grid
    level: float = 0.0
    sign: float = 1.0
    device: str = "cpu"
    chunk: int = 0
    progress: Progress | None = None
    seeds: np.ndarray | None = None
    count: int = made_by(default=0, init=False)
    broken: int = made_by(default=0, init=False)
    capped: int = made_by(default=0, init=False)

    @property
    def is_lattice(self) -> bool:
        return isinstance(self.field, Lattice)

    @property
    def is_bounded(self) -> bool:
        return isinstance(self.field, Bounded)

    @property
    def _device_type(self) -> str:
        return torch.device(self.device).type

    def nodes(self, nodes: np.ndarray) -> np.ndarray:
        """Values at (N, 3) integer nodes of the grid, (N,) float32, negative inside."""
        return self.at(self.grid.points(nodes))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values at (N, 3) float32 points, (N,) float32, negative inside."""
        return self._turned(self._raw(points))

    def _raw(self, points: np.ndarray) -> np.ndarray:
        """The field's own values at (N, 3) float32 points."""
        wanted = self.field.chunk if isinstance(self.field, Composed) else CHUNK.get(self._device_type, GPU_CHUNK)
        chunk = self.chunk or wanted
        values = np.empty(len(points), dtype=np.float32)
        goal = self.count + len(points)
        with torch.inference_mode():
            for start in range(0, len(points), chunk):
                part = points[start : start + chunk]
                answer = self.field(torch.from_numpy(part).to(self.device))
                values[start : start + chunk] = self._numbers(answer, len(part)).reshape(-1)
                self._counted(len(part), goal)
        return values

    def cubes(self, origins: np.ndarray, size: int, stride: int = 1) -> np.ndarray:
        """Values on cubes of nodes `stride` apart, through the field's own `lattice`.

        Args:
            origins: (n, 3) the lower corners, in strides.
            size: nodes a side.
            stride: distance of neighbouring nodes, in cells of the grid.

        Returns:
            (n, size, size, size) float32, negative inside.
        """
        assert isinstance(self.field, Lattice)
        corners = torch.from_numpy(np.asarray(origins, dtype=np.int64)).to(self.device)
        with torch.inference_mode():
            answer = self.field.lattice(corners, size, self.grid.low, self.grid.spacing * stride)
        count = len(origins) * size**3
        self._counted(count, self.count + count)
        return self._turned(self._numbers(answer, count).reshape(-1, size, size, size))

    def may_hold(self, origins: np.ndarray, cells: int) -> np.ndarray:
        """Which blocks may hold surface, by the field's own `active`; (n,) bool."""
        assert isinstance(self.field, Bounded)
        corners = torch.from_numpy(np.asarray(origins, dtype=np.int64)).to(self.device)
        with torch.inference_mode():
            answer = self.field.active(corners, cells, self.grid.low, self.grid.spacing, self.level)
        return answer.cpu().numpy()

    def find_sign(self, default: float) -> None:
        """Let most of the box's border be outside; `default` decides a draw.

        Infinities vote with their sign, as a field may be infinite wherever it is sure; NaN does not vote.
        """
        axes = [
            np.unique(np.linspace(0, n, min(n + 1, BORDER_SAMPLES)).round().astype(np.int64)) for n in self.grid.cells
        ]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        border = nodes[((nodes == 0) | (nodes == self.grid.cells)).any(axis=1)]
        balance = float(np.nansum(np.sign(self._raw(self.grid.points(border)) - np.float32(self.level))))
        self.sign = float(np.sign(balance)) or default

    def _numbers(self, answer: Tensor, count: int) -> np.ndarray:
        if answer.numel() != count:
            raise ReconError(
                f"A field answered {count} points with values of shape {tuple(answer.shape)}.",
                "A field must give one value a point.",
            )
        return answer.detach().float().cpu().numpy()

    def _turned(self, values: np.ndarray) -> np.ndarray:
        turned = (self.sign * (values - np.float32(self.level))).astype(np.float32, copy=False)
        finite = np.isfinite(turned)
        if not finite.all():
            self.broken += int((~finite).sum())
            turned[~finite] = FAR_OUTSIDE
        return turned

    def _counted(self, number: int, goal: int) -> None:
        self.count += number
        if self.progress is not None:
            self.progress(self.count, max(goal, self.count))
