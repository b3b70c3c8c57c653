"""A file becomes an observation: what datasets of scans on disk share."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from recon.data.base import ReconDataModule
from recon.data.loading import Split
from recon.geometry.sampling import sample_surface
from recon.io.meshes import OnBad, read_geometry
from recon.io.types import Mesh
from recon.observations import OrientedPoints, Points, Scene, Truth

log = logging.getLogger("recon")


class Scans(ReconDataModule):
    """Scenes that are files; the latest is kept, for a task asks for it more than once."""

    _latest: tuple[str, Scene] | None = None

    @property
    def gives(self) -> tuple[type, ...]:
        """Points, with normals if the first scan has them."""
        first = self.load(self.selected()[0]).observation
        return (OrientedPoints, Points) if isinstance(first, OrientedPoints) else (Points,)

    def load(self, name: str, split: Split = "test") -> Scene:
        """One scan in its own coordinates, and the truth if it is known."""
        if self._latest is None or self._latest[0] != name:
            self._latest = (name, self.read(name))
        return self._latest[1]

    def read(self, name: str) -> Scene:
        """The scene from its files."""
        raise NotImplementedError


def read_scan(
    path: Path,
    name: str,
    on_bad_points: OnBad = "raise",
    use_normals: bool = True,
    samples: int = 100_000,
    seed: int = 0,
) -> tuple[Points, Truth | None]:
    """The points of a file; a mesh is sampled, which is said, and is the truth of its samples.

    Args:
        path: of any format of `recon.io.meshes.READERS`.
        name: of the scene.
        on_bad_points: raise or drop points that are not finite or whose normals have no direction.
        use_normals: False leaves normals out.
        samples: points drawn, uniform by area, on a mesh.
        seed: of that draw.

    Raises:
        DataError: if the file cannot be used.
    """
    shape = read_geometry(path, on_bad_points, use_normals)
    if not isinstance(shape, Mesh):
        return Points.from_cloud(shape, name), None
    log.warning("'%s' holds a mesh: %d points were drawn on it.", path, samples)
    cloud = sample_surface(shape, samples, seed).to_cloud()
    return Points.from_cloud(cloud if use_normals else replace(cloud, normals=None), name), Truth(shape)
