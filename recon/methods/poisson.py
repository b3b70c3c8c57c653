"""Spectral Poisson reconstruction (Peng et al. 2021, "Shape As Points", section 3.1): solved, not fitted."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from recon.errors import ConfigError
from recon.geometry.neighbours import Neighbours
from recon.geometry.noise import estimate_noise
from recon.geometry.poisson import solve_poisson
from recon.geometry.surface import Surface
from recon.methods.base import Method
from recon.methods.oriented import Source, oriented
from recon.observations import Observation, Points

HALF = 1.2  # half the side of the solver's box about a cloud of longest side 2
SPARSE = 0.2  # smoothing in sample spacings: closes the gaps between samples
NOISY = 0.35  # noise in sample spacings from which areas are averaged, or outliers would gain weight,
BLUR = 1.0  # and the smoothing is this many deviations of the noise
AREA_SMOOTH = 50


class Poisson(Method):
    """The indicator function whose gradient fits the normals, on a periodic grid.

    Points are not interpolated (there is no screening), so noise is averaged away and fine detail is rounded a little.

    Args:
        resolution: nodes along an axis of the solver's grid.
        smoothing: deviation of the Gaussian, in cells; null: half a cell, more where samples are sparse
            or noisy.
        weights: how much a point counts: by the surface it stands for, all the same, or what suits the noise.
        normals: ``given``: those of the cloud, estimated where it has none; ``estimate``: never the cloud's.
        neighbours: points a normal is estimated from; null: found by itself.
        seed: of the choices in estimating normals.
    """

    fit_free: ClassVar[bool] = True

    def __init__(
        self,
        resolution: int = 256,
        smoothing: float | None = None,
        weights: Literal["auto", "area", "uniform"] = "auto",
        normals: Source = "given",
        neighbours: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if resolution < 16 or (smoothing is not None and smoothing < 0):
            raise ConfigError(
                f"method.resolution={resolution} method.smoothing={smoothing}: no grid can be solved with these.",
                "Give a resolution of 16 or more and a smoothing of 0 or more cells.",
            )
        self.resolution, self.smoothing, self.weights = resolution, smoothing, weights
        self.use_normals, self.neighbours, self.seed = normals, neighbours, seed

    def reconstruct(self, observation: Observation) -> Surface:
        """The surface of a cloud, negative inside; its normals are estimated where it has none."""
        assert isinstance(observation, Points)
        scene, self.warnings = oriented(
            observation.normalized("box", 2.0), self.use_normals, self.neighbours, self.seed
        )
        neighbours = Neighbours(scene.points.double().numpy())
        spacing, noise = neighbours.spacing(), estimate_noise(neighbours, seed=self.seed)
        noise = noise if noise > NOISY * spacing else 0.0
        field = solve_poisson(
            scene.points.to(self.device),
            scene.normals.to(self.device),
            self._areas(neighbours, noisy=noise > 0).to(self.device),
            self.resolution,
            self._smoothing(spacing, noise),
            HALF,
        )
        return Surface(
            field,
            field.low,
            field.high,
            kind="implicit",
            inside="below",
            frame=scene.frame,
            gradient=field.gradient,
            support=scene.points,
            device=str(self.device),
        )

    def _areas(self, neighbours: Neighbours, noisy: bool) -> Tensor:
        if self.weights == "uniform":
            areas = np.full(len(neighbours), np.mean(neighbours.areas()))
        else:
            areas = neighbours.areas(smooth=AREA_SMOOTH if noisy and self.weights == "auto" else 0)
        return torch.from_numpy(areas).float()

    def _smoothing(self, spacing: float, noise: float) -> float:
        """In local units."""
        cell = 2 * HALF / self.resolution
        if self.smoothing is not None:
            return self.smoothing * cell
        return max(0.5 * cell, SPARSE * spacing, BLUR * noise)
