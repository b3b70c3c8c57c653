"""`Frame`: the similarity between a user's own coordinates (world) and the ones a method works in (local).

Methods want data of unit size about the origin; users want their mesh where their scan was. Whoever rescales
stores what was done in a `Frame`, and `Surface.mesh` undoes it, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from recon.errors import DataError

Fit = Literal["box", "sphere", "none"]


def _eye() -> np.ndarray:
    return np.eye(3)


def _zero() -> np.ndarray:
    return np.zeros(3)


@dataclass(frozen=True)
class Frame:
    """The map ``world = scale * rotation @ local + translation``.

    Attributes:
        scale: world units per local unit, positive.
        rotation: (3, 3) float64, a proper rotation from local to world.
        translation: (3,) float64, the world position of the local origin.
    """

    scale: float = 1.0
    rotation: np.ndarray = field(default_factory=_eye)
    translation: np.ndarray = field(default_factory=_zero)

    @classmethod
    def fit(cls, points: np.ndarray, how: Fit = "box", size: float = 2.0) -> Frame:
        """The frame in which `points` are centred and have a given size.

        Args:
            points: (N, 3) world coordinates.
            how: ``"box"``: the longest side of the bounding box becomes `size` and its centre the origin;
                ``"sphere"``: the farthest point from the centroid comes to distance ``size / 2``;
                ``"none"``: the identity.
            size: in local units.

        Raises:
            DataError: if the points have no extent or are not finite.
        """
        if how == "none":
            return cls()
        points = np.asarray(points, dtype=np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        if how == "box":
            centre, extent = (low + high) / 2, float((high - low).max())
        else:
            centre = points.mean(axis=0)
            extent = 2 * float(np.linalg.norm(points - centre, axis=1).max())
        if not np.isfinite(extent) or extent <= 0:
            raise DataError(
                f"These {len(points)} points have no usable extent (it is {extent}).",
                "Check that the input is not a single repeated point and holds finite numbers only.",
            )
        return cls(scale=extent / size, translation=centre)

    def to_world(self, local: np.ndarray) -> np.ndarray:
        """(N, 3) local points to float64 world points."""
        return self.scale * (np.asarray(local, dtype=np.float64) @ self.rotation.T) + self.translation

    def to_local(self, world: np.ndarray) -> np.ndarray:
        """(N, 3) world points to float64 local points."""
        return ((np.asarray(world, dtype=np.float64) - self.translation) @ self.rotation) / self.scale

    def normals_to_world(self, normals: np.ndarray) -> np.ndarray:
        """(N, 3) directions from local to world; lengths are kept."""
        return np.asarray(normals, dtype=np.float64) @ self.rotation.T

    def normals_to_local(self, normals: np.ndarray) -> np.ndarray:
        """(N, 3) directions from world to local; lengths are kept."""
        return np.asarray(normals, dtype=np.float64) @ self.rotation

    def then(self, inner: Frame) -> Frame:
        """The frame of data that was expressed in `self` and then normalised once more by `inner`.

        ``self.then(inner).to_world(x) == self.to_world(inner.to_world(x))``.
        """
        return Frame(
            scale=self.scale * inner.scale,
            rotation=self.rotation @ inner.rotation,
            translation=self.to_world(inner.translation[None])[0],
        )

    def state(self) -> dict[str, Any]:
        """Plain containers, for checkpoints that `weights_only=True` reads."""
        return {
            "scale": float(self.scale),
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Frame:
        """The inverse of `state`."""
        return cls(
            scale=float(state["scale"]),
            rotation=np.asarray(state["rotation"], dtype=np.float64),
            translation=np.asarray(state["translation"], dtype=np.float64),
        )
