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

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from recon.geometry.frames import Frame
from recon.geometry.neighbours import Neighbours
from recon.geometry.sign_field import SignField
from recon.geometry.sign_starts import flood_signs, tree_signs

TRUSTED = 0.93
HALF = 1.3  # half the side of the box about a cloud of longest side 2
SCORE_GRID, SCORE_SPACINGS = 48, 1.5  # the judge blurs over this many spacings: chance in sparse samples is no curl
POLISH_GRID = 64
FINE_GRID, FINE_SMOOTHING = 96, 0.7  # one last round, for thin parts that the coarser grids blur
TREES = (8, 12)
QUICK_FLOOD = (32, (1.0, 1.5, 2.2, 3.2, 4.6))
FLOODS = ((64, (1.0, 1.5, 2.2, 3.2, 4.6, 6.5)), (96, (1.0, 1.5, 3.2, 4.6, 6.5)))
RANDOM_STARTS = 2
AGREED = 0.999  # share of signs in which a tree and a flood must agree to be believed at once
ROUNDS, LAST_ROUNDS, FINALISTS = 3, 9, 4
AREA_SMOOTH = 50
PATCH_K, PATCH_DOT, PATCHES, PATCH_SHARE = 8, 0.3, 16, 0.002

Found = tuple[float, Tensor]


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
    frame = Frame.fit(points)
    local, areas = frame.to_local(points), neighbours.areas(smooth=AREA_SMOOTH)
    spacing = neighbours.spacing() / frame.scale
    arrays = (np.asarray(a, dtype=np.float32) for a in (local, normals, areas / areas.sum()))
    spots, axes, weights = (torch.from_numpy(a) for a in arrays)
    field_on = partial(SignField, spots, axes, weights, half=HALF)
    blur = max(1.0, SCORE_SPACINGS * spacing * SCORE_GRID / (2 * HALF))
    judge, field = field_on(resolution=SCORE_GRID, smoothing=blur), field_on(resolution=POLISH_GRID)
    score, signs = _search(judge, field, neighbours, local, normals, seed)
    score, signs = _flipped_patches(judge, neighbours, normals, score, signs)
    if spacing < 2 * HALF / FINE_GRID:
        signs = field_on(resolution=FINE_GRID, smoothing=FINE_SMOOTHING).improved(signs)
    signed = np.asarray(normals, dtype=np.float64) * signs.numpy()[:, None].astype(np.float64)
    centre = np.average(local, axis=0, weights=areas)
    flux = (areas * (signed * (local - centre)).sum(axis=1)).sum()  # three times the volume, if it is closed
    return Orientation(-signed if flux < 0 else signed, score, _warnings(score))


def _search(
    judge: SignField, field: SignField, neighbours: Neighbours, local: np.ndarray, normals: np.ndarray, seed: int
) -> Found:
    """The best candidate; the dear ones are only made where the cheap ones disagree."""

    def polished(starts: Iterable[np.ndarray]) -> list[Found]:
        return [_polished(judge, field, torch.from_numpy(s.astype(np.float32)), ROUNDS) for s in starts]

    trees = polished(tree_signs(neighbours, normals, k) for k in TREES)
    floods = polished(flood_signs(local, normals, HALF, *QUICK_FLOOD))
    if not (floods and _agree(_best(trees)[1], _best(floods)[1])):
        for cells, radii in FLOODS:
            floods += polished(flood_signs(local, normals, HALF, cells, radii))
        random = np.random.default_rng(seed)
        floods += polished(random.choice((-1.0, 1.0), len(local)) for _ in range(RANDOM_STARTS))
    finalists = sorted(trees + floods, key=lambda found: -found[0])[:FINALISTS]
    return _best([_polished(judge, field, signs, LAST_ROUNDS) for _, signs in finalists])


def _best(found: list[Found]) -> Found:
    return max(found, key=lambda one: one[0])


def _agree(a: Tensor, b: Tensor) -> bool:
    """Whether two choices of signs are the same but for few points, all of them flipped or not."""
    return float((a * b).mean().abs()) > 2 * AGREED - 1


def _polished(judge: SignField, field: SignField, signs: Tensor, rounds: int) -> Found:
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


def _flipped_patches(
    judge: SignField, neighbours: Neighbours, normals: np.ndarray, score: float, signs: Tensor
) -> Found:
    """Flip whole patches that are cut off from the rest by a fold or a gap, where the score likes it better.

    Polishing leaves such patches alone when their own field is stronger than that of the others: parts of a scan
    that shadows cut in pieces.
    """
    _, index = neighbours.query(PATCH_K)
    count, k = index.shape
    rows, columns = np.repeat(np.arange(count), k - 1), index[:, 1:].ravel()
    signed = np.asarray(normals) * signs.numpy()[:, None]
    smooth = (signed[rows] * signed[columns]).sum(axis=1) > PATCH_DOT
    graph = coo_matrix((np.ones(smooth.sum()), (rows[smooth], columns[smooth])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    sizes = np.bincount(labels)
    largest = np.argsort(-sizes)[1 : PATCHES + 1]
    for label in largest[sizes[largest] >= PATCH_SHARE * count]:
        trial = torch.where(torch.from_numpy(labels == label), -signs, signs)
        trial_score = judge.score(trial)
        if trial_score > score:
            score, signs = trial_score, trial
    return score, signs


def _warnings(score: float) -> tuple[str, ...]:
    if score >= TRUSTED:
        return ()
    return (
        f"Only {score:.0%} of the field of the estimated normals is free of curl; from {TRUSTED:.0%} on it is safe. "
        "Either the scan is open or has large holes, which does no harm, or some signs are wrong: look for parts of "
        "the mesh that are turned inside out, and give normals if the scanner has them.",
    )
