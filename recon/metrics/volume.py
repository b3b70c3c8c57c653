"""Overlap of the insides of two shapes: intersection over union (IoU)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from recon.errors import DataError
from recon.geometry.raycast import contains
from recon.io.types import Mesh
from recon.metrics.topology import watertight


def occupancy_iou(prediction: np.ndarray | Tensor, truth: np.ndarray | Tensor) -> float:
    """IoU of two boolean arrays of the same shape: points, or voxels; 1 where both hold nothing.

    Raises:
        DataError: if the shapes differ.
    """
    a, b = _boolean(prediction), _boolean(truth)
    if a.shape != b.shape:
        raise DataError(
            f"Occupancies of shapes {a.shape} and {b.shape} cannot be compared.", "Evaluate both at the same points."
        )
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def mesh_occupancy_iou(prediction: Mesh, points: np.ndarray, occupied: np.ndarray) -> float:
    """IoU of a mesh's inside with the (N,) true occupancies of (N, 3) points."""
    return occupancy_iou(contains(prediction, points), occupied)


def volumetric_iou(prediction: Mesh, truth: Mesh, samples: int = 100_000, seed: int = 0) -> float:
    """IoU of the insides of two watertight meshes, from points uniform in the box around both.

    Its standard error is about ``sqrt(iou * (1 - iou) / points in the union)``. An empty prediction gives 0.
    A mesh that is not watertight has no inside, so NaN is returned if either is not.

    Args:
        prediction: in the truth's coordinates.
        truth: at least one face.
        samples: number of points.
        seed: of the points.

    Raises:
        DataError: if the truth is empty.
    """
    if truth.is_empty:
        raise DataError("The truth is empty, so nothing can be compared with it.", "Give a truth that has faces.")
    if prediction.is_empty:
        return 0.0
    if not (watertight(prediction) and watertight(truth)):
        return float("nan")
    corners = np.concatenate(
        [prediction.vertices[prediction.faces].reshape(-1, 3), truth.vertices[truth.faces].reshape(-1, 3)]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    points = low + (high - low) * np.random.default_rng(seed).random((samples, 3))
    return occupancy_iou(contains(prediction, points), contains(truth, points))


def _boolean(values: np.ndarray | Tensor) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array if array.dtype == bool else array >= 0.5
