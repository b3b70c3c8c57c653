"""Vertices and their field: moving them onto the level set, and their normals and colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recon.geometry.evaluation import CHUNK, GPU_CHUNK, Evaluator
from recon.geometry.marching import Polish

STEP = 0.25
"""Half the width of central differences, in cells: wide enough for float32 points, narrow enough for edges."""


def polisher(evaluator: Evaluator, rounds: int, tolerance: float = 0.0) -> Polish:
    """Moves vertices along their edges onto the level set, by bracketed root search.

    Each round evaluates the present guess, replaces the end of equal sign and draws the secant; an end that stays
    twice has its value halved (the Illinois rule), so that steep and flat fields both converge, and the surface stays
    between the ends.

    Args:
        evaluator: the field.
        rounds: at most.
        tolerance: vertices that move by less than this share of their edge are left alone from then on.
    """

    def polish(
        place: np.ndarray, axis: np.ndarray, value: np.ndarray, beyond: np.ndarray, fraction: np.ndarray
    ) -> np.ndarray:
        result = fraction.astype(np.float64)
        rest, guess, stayed = np.arange(len(place)), result, np.zeros(len(place))
        low, high = np.zeros(len(place)), np.ones(len(place))
        at_low, at_high = value.astype(np.float64), beyond.astype(np.float64)
        for _ in range(rounds):
            position = place[rest].astype(np.float64)
            position[np.arange(len(rest)), axis[rest]] += guess
            found = evaluator.at(evaluator.grid.positions(position).astype(np.float32)).astype(np.float64)
            like_low = (found < 0) == (at_low < 0)
            at_high = np.where(like_low & (stayed == 1), at_high / 2, at_high)
            at_low = np.where(~like_low & (stayed == -1), at_low / 2, at_low)
            low, at_low = np.where(like_low, guess, low), np.where(like_low, found, at_low)
            high, at_high = np.where(like_low, high, guess), np.where(like_low, at_high, found)
            stayed = np.where(like_low, 1, -1)
            slope = at_low - at_high
            share = np.divide(at_low, slope, out=np.full(len(slope), 0.5), where=slope != 0)
            better = low + (high - low) * np.clip(share, 0, 1)
            result[rest] = better
            moving = np.flatnonzero(np.abs(better - guess) >= tolerance)
            guess = better
            rest, guess, stayed = rest[moving], guess[moving], stayed[moving]
            low, high, at_low, at_high = low[moving], high[moving], at_low[moving], at_high[moving]
        return result

    return polish


def normals(evaluator: Evaluator, points: np.ndarray, gradient: Callable[[Tensor], Tensor] | None) -> np.ndarray:
    """(V, 3) float64 unit normals pointing outwards at (V, 3) local points.

    Args:
        evaluator: the field; used where there is no `gradient`.
        points: (V, 3) float64, local.
        gradient: (N, 3) points to (N, 3), or None for central differences.
    """
    if gradient is None:
        slope = _differences(evaluator, points)
    else:
        slope = evaluator.sign * _chunked(gradient, points, evaluator)
    return _unit(slope)


def normals_of_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of a mesh's vertices: means over their faces, weighted by area.

    Args:
        vertices: (V, 3).
        faces: (F, 3), counter-clockwise seen from outside.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, d], 3), len(vertices)) for d in range(3)], axis=1)
    return _unit(total)


def _unit(directions: np.ndarray) -> np.ndarray:
    """Directions of length 1; those without a length point up."""
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.divide(directions, length, out=np.tile([0.0, 0.0, 1.0], (len(directions), 1)), where=length > 0)


def colors(evaluator: Evaluator, points: np.ndarray, color: Callable[[Tensor], Tensor]) -> np.ndarray:
    """(V, 3) uint8 colours at (V, 3) local points."""
    return (_chunked(color, points, evaluator).clip(0, 1) * 255).round().astype(np.uint8)


def _differences(evaluator: Evaluator, points: np.ndarray) -> np.ndarray:
    step = STEP * evaluator.grid.spacing
    slope = np.empty(points.shape)
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        after = evaluator.at((points + shift).astype(np.float32)).astype(np.float64)
        slope[:, axis] = after - evaluator.at((points - shift).astype(np.float32))
    return slope


def _chunked(function: Callable[[Tensor], Tensor], points: np.ndarray, evaluator: Evaluator) -> np.ndarray:
    """A vector field at many points; not in inference mode, for gradients may come from autograd."""
    chunk = evaluator.chunk or CHUNK.get(torch.device(evaluator.device).type, GPU_CHUNK)
    found = np.empty(points.shape)
    for start in range(0, len(points), chunk):
        part = torch.from_numpy(points[start : start + chunk].astype(np.float32)).to(evaluator.device)
        found[start : start + chunk] = function(part).detach().double().cpu().numpy()
    return found
