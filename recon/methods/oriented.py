"""Oriented points for methods that cannot do without normals."""

from __future__ import annotations

from typing import Literal

import torch

from recon.geometry.normals import NormalEstimate, estimate_normals
from recon.observations import OrientedPoints, Points

Source = Literal["given", "estimate"]


def oriented(
    scene: Points, source: Source = "given", neighbours: int | None = None, seed: int = 0
) -> tuple[OrientedPoints, tuple[str, ...]]:
    """The scene with its own normals, or with estimated ones where it has none or they are not wanted.

    Args:
        scene: a cloud.
        source: ``"given"``: the cloud's own, if it has any; ``"estimate"``: never those.
        neighbours: points a normal is estimated from, or None to find a number.
        seed: of the choices in estimating.

    Returns:
        The oriented cloud, and sentences for the user: that normals were estimated, and how far to trust them.
    """
    cloud, estimate = with_estimate(scene, source, neighbours, seed)
    if estimate is None:
        return cloud, ()
    said = (
        f"Normals were estimated from {estimate.k} neighbours each (score of their signs {estimate.score:.2f}, "
        f"noise {estimate.noise * scene.frame.scale:.2g} in the units of the scan)."
    )
    return cloud, (said, *estimate.warnings)


def with_estimate(
    scene: Points, source: Source = "given", neighbours: int | None = None, seed: int = 0
) -> tuple[OrientedPoints, NormalEstimate | None]:
    """As `oriented`, but with what was found (local units), or None where nothing had to be estimated."""
    if source == "given" and isinstance(scene, OrientedPoints):
        return scene, None
    estimate = estimate_normals(scene.points.double().cpu().numpy(), neighbours, seed=seed)
    normals = torch.from_numpy(estimate.normals).to(scene.points)
    return OrientedPoints(scene.points, scene.frame, scene.name, normals=normals), estimate
