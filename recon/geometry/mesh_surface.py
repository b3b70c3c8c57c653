"""`MeshSurface`: the result of a method that makes triangles itself, behind the same `mesh` as a field's `Surface`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recon.geometry import cleanup
from recon.geometry.evaluation import Progress
from recon.geometry.surface import Extraction, MeshOptions, kept_faces, without_support
from recon.io.types import Mesh


@dataclass(frozen=True)
class MeshSurface:
    """A finished mesh; of the options of `MeshOptions` only those that need no field apply.

    Attributes:
        triangles: in world coordinates.
        support: (M, 3) input points in world coordinates, used for trimming, or None.
    """

    triangles: Mesh
    support: np.ndarray | None = None

    def mesh(
        self, options: MeshOptions | None = None, *, progress: Progress | None = None, **changes: Any
    ) -> Extraction:
        """The mesh with components dropped, far faces trimmed and faces merged as the options say.

        Args:
            options: how; None for the defaults.
            progress: never called, for nothing is evaluated.
            changes: single options, e.g. ``largest_component=True``.
        """
        options = replace(options or MeshOptions(), **changes)
        vertices, faces = self.triangles.vertices, self.triangles.faces
        count, labels = cleanup.components(faces, len(vertices))
        if not count:
            return Extraction(Mesh.empty(), 0, warnings=("The method made no surface.",))
        kept = kept_faces(vertices, faces, labels, self.support, options)
        if not kept.any():
            left = (
                "Nothing is left of the surface after trimming (mesh.trim) and dropping components. The mesh is empty."
            )
            return Extraction(Mesh.empty(), 0, count, warnings=(left,))
        said = without_support(options) if self.support is None else ()
        return Extraction(self._cut(kept, options), 0, count, warnings=said)

    def _cut(self, kept: np.ndarray, options: MeshOptions) -> Mesh:
        """The kept faces, simplified if asked; normals and colours go where vertices change."""
        whole = self.triangles
        used = np.zeros(len(whole.vertices), dtype=bool)
        used[whole.faces[kept].reshape(-1)] = True
        vertices, faces = cleanup.keep_faces(whole.vertices, whole.faces, kept)
        if 0 < options.faces < len(faces):
            return Mesh(*cleanup.simplify(vertices, faces, options.faces))
        normals = whole.normals[used] if options.normals and whole.normals is not None else None
        colors = whole.colors[used] if options.color and whole.colors is not None else None
        return Mesh(vertices, faces, normals, colors)
