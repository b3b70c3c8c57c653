"""Joining patches of a mesh: vertices on the same edge of the grid become one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recon.geometry.marching import Patch


@dataclass
class Welder:
    """Collects patches and joins their common vertices."""

    patches: list[Patch] = field(default_factory=list)

    def add(self, patch: Patch) -> None:
        """Take the triangles of one patch."""
        self.patches.append(patch)

    def join(self) -> tuple[np.ndarray, np.ndarray]:
        """(V, 3) float64 vertices in cells and (F, 3) int64 faces; vertices on the same grid edge become one.

        The patches are used up, so that at no time two copies of everything are held.
        """
        start = np.cumsum([0] + [len(p.vertices) for p in self.patches])
        if not start[-1]:
            return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
        border = np.concatenate([p.border + s for p, s in zip(self.patches, start, strict=False)])
        _, first, same = np.unique(
            np.concatenate([p.keys for p in self.patches]), return_index=True, return_inverse=True
        )
        keep = np.ones(start[-1], dtype=bool)
        keep[border] = False
        keep[border[first]] = True
        number = np.cumsum(keep) - 1
        number[border] = number[border[first]][same]
        faces = np.empty((sum(len(p.faces) for p in self.patches), 3), dtype=np.int64)
        vertices = np.empty((np.count_nonzero(keep), 3))
        filled = 0
        for index, patch in enumerate(self.patches):
            own = slice(start[index], start[index + 1])
            vertices[number[own][keep[own]]] = patch.vertices[keep[own]]
            faces[filled : filled + len(patch.faces)] = number[own].take(patch.faces)
            filled += len(patch.faces)
        self.patches.clear()
        return vertices, faces
