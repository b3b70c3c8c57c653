"""Marching a whole grid, a slab at a time, so that memory stays bounded at any resolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recon.geometry.evaluation import Evaluator

SLAB = 1 << 20
"""Nodes in a slab, about: 4 MB of values."""


def slabs(evaluator: Evaluator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All nodes of the grid, each evaluated once.

    Yields:
        (1, X, Y, Z) values negative inside, and (1, 3) the slab's first node; consecutive slabs share a plane.
    """
    x, y, z = (n + 1 for n in evaluator.grid.cells)
    thickness = max(1, SLAB // (y * z))
    last = np.empty((0, y, z), dtype=np.float32)
    for start in range(0, x, thickness):
        planes = np.arange(start, min(start + thickness, x))
        axes = [planes, np.arange(y), np.arange(z)]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        values = np.concatenate([last, evaluator.nodes(nodes).reshape(len(planes), y, z)])
        if len(values) > 1:
            yield values[None], np.array([[start - len(last), 0, 0]])
        last = values[-1:]
