"""Kazhdan and Hoppe 2013, "Screened Poisson Surface Reconstruction", by Open3D: the baseline to compare with."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from recon.errors import ConfigError, need
from recon.geometry import cleanup
from recon.geometry.mesh_surface import MeshSurface
from recon.geometry.neighbours import Neighbours
from recon.io.types import Mesh
from recon.methods.base import Method
from recon.methods.oriented import Source, oriented
from recon.observations import Observation, OrientedPoints, Points

NEAR = 0.05  # of a component's vertices to the points, where the cloud's longest side is 2; more where it is sparse
NEAR_SPACINGS = 2.0


class ScreenedPoisson(Method):
    """Open3D's screened Poisson reconstruction, on the CPU. Its result is a mesh, so no mesh resolution applies.

    Args:
        depth: of the octree; 2^depth cells along the box.
        point_weight: of the points against the normals; 0 is unscreened.
        samples_per_node: points that a leaf of the octree should hold; more for noisy scans.
        scale: side of the box, in sizes of the cloud.
        bubbles: keep components that have hardly a point near them: spheres far from the scan.
        trim: share of vertices, those of lowest sample density, that are cut away; it opens the mesh, for open scans.
        normals: ``given``: those of the cloud, estimated where it has none; ``estimate``: never the cloud's.
        neighbours: points a normal is estimated from; null: found by itself.
        threads: 0 for all cores.
        seed: of the choices in estimating normals.
    """

    fit_free: ClassVar[bool] = True

    def __init__(
        self,
        depth: int = 8,
        point_weight: float = 2.0,
        samples_per_node: float = 1.5,
        scale: float = 1.1,
        bubbles: bool = False,
        trim: float = 0.0,
        normals: Source = "given",
        neighbours: int | None = None,
        threads: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (1 <= depth <= 16 and 0 <= trim < 1 and point_weight >= 0 and samples_per_node > 0 and scale >= 1):
            raise ConfigError(
                f"Screened Poisson cannot run with depth={depth} point_weight={point_weight} "
                f"samples_per_node={samples_per_node} scale={scale} trim={trim}.",
                "Give depth 1..16, point_weight >= 0, samples_per_node > 0, scale >= 1 and trim in [0, 1).",
            )
        self.options: dict[str, Any] = {
            "depth": depth,
            "point_weight": point_weight,
            "samples_per_node": samples_per_node,
            "scale": scale,
            "n_threads": threads or -1,
        }
        self.bubbles, self.trim = bubbles, trim
        self.use_normals, self.neighbours, self.seed = normals, neighbours, seed

    def reconstruct(self, observation: Observation) -> MeshSurface:
        """The mesh of a cloud; its normals are estimated where it has none.

        Raises:
            ConfigError: if Open3D is not installed.
        """
        assert isinstance(observation, Points)
        open3d = need("open3d", extra="baselines")
        scene, self.warnings = oriented(
            observation.normalized("box", 2.0), self.use_normals, self.neighbours, self.seed
        )
        points = scene.points.double().cpu().numpy()
        vertices, faces, density = self._solve(open3d, points, scene)
        kept = np.ones(len(faces), dtype=bool)
        if self.trim > 0:
            kept &= (density >= np.quantile(density, self.trim))[faces].all(axis=1)
        if not self.bubbles and len(faces):
            _, labels = cleanup.components(faces, len(vertices))
            near = max(NEAR, NEAR_SPACINGS * Neighbours(points).spacing())
            kept &= cleanup.supported(vertices, faces, labels, points, near)
        vertices, faces = cleanup.keep_faces(vertices, faces, kept)
        return MeshSurface(Mesh(scene.frame.to_world(vertices), faces), scene.frame.to_world(points))

    def _solve(
        self, open3d: Any, points: np.ndarray, scene: OrientedPoints
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Open3D's answer in local coordinates: (V, 3) vertices, (F, 3) faces, (V,) sample density."""
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
        cloud.normals = open3d.utility.Vector3dVector(scene.normals.double().cpu().numpy())
        quiet = open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error)
        with quiet:
            mesh, density = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, **self.options)
        vertices = np.asarray(mesh.vertices, dtype=np.float64)
        return vertices, np.asarray(mesh.triangles, dtype=np.int64), np.asarray(density, dtype=np.float64)
