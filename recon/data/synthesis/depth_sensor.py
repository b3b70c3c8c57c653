"""What a structured-light camera makes of the true depth: noise that grows with distance, holes, a limited range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter, zoom
from scipy.special import ndtri

EDGE = 0.04  # neighbours whose depths differ by more than this share lie on different surfaces
SPOTS = 24  # coarse cells along the longer side, of which some are holes
MILLIMETRES = 1000


@dataclass(frozen=True)
class DepthSensor:
    """A depth camera, with the figures of a Kinect (Nguyen et al., Modeling Kinect Sensor Noise, 2012).

    Attributes:
        noise: standard deviation at 1 m; it grows with the square of the distance.
        near: what is nearer is missing, in metres.
        far: what is farther is missing.
        grazing: degrees between ray and surface below which readings begin to fail; at a third of it all do.
        edges: share of readings that fail beside a jump in depth.
        spots: share of the picture that is missing in spots (dark or shiny things).
    """

    noise: float = 0.0015
    near: float = 0.4
    far: float = 6.0
    grazing: float = 15.0
    edges: float = 0.6
    spots: float = 0.01

    def measure(self, depth: np.ndarray, sine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A reading of the true depth.

        Args:
            depth: (H, W) z in metres, 0 where there is nothing.
            sine: (H, W) of the angle between ray and surface, in [0, 1].
            rng: of all draws.

        Returns:
            (H, W) uint16 millimetres, 0 where missing.
        """
        depth = np.asarray(depth, dtype=np.float64)
        blurred = depth + rng.normal(size=depth.shape) * self.noise * depth**2
        fails = (depth <= 0) | (blurred < self.near) | (blurred > self.far)
        if self.grazing:
            angle = np.degrees(np.arcsin(np.clip(sine, 0, 1)))
            fails |= rng.random(depth.shape) > (angle / self.grazing - 1 / 3) * 1.5
        if self.edges:
            fails |= _beside_jumps(depth) & (rng.random(depth.shape) < self.edges)
        if self.spots:
            fails |= _spots(depth.shape, self.spots, rng)
        reading = np.clip(np.round(blurred * MILLIMETRES), 0, np.iinfo(np.uint16).max)
        return np.where(fails, 0, reading).astype(np.uint16)


def _beside_jumps(depth: np.ndarray) -> np.ndarray:
    nearest, farthest = minimum_filter(depth, 3), maximum_filter(depth, 3)
    return farthest - nearest > EDGE * farthest


def _spots(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: smooth blobs that cover a share of the picture on average."""
    cells = [max(2, round(SPOTS * side / max(shape))) for side in shape]
    smooth = zoom(rng.normal(size=cells), [s / c for s, c in zip(shape, cells, strict=True)], order=2)
    # The share is that of many pictures, not of each; ndtri tells what a normal number exceeds that often.
    return np.asarray(smooth > -ndtri(share) * smooth.std())
