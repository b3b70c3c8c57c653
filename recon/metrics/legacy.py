"""Published evaluations of the IGR family, repeated with their quirks so that their tables can be read.

`nnabla` is the evaluation of sony/nnabla-examples (implicit-geometric-regularization); `nnabla_legacy` adds what
went wrong there: its meshes are turned by 90 degrees about z against the truth. `points2surf` is Erler et al. 2020.
"""

from __future__ import annotations

import numpy as np

from recon.geometry.sampling import sample_blue_noise
from recon.io.types import Cloud, Mesh
from recon.metrics import functional as F

Geometry = Mesh | Cloud
Row = dict[str, float]

SPLIT_SEED = 313
SPLIT_RATE = 0.25
POISSON_DISK_SEED = 412
POINTS2SURF_SAMPLES = 10_000


def nnabla_normalized(points: np.ndarray) -> np.ndarray:
    """(N, 3) points scaled so that the longest side of their box is 2, and centred on the origin."""
    if len(points) == 0:
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    scaled = 2 * points / extent
    return scaled - (scaled.max(axis=0) + scaled.min(axis=0)) / 2


def nnabla_split(count: int, rate: float = SPLIT_RATE, seed: int = SPLIT_SEED) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out: the last and the first ``int(count * rate)`` of a permutation."""
    order = np.random.RandomState(seed).permutation(count)
    held = int(count * rate)
    return order[held:], order[:held]


def nnabla_held_out(points: np.ndarray, rate: float = SPLIT_RATE, seed: int = SPLIT_SEED) -> np.ndarray:
    """The points that the seed holds out for its tests (see `nnabla_split`)."""
    return points[nnabla_split(len(points), rate, seed)[1]]


def to_index_frame(points: np.ndarray) -> np.ndarray:
    """(N, 3) world points turned as the seed's meshes are: (x, y, z) becomes (y, -x, z)."""
    return points[:, [1, 0, 2]] * np.array([1.0, -1.0, 1.0])


def nnabla(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """Six values (one-sided and two-sided Chamfer and Hausdorff distances, not squared), raw and normalised.

    ``cd0`` and ``hd0`` run from prediction to truth, ``cd1`` and ``hd1`` back, in the input's unit. With prefix
    ``normalized_`` each side was first normalised on its own box (longest side 2), which hides errors of scale and
    place. A true mesh counts as its vertices; on a predicted mesh as many points are drawn, evenly spread.
    """
    true = _vertices(truth)
    predicted = _drawn(prediction, len(true), POISSON_DISK_SEED)
    normalized = _six(nnabla_normalized(predicted), nnabla_normalized(true))
    return _six(predicted, true) | {f"normalized_{name}": value for name, value in normalized.items()}


def nnabla_legacy(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """The seed's published evaluation, and the same with its frame put right (prefix ``corrected_``).

    The truth is the held-out quarter (`nnabla_held_out`) of its normalised points; as many points are drawn on a
    predicted mesh; the prediction is turned into the frame of the seed's index grid and normalised on its own. So
    a perfect mesh scores badly: the published figures measure mostly that turn.
    """
    true = nnabla_held_out(nnabla_normalized(_vertices(truth)))
    predicted = _drawn(prediction, len(true), POISSON_DISK_SEED)
    corrected = _six(nnabla_normalized(predicted), true)
    published = _six(nnabla_normalized(to_index_frame(predicted)), true)
    return published | {f"corrected_{name}": value for name, value in corrected.items()}


def points2surf(prediction: Geometry, truth: Geometry, seed: int = 0) -> Row:
    """Points2Surf: 10 000 evenly spread points a mesh; Chamfer is the *sum* of all distances both ways."""
    predicted = _drawn(prediction, POINTS2SURF_SAMPLES, seed)
    true = _drawn(truth, POINTS2SURF_SAMPLES, seed + 1)
    d = F.cloud_distances(predicted, true)
    forth, back = F.hausdorff_directed(d)
    return {
        "chamfer_sum_both": float(d.accuracy.sum() + d.completeness.sum()),
        "hausdorff_a_to_b": forth,
        "hausdorff_b_to_a": back,
        "hausdorff": max(forth, back),
    }


def _vertices(geometry: Geometry) -> np.ndarray:
    return np.asarray(geometry.points if isinstance(geometry, Cloud) else geometry.vertices, dtype=np.float64)


def _drawn(geometry: Geometry, count: int, seed: int) -> np.ndarray:
    """The points of a cloud as they are; on a mesh, `count` evenly spread ones."""
    if isinstance(geometry, Cloud):
        return np.asarray(geometry.points, dtype=np.float64)
    return np.zeros((0, 3)) if geometry.is_empty else sample_blue_noise(geometry, count, seed).points


def _six(predicted: np.ndarray, true: np.ndarray) -> Row:
    d = F.cloud_distances(predicted, true)
    hd0, hd1 = F.hausdorff_directed(d)
    return {
        "cd0": F.accuracy(d),
        "cd1": F.completeness(d),
        "cd": F.chamfer_l1(d),
        "hd0": hd0,
        "hd1": hd1,
        "hd": max(hd0, hd1),
    }
