"""A smoothing-spline SDF: IGR's losses on a B-spline grid, solved in seconds instead of trained.

The surface, normal and eikonal terms are those of Gropp et al., Implicit Geometric Regularization (ICML 2020); a
curvature term takes the place of a network's smoothness. See `recon.geometry.spline_solver` for the energy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from recon.errors import ConfigError
from recon.geometry.bspline import BSplineField
from recon.geometry.neighbours import Neighbours
from recon.geometry.noise import estimate_noise
from recon.geometry.normals import NormalEstimate
from recon.geometry.poisson import solve_poisson
from recon.geometry.spline_rules import HEAVY, ScanFacts, areas_for, choose_energy, inliers
from recon.geometry.spline_solver import Samples, SplineEnergy, fit_spline
from recon.geometry.surface import Surface
from recon.methods.base import Method
from recon.methods.oriented import with_estimate
from recon.observations import Observation, Points

log = logging.getLogger("recon")

SIZE = 2.0


class Spline(Method):
    """A signed distance field of quadratic B-splines, by conjugate gradients from coarse to fine.

    It minimises, in a frame where the longest side of the cloud is 2,
    ``sum a_i [w_i f(x_i)^2 / trust^2 + v_i |grad f(x_i) - n_i|^2] + curvature int h |Hess f|^2
    + eikonal int |grad f - d|^2``.

    Args:
        resolution: cells along the box, 16 times a power of two up to 512; ``"auto"`` follows the sample spacing.
        noise: standard deviation of the points about the surface, in the scan's own unit; null estimates it. It
            decides between following the samples and smoothing over them.
        normals: ``given``: those of the cloud, estimated where it has none; ``estimate``: never the cloud's.
        neighbours: points a normal is estimated from; null: found by itself.
        trust: l: the length at which an error of position costs as much as a normal off by one; null: automatic.
        curvature: s, the smoothing length; null: automatic. 0.01 keeps the edges of noisy machined parts sharper.
        eikonal: e, the weight of unit slope away from the points; it hardly moves the surface.
        outliers: whether points that stand alone are left out.
        seed: of the choices in estimating normals and noise.

    Attributes:
        warnings: what the user should know about the last reconstruction.
        facts: spacing and noise of the last scan, local.
        score: share of the estimated normals' field that is free of curl, 1 without mistakes; nan for given normals.
        energy: the constants used last.
        preview: called with (what it is, a surface): the spectral solve first, then the field after each level.
    """

    fit_free: ClassVar[bool] = True

    def __init__(
        self,
        resolution: int | Literal["auto"] = "auto",
        noise: float | None = None,
        normals: Literal["given", "estimate"] = "given",
        neighbours: int | None = None,
        trust: float | None = None,
        curvature: float | None = None,
        eikonal: float = 0.0,
        outliers: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(resolution, noise=noise, trust=trust, curvature=curvature, eikonal=eikonal)
        self.resolution, self.noise, self.use_normals, self.neighbours = resolution, noise, normals, neighbours
        self.trust, self.curvature, self.eikonal = trust, curvature, eikonal
        self.outliers, self.seed = outliers, seed
        self.warnings: tuple[str, ...] = ()
        self.score = float("nan")
        self.facts: ScanFacts | None = None
        self.energy: SplineEnergy | None = None

    def reconstruct(self, observation: Observation) -> Surface:
        """The surface of a cloud, negative inside; its normals are estimated where it has none."""
        assert isinstance(observation, Points)
        self.warnings, self.score = (), float("nan")
        local = self._filtered(observation).normalized("box", SIZE)
        scene, estimate = with_estimate(local, self.use_normals, self.neighbours, self.seed)
        neighbours = Neighbours(scene.points.double().numpy())
        self.facts = self._facts(scene, neighbours, estimate)
        self.energy = self._energy(self.facts)
        areas = torch.from_numpy(areas_for(neighbours, self.facts)).float()
        samples = Samples(*(t.to(self.device) for t in (scene.points, scene.normals, areas)))
        if self.preview is not None:
            self.preview("spectral", self._surface(solve_poisson(*vars(samples).values()), scene, "implicit"))
        return self._surface(fit_spline(samples, self.energy, self._progress(scene)), scene)

    def _filtered(self, scene: Points) -> Points:
        if not self.outliers:
            return scene
        keep = torch.from_numpy(inliers(scene.points.cpu().double().numpy()))
        dropped = int((~keep).sum())
        if not dropped:
            return scene
        self.warnings += (f"{dropped} of {len(keep)} points stand alone and were left out.",)
        rows: dict[str, Any] = {name: value[keep] for name, value in vars(scene).items() if isinstance(value, Tensor)}
        return replace(scene, **rows)

    def _facts(self, scene: Points, neighbours: Neighbours, estimate: NormalEstimate | None) -> ScanFacts:
        if estimate is not None:
            self.score = estimate.score
            self.warnings += estimate.warnings
            log.info("'%s': normals from %d neighbours each, score %.3f", scene.name, estimate.k, estimate.score)
        if self.noise is not None:
            noise = self.noise / scene.frame.scale
        else:
            noise = estimate.noise if estimate is not None else estimate_noise(neighbours, seed=self.seed)
        log.info("'%s': noise %.2f %% of the longest side", scene.name, 100 * noise / SIZE)
        if noise > HEAVY:
            self.warnings += (f"Noise of {noise / SIZE:.1%} of the longest side hides all thinner parts.",)
        return ScanFacts(neighbours.spacing(), noise, len(neighbours), estimate is not None)

    def _energy(self, facts: ScanFacts) -> SplineEnergy:
        asked: dict[str, Any] = {"trust": self.trust, "smooth": self.curvature}
        if self.resolution != "auto":
            asked["resolution"] = self.resolution
        changes = {name: value for name, value in asked.items() if value is not None}
        return replace(choose_energy(facts), eikonal=self.eikonal, **changes)

    def _progress(self, scene: Points) -> Callable[[int, BSplineField], None]:
        def report(cells: int, field: BSplineField) -> None:
            log.info("'%s': solved at %d cells, %d coefficients", scene.name, cells, field.levels[-1].size)
            if self.preview is not None:
                self.preview(f"{cells} cells", self._surface(field, scene))

        return report

    def _surface(self, field: Any, scene: Points, kind: Literal["sdf", "implicit"] = "sdf") -> Surface:
        return Surface(
            field,
            field.low,
            field.high,
            kind=kind,
            inside="below",
            frame=scene.frame,
            gradient=field.gradient,
            support=scene.points,
            device=str(self.device),
        )


def _check(resolution: int | str, **amounts: float | None) -> None:
    known = [16 * 2**i for i in range(6)]
    if resolution != "auto" and resolution not in known:
        raise ConfigError(
            f"method.resolution={resolution}: the grids are nested, each with twice the cells of the one before.",
            f"Give auto or one of {', '.join(map(str, known))}.",
        )
    for name, amount in amounts.items():
        least = 0.0 if name in ("noise", "eikonal") else 1e-6
        if amount is not None and not least <= amount < np.inf:
            raise ConfigError(
                f"method.{name}={amount}: this cannot be an amount of {name}.",
                f"Give a finite number of at least {least:g}, or null for automatic." if least else "Give 0 or more.",
            )
