"""Signs of unoriented normals: many candidates, each polished, the one whose normal field is least curled wins.

The normals of a closed surface, spread in space, are the gradient of its smoothed indicator function, hence free of
curl. A patch of wrong signs makes curl along its rim. So the share of the field that is curl free scores a candidate
without any truth. No single way of finding signs is right on all scans; a score lets all of them be tried:

- propagation along a minimum spanning tree (Hoppe et al. 1992, "Surface Reconstruction from Unorganized Points"):
  right almost everywhere on dense, clean scans, flips whole regions on sparse or noisy ones;
- flood fill from outside of the scan thickened by several radii: right about inside and outside where it holds water;
- random signs, which the polish sometimes turns into something better than either.

The polish takes the sign of each normal from the gradient of the Poisson field that all signs make, over and over
(Hou et al. 2022, "Iterative Poisson Surface Reconstruction (iPSR) for Unoriented Points").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon.geometry.frames import Frame
from recon.geometry.neighbours import Neighbours
from recon.geometry.sign_field import SignField
from recon.geometry.sign_starts import flood_signs, tree_signs

TRUSTED = 0.93
HALF = 1.3  # half the side of the box about a cloud of longest side 2
SCORE_GRID, POLISH_GRID = 48, 64
TREES = (8, 12)
FLOODS = ((32, (1.0, 1.5, 2.2, 3.2, 4.6)), (64, (1.0, 1.5, 2.2, 3.2, 4.6, 6.5)), (96, (1.0, 1.5, 3.2, 4.6, 6.5)))
RANDOM_STARTS = 2
ROUNDS, LAST_ROUNDS, FINALISTS = 3, 9, 4
AREA_SMOOTH = 50


@dataclass(frozen=True)
class Orientation:
    """Normals with signs.

    Attributes:
        normals: (N, 3) float64 unit vectors, outward.
        score: share of their field that is free of curl.
        warnings: sentences for the user.
    """

    normals: np.ndarray
    score: float
    warnings: tuple[str, ...] = ()


def orient(points: np.ndarray, normals: np.ndarray, neighbours: Neighbours | None = None, seed: int = 0) -> Orientation:
    """Consistent, outward signs for the normals of a cloud.

    Args:
        points: (N, 3), any unit.
        normals: (N, 3) unit vectors of arbitrary sign.
        neighbours: of `points`, if they are at hand.
        seed: of the random starts.
    """
    neighbours = neighbours or Neighbours(points)
    local = Frame.fit(points).to_local(points)
    areas = neighbours.areas(smooth=AREA_SMOOTH)
    tensors = [torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (local, normals, areas / areas.sum())]
    judge = SignField(*tensors, resolution=SCORE_GRID, half=HALF)
    field = SignField(*tensors, resolution=POLISH_GRID, half=HALF)
    starts = [torch.from_numpy(s.astype(np.float32)) for s in _starts(neighbours, local, normals, seed)]
    first = [_polished(judge, field, signs, ROUNDS) for signs in starts]
    first.sort(key=lambda found: -found[0])
    score, signs = max((_polished(judge, field, s, LAST_ROUNDS) for _, s in first[:FINALISTS]), key=lambda f: f[0])
    signed = np.asarray(normals, dtype=np.float64) * signs.numpy()[:, None].astype(np.float64)
    if (areas * (signed * (local - np.average(local, axis=0, weights=areas))).sum(axis=1)).sum() < 0:
        signed = -signed
    return Orientation(signed, score, _warnings(score))


def _starts(neighbours: Neighbours, local: np.ndarray, normals: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    for k in TREES:
        yield tree_signs(neighbours, normals, k)
    for cells, radii in FLOODS:
        yield from flood_signs(local, normals, HALF, cells, radii)
    random = np.random.default_rng(seed)
    for _ in range(RANDOM_STARTS):
        yield random.choice((-1.0, 1.0), len(local))


def _polished(judge: SignField, field: SignField, signs: Tensor, rounds: int) -> tuple[float, Tensor]:
    """The best score met in some rounds of iPSR, and its signs; noise can make a round do harm."""
    best = judge.score(signs), signs
    for _ in range(rounds):
        changed = field.improved(signs)
        if torch.equal(changed, signs):
            break
        signs = changed
        score = judge.score(signs)
        if score > best[0]:
            best = score, signs
    return best


def _warnings(score: float) -> tuple[str, ...]:
    if score >= TRUSTED:
        return ()
    return (
        f"The signs of the normals are uncertain: {score:.1%} of their field is free of curl, {TRUSTED:.0%} and more "
        "can be trusted. Parts of an open or very noisy scan may come out inside out; give normals if the scanner has them.",
    )
