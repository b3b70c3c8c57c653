"""Normals of a scan that has none: principal axes of neighbourhoods whose size is found, signs by scored candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.geometry import orientation
from recon.geometry.neighbours import Neighbours
from recon.geometry.noise import estimate_noise

SIZES = (8, 10, 14, 20, 28, 40, 56, 80, 113, 160, 226, 320, 452, 640)
PROBES = 500
USABLE = 25.0  # degrees between normals of two halves below which they carry information
FINE = 3.0  # degrees of noise that a smaller neighbourhood may have, and
GAIN = 0.5  # the share of what it corrects that this noise may be
RAYLEIGH = float(np.sqrt(np.pi / 2))


@dataclass(frozen=True)
class NormalEstimate:
    """Normals and how far to trust them.

    Attributes:
        normals: (N, 3) float64 unit vectors, outward if they were oriented.
        k: neighbours used a point.
        score: share of the normal field that is free of curl, 1 for a closed surface without mistakes; nan if the
            signs were left open.
        noise: standard deviation of the points about the surface, in the cloud's unit.
        warnings: sentences for the user.
    """

    normals: np.ndarray
    k: int
    score: float
    noise: float
    warnings: tuple[str, ...] = ()


def estimate_normals(points: np.ndarray, k: int | None = None, orient: bool = True, seed: int = 0) -> NormalEstimate:
    """Normals of a cloud: axes by PCA, signs by `recon.geometry.orientation.orient`.

    Args:
        points: (N, 3), any unit.
        k: neighbours a point; None finds a size (`choose_k`).
        orient: give them consistent, outward signs.
        seed: of all choices.
    """
    neighbours = Neighbours(points)
    noise = estimate_noise(neighbours, seed=seed)
    size = choose_k(neighbours, noise, seed=seed) if k is None else min(k, len(neighbours))
    axes = pca_normals(neighbours, size)
    if not orient:
        return NormalEstimate(axes, size, float("nan"), noise)
    signed = orientation.orient(points, axes, neighbours=neighbours, seed=seed)
    return NormalEstimate(signed.normals, size, signed.score, noise, signed.warnings)


def pca_normals(neighbours: Neighbours, k: int, chunk: int = 1 << 18) -> np.ndarray:
    """The direction of least spread of each point's `k` nearest points, of arbitrary sign.

    Args:
        neighbours: of the cloud.
        k: neighbours a point, itself among them; at least 3.
        chunk: neighbours gathered at once; bounds the memory.

    Returns:
        (N, 3) float64 unit vectors.
    """
    _, index = neighbours.query(max(k, 3))
    rows = max(1, chunk // index.shape[1])
    blocks = (index[i : i + rows] for i in range(0, len(index), rows))
    return np.concatenate([least_axes(neighbours.points[block]) for block in blocks])


def least_axes(patches: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """(M, 3) unit directions of least spread of (M, k, 3) patches, of points where (M, k) `keep` if it is given."""
    if keep is None:
        centred = patches - patches.mean(axis=1, keepdims=True)
    else:
        share = keep[:, :, None] / np.maximum(keep.sum(axis=1), 1)[:, None, None]
        centred = (patches - (patches * share).sum(axis=1, keepdims=True)) * keep[:, :, None]
    x, y, z = np.moveaxis(centred, 2, 0)
    products = [np.einsum("mk,mk->m", a, b) for a, b in ((x, x), (x, y), (x, z), (y, y), (y, z), (z, z))]
    spread = np.stack([products[i] for i in (0, 1, 2, 1, 3, 4, 2, 4, 5)], axis=-1).reshape(-1, 3, 3)
    return np.linalg.eigh(spread)[1][:, :, 0]


def choose_k(neighbours: Neighbours, noise: float, probes: int = PROBES, seed: int = 0) -> int:
    """The neighbourhood size whose PCA normals are expected to err least.

    Small neighbourhoods suffer from noise, large ones from curvature and edges. Both errors are measured, not modelled:
    the cloud is split into random halves. At size k each half gives a normal of its own; their angle tells the
    variance v of one. The angle to a reference normal of the *other* half, taken at the smallest size that is usable
    at all, has as its square bias^2 + v plus a constant. All points together halve v, so the best k is where
    ``cross^2 - split^2 / 4`` is least. Halves of very small neighbourhoods are too few points to say anything; so where
    the known noise cannot explain how much a smaller size differs from the chosen one, the smaller one is taken.

    Args:
        neighbours: of the cloud.
        noise: its standard deviation (`estimate_noise`).
        probes: points at which the errors are measured.
        seed: of the probes and halves.
    """
    sizes = [k for k in SIZES if k <= max(len(neighbours) // 4, SIZES[2])]
    random = np.random.default_rng(seed)
    chosen = random.choice(len(neighbours), min(probes, len(neighbours)), replace=False)
    distance, index = neighbours.of(neighbours.points[chosen], sizes[-1])
    patches = neighbours.points[index] - neighbours.points[chosen][:, None]
    half = (random.random(len(neighbours)) < 0.5)[index]
    first = [least_axes(patches[:, :k], half[:, :k]) for k in sizes]
    second = [least_axes(patches[:, :k], ~half[:, :k]) for k in sizes]
    split = np.array([_mean_angle(a, b) for a, b in zip(first, second, strict=True)])
    usable = np.flatnonzero(split < USABLE)
    reference = usable[0] if len(usable) else len(sizes) - 1
    cross = np.array(
        [
            (_mean_angle(a, second[reference]) + _mean_angle(b, first[reference])) / 2
            for a, b in zip(first, second, strict=True)
        ]
    )
    best = int(np.argmin(cross**2 - split**2 / 4))
    radii = np.median(distance, axis=0)
    return _finer(sizes, best, patches, radii, noise)


def _finer(sizes: list[int], best: int, patches: np.ndarray, radii: np.ndarray, noise: float) -> int:
    """The smallest size whose difference from the best one is beyond what noise explains, or the best one."""
    chosen = least_axes(patches[:, : sizes[best]])
    for k in sizes[1:best]:
        blur = noise_angle(noise, float(radii[k - 1]), k)
        if blur <= FINE and blur <= GAIN * _mean_angle(least_axes(patches[:, :k]), chosen):
            return k
    return sizes[best]


def noise_angle(noise: float, radius: float, k: int) -> float:
    """Mean angle in degrees by which noise tilts a plane fitted to `k` points that fill a disc.

    A coordinate has variance radius^2 / 4 over the disc, so each slope has the deviation 2 noise / (radius sqrt(k)).
    """
    return float(np.degrees(RAYLEIGH * 2 * noise / (max(radius, 1e-300) * np.sqrt(k))))


def _mean_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Mean angle in degrees between (M, 3) unit axes, whatever their signs."""
    return float(np.degrees(np.arccos(np.clip(np.abs((a * b).sum(axis=1)), 0.0, 1.0))).mean())
