"""What lies outside a room's true surface does not count: walls and floors seen from behind, in synthetic rooms."""

from __future__ import annotations

import numpy as np

from recon.geometry.sampling import Samples, sample_surface
from recon.io.types import Mesh

MARGIN = 0.007  # in sides of the unit cube
SAMPLES = 100_000


def remove_walls(
    mesh: Mesh,
    truth: np.ndarray,
    count: int = SAMPLES,
    margin: float = MARGIN,
    seed: int | np.random.Generator = 0,
) -> Samples:
    """Samples of a mesh that lie where a room's true surface is, by the rule of Convolutional Occupancy Networks.

    Twice as many are drawn as are wanted, uniform by area; those beside the truth's box (x, z) or below it (y is up;
    there is no ceiling) are dropped, and `count` are drawn with replacement from the others.

    Args:
        mesh: the prediction, with at least one face that has an area.
        truth: (N, 3) points on the true surface, in the same coordinates, y up.
        count: samples wanted.
        margin: by which the truth's box is widened; the originals' is for rooms in the unit cube.
        seed: of the draws.

    Returns:
        `count` samples, or none if nothing of the mesh lies there.

    Raises:
        DataError: as `sample_surface`.
    """
    rng = np.random.default_rng(seed)
    drawn = sample_surface(mesh, 2 * count, rng)
    low, high = truth.min(axis=0) - margin, truth.max(axis=0) + margin
    high[1] = np.inf
    kept = np.flatnonzero(((drawn.points >= low) & (drawn.points <= high)).all(axis=1))
    rows = kept[rng.integers(len(kept), size=count)] if len(kept) else kept
    return Samples(drawn.points[rows], drawn.faces[rows], drawn.normals[rows])
