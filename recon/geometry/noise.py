"""How noisy a scan is, told from the scan alone: the spread of points about local quadrics."""

from __future__ import annotations

import numpy as np

from recon.geometry.neighbours import Neighbours

SCALES = (14, 20, 28, 40, 56, 80, 113, 160, 226, 320, 452, 640, 900)
PROBES = 200
REACH = 4.0


def estimate_noise(neighbours: Neighbours, probes: int = PROBES, seed: int = 0) -> float:
    """The standard deviation of the points about the surface, along its normal.

    A quadric is fitted in ever larger balls about some probes. A ball that is small against the noise cuts it off, so
    that its residual tells the ball's size instead of the noise; a ball that is large against the shape's features
    adds their misfit. So the residual is read where the ball's radius first reaches `REACH` times the residual.

    Args:
        neighbours: of the cloud.
        probes: number of balls a scale.
        seed: of the choice of probes.

    Returns:
        Sigma in the cloud's own unit. On clean data what remains is the shape's own detail below the sample spacing.
    """
    count = len(neighbours)
    scales = [k for k in SCALES if k <= max(count // 4, SCALES[0])]
    chosen = np.random.default_rng(seed).choice(count, min(probes, count), replace=False)
    centres, previous = neighbours.points[chosen], None
    for k in scales:
        distance, index = neighbours.of(centres, k)
        radius = float(np.median(distance[:, -1]))
        sigma = float(np.median(quadric_residuals(neighbours.points[index])))
        if radius >= REACH * sigma:
            return _crossing(previous, (radius, sigma)) if previous else sigma
        previous = radius, sigma
    return sigma


def _crossing(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Sigma where radius / sigma passes `REACH`, between two scales (radius, sigma)."""
    low, high = (radius / sigma - REACH for radius, sigma in (before, (after[0], max(after[1], 1e-300))))
    return float(before[1] + (after[1] - before[1]) * -low / (high - low))


def quadric_residuals(patches: np.ndarray) -> np.ndarray:
    """Root mean square distance of patches to their best height quadric, for the freedom that is left.

    Args:
        patches: (M, k, 3) points, k > 6.

    Returns:
        (M,) sqrt(RSS / (k - 6)), the height being measured along each patch's direction of least spread.
    """
    centred = patches - patches.mean(axis=1, keepdims=True)
    axes = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1]
    height, u, v = np.moveaxis(centred @ axes, 2, 0)
    scale = np.maximum(np.sqrt((u * u + v * v).max(axis=1, keepdims=True)), 1e-300)
    u, v = u / scale, v / scale
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    normal = basis.transpose(0, 2, 1) @ basis + 1e-9 * np.eye(6)  # repeated points leave it singular
    right = (basis * height[:, :, None]).sum(axis=1)
    fit = np.linalg.solve(normal, right[:, :, None])
    rest = height - (basis @ fit)[:, :, 0]
    return np.sqrt((rest * rest).sum(axis=1) / (patches.shape[1] - 6))
