"""`prepare data=stanford`: clouds of any meshes, sampled evenly, or scanned with all faults of a scanner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from recon.data.scannet_fused import Fused
from recon.data.synthesis.factory import Factory, Item, Made, Shared
from recon.data.synthesis.normalise import TO_Y, Up
from recon.data.synthesis.scannet_fused import thumbnail
from recon.data.synthesis.sources import find_meshes, named
from recon.data.synthesis.virtual_scan import Normals, Scanner, scan
from recon.errors import ConfigError
from recon.geometry.frames import Frame
from recon.geometry.sampling import sample_blue_noise, sample_surface
from recon.io.clouds import write_cloud
from recon.io.meshes import read_mesh, write_mesh
from recon.io.types import Cloud, Mesh

SUFFIXES = {"samples": "_pcd", "scan": "_scan"}


class StanfordClouds(Factory):
    """``NAME/NAME_pcd.ply`` or ``NAME/NAME_scan.ply``, and the mesh it was made from beside it, as ``NAME.ply``.

    ``kind=samples``: points on the mesh with its faces' normals, as many as it has vertices and evenly spread, as the
    nnabla reproduction of IGR trains on; where they are very many, uniform at random.
    ``kind=scan``: see `recon.data.synthesis.virtual_scan.Scanner`, which explains these options.

    Args:
        samples: samples: number of points; None takes the number of vertices.
        even: samples: most points that are spread evenly; more are drawn uniformly.
        viewpoints: scan.
        elevation: scan.
        distance: scan.
        rays: scan.
        noise: scan.
        outliers: scan.
        grazing: scan.
        falloff: scan.
        normals: scan.
        neighbours: scan.
        up: scan.
        shared: see `Factory`.
    """

    kinds = ("samples", "scan")

    def __init__(
        self,
        samples: int | None = None,
        even: int = 200_000,
        viewpoints: int = 10,
        elevation: Sequence[float] = (-20.0, 60.0),
        distance: float = 3.0,
        rays: int = 200,
        noise: float = 0.002,
        outliers: float = 0.005,
        grazing: float = 15.0,
        falloff: float = 0.0,
        normals: Normals = "estimated",
        neighbours: int = 16,
        up: Up = "y",
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        if samples is not None and samples < 1:
            raise ConfigError(f"prepare.samples={samples}: there must be some.", "Give 1 or more.")
        if min(viewpoints, rays) < 1 or neighbours < 3:
            raise ConfigError("prepare: viewpoints and rays must be at least 1, neighbours 3.", "")
        if distance <= 1:
            raise ConfigError(f"prepare.distance={distance}: that is inside the object's sphere.", "Give more than 1.")
        if len(elevation) != 2 or not -90 <= elevation[0] <= elevation[1] <= 90:
            raise ConfigError(
                f"prepare.elevation={list(elevation)}: these are no two angles.", "Give [lowest,highest] in degrees."
            )
        if min(noise, falloff) < 0 or not 0 <= outliers <= 1 or not 0 <= grazing <= 90:
            raise ConfigError(
                "prepare: noise and falloff must not be negative; outliers is a share, grazing an angle up to 90.", ""
            )
        self.samples, self.even = samples, even
        self.viewpoints, self.elevation, self.distance, self.rays = viewpoints, elevation, distance, rays
        self.noise, self.outliers, self.grazing, self.falloff = noise, outliers, grazing, falloff
        self.normals: Normals = normals
        self.up: Up = up
        self.neighbours = neighbours

    def items(self) -> Sequence[Item]:
        files = named(find_meshes(self.source))
        count = Counter(model for _, model in files)
        names = [model if count[model] == 1 else f"{group}_{model}" for group, model in files]
        return [Item(name, file, name) for name, file in zip(names, files.values(), strict=True)]

    def make(self, item: Item, folder: Path) -> Made:
        assert item.source is not None
        mesh, rng = read_mesh(item.source), self.rng(item)
        cloud, facts = self._scanned(mesh, rng) if self.kind == "scan" else self._sampled(mesh, rng)
        write_cloud(folder / f"{item.name}{SUFFIXES[str(self.kind)]}.ply", cloud)
        write_mesh(folder / f"{item.name}.ply", mesh)
        facts = {"faces": len(mesh.faces), "points": len(cloud.points), **facts}
        return Made(item.name, facts, _picture(cloud, mesh, self.up))

    def _sampled(self, mesh: Mesh, rng: np.random.Generator) -> tuple[Cloud, dict[str, Any]]:
        count = self.samples or len(np.unique(mesh.faces))
        evenly = count <= self.even
        drawn = (sample_blue_noise if evenly else sample_surface)(mesh, count, rng)
        return drawn.to_cloud(), {"spread": "evenly" if evenly else "uniformly"}

    def _scanned(self, mesh: Mesh, rng: np.random.Generator) -> tuple[Cloud, dict[str, Any]]:
        low, high = self.elevation
        scanner = Scanner(
            self.viewpoints,
            (float(low), float(high)),
            self.distance,
            self.rays,
            self.noise,
            self.outliers,
            self.grazing,
            self.falloff,
            self.normals,
            self.neighbours,
            self.up,
        )
        made = scan(mesh, scanner, rng)
        return made.cloud, {"viewpoints": self.viewpoints, "outliers": int(made.outlier.sum())}


def _picture(cloud: Cloud, mesh: Mesh, up: Up) -> np.ndarray:
    """(H, W, 3) uint8: the points, from above, in the cube that holds the mesh."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    local = (cloud.points - (low + high) / 2) / max(float((high - low).max()), 1e-300)
    normals = None if cloud.normals is None else cloud.normals @ TO_Y[up].T
    return thumbnail(Fused(local @ TO_Y[up].T, normals, Frame()))
